"""Cluster DNS on every node: an index kept by watch, answers from precomputed wire bytes."""

from .config import DnsConfig
from .loop import Dns

__all__ = ["Dns", "DnsConfig"]
