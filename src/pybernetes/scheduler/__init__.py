"""kube-scheduler: filters and scores over a snapshot, pure; a thin shell binds."""
