"""kube-controller-manager: one file per controller; CONTROLLERS is the table."""
