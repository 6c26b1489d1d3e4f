"""kube-scheduler: filters and scores over a snapshot, pure; a thin shell binds."""

from .scheduler import Scheduler, SchedulerConfig

__all__ = ["Scheduler", "SchedulerConfig"]
