"""kube-apiserver: the registry everything meets in."""
