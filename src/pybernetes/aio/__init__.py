"""Plumbing that knows no Kubernetes: supervision, fan-out, back-off, threads, processes, logs."""
