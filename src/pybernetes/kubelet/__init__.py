"""The node's agent for pods: plan, life cycle, probes, volumes, network, runtime."""
