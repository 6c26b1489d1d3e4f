"""The node's agent for pods: plan, life cycle, probes, volumes, network, runtime."""

from .agent import Kubelet
from .cleanup import remove_everything
from .config import KubeletConfig

__all__ = ["Kubelet", "KubeletConfig", "remove_everything"]
