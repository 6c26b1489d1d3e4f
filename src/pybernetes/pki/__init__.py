"""Certificates and keys on disk: the cluster's authority and what it signs."""

from .authority import Authority, KeyPair, Pair

__all__ = ["Authority", "KeyPair", "Pair"]
