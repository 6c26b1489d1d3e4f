"""The process runtime: containers as processes in namespaces, without an engine."""

from .engine import ProcessRuntime

__all__ = ["ProcessRuntime"]
