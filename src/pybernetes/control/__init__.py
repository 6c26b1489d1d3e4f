"""What every controller is made of: work queue, controller loop, events, leases, owners."""

from .controller import Again, Controller, Reconcile
from .events import EventSink, Recorder
from .lease import LeaderElection, LeaseConfig, LostLease
from .owners import OWNER_INDEXES, Claimer, Claims, claims, enqueue, enqueue_owner
from .queue import KeyQueue, WorkQueue
from .status import write_status
from .writes import Writes

__all__ = [
    "OWNER_INDEXES",
    "Again",
    "Claimer",
    "Claims",
    "Controller",
    "EventSink",
    "KeyQueue",
    "LeaderElection",
    "LeaseConfig",
    "LostLease",
    "Reconcile",
    "Recorder",
    "WorkQueue",
    "Writes",
    "claims",
    "enqueue",
    "enqueue_owner",
    "write_status",
]
