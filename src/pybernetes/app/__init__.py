"""Composition: configuration, the processes, the command line."""
