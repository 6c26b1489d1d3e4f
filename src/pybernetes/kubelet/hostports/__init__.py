"""Ports of the node that lead to containers (`ports[].hostPort`): what the CNI's portmap plug-in does elsewhere.

pod -> mappings -> plan (elements of a small table, and what a change of them takes) -> rules (the kernel)
"""

from .mapping import PodPorts, PortMapping, mappings_of
from .rules import HostPorts, remove_tables

__all__ = ["HostPorts", "PodPorts", "PortMapping", "mappings_of", "remove_tables"]
