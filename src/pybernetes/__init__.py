"""pybernetes: Kubernetes' service model - registration, discovery, load balancing - in Python."""

__version__ = "0.1.0"
