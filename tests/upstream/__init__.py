"""Kubernetes' own conformance programs against a local cluster: `make upstream` (tools/upstream).

They are built from the module k8s.io/kubernetes by Go, and ask for container images that this runtime does not run. So
the cluster stands in a root of its own (`root.sh`), where the programs of those images lie at their places, and a
mutating webhook (`webhook.py`, `images.py`) turns the images into `image: host` with the command that they would run.
"""

RELEASE = "1.37.0"
"""The Kubernetes whose suite is run."""
