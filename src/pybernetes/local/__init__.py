"""A whole cluster on one Linux machine: one server, nodes as network namespaces on one switch."""

from .cluster import CannotStart, Hooks, LocalCluster, all_layouts, check_machine, choose, find, locked, python_command
from .layout import NAME_PATTERN, Layout, Node, Wanted
from .network import connect, isolate

__all__ = [
    "NAME_PATTERN",
    "CannotStart",
    "Hooks",
    "Layout",
    "LocalCluster",
    "Node",
    "Wanted",
    "all_layouts",
    "check_machine",
    "choose",
    "connect",
    "find",
    "isolate",
    "locked",
    "python_command",
]
