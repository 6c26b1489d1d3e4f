"""Plumbing that knows no Kubernetes: supervision, fan-out, back-off, threads, processes, logs."""

from .backoff import Backoff
from .fanout import Fanout, Inbox, Overflow
from .supervise import Fatal, Service, supervise
from .thread import Worker

__all__ = ["Backoff", "Fanout", "Fatal", "Inbox", "Overflow", "Service", "Worker", "supervise"]
