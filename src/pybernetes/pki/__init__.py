"""Certificates and keys on disk: the cluster's authority and what it signs."""
