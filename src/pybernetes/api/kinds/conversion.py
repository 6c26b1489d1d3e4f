"""Kinds served in two versions over one storage: core Event and events.k8s.io Event, autoscaling v1 and v2."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..objects import Obj
from . import scaler_versions


class Conversion(NamedTuple):
    """Both give a new dict (inner values may be shared)."""

    to_storage: Callable[[Obj], Obj]
    from_storage: Callable[[Obj], Obj]


CORE_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""What core/v1 calls these fields of events.k8s.io; errors name them so too (but for reportingController, below)."""
_EVENT_FIELDS = CORE_NAMES | {"reportingController": "reportingComponent"}
_EVENT_FIELDS_BACK = {core: new for new, core in _EVENT_FIELDS.items()}


def _event_to_core(obj: Obj) -> Obj:
    return {_EVENT_FIELDS.get(key, key): value for key, value in obj.items()} | {"apiVersion": "v1"}


def _event_from_core(obj: Obj) -> Obj:
    renamed = {_EVENT_FIELDS_BACK.get(key, key): value for key, value in obj.items()}
    return renamed | {"apiVersion": "events.k8s.io/v1"}


CONVERSIONS: Mapping[tuple[str, str, str], Conversion] = {
    ("events.k8s.io", "v1", "Event"): Conversion(_event_to_core, _event_from_core),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): Conversion(scaler_versions.to_v2, scaler_versions.from_v2),
}
"""By group, version and kind of the row that is not the stored one."""
