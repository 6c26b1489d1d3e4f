"""Cluster DNS on every node: an index kept by watch, answers from precomputed wire bytes."""
