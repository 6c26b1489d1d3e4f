"""Cluster DNS on every node: an index kept by watch, answers from precomputed wire bytes."""

from .claim import Claim
from .config import DnsConfig
from .loop import Dns

__all__ = ["Claim", "Dns", "DnsConfig"]
