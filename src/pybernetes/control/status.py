"""Writing a status: one merge patch on the status subresource, and nothing when nothing has changed."""

from collections.abc import Sequence

from pybernetes.api import times
from pybernetes.api.objects import Obj, key_of
from pybernetes.api.resources import Resource
from pybernetes.client import Client

_ALWAYS_SAID = frozenset(
    {"replicas", "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"}
)
"""Counts that the API requires, or that are shown, also when they are 0."""


def patch_between(old: Obj, new: Obj) -> Obj:
    """The merge patch that makes a status so, {} when it says the same already (0 and "" are as good as absent).

    It names every field, not only those that differ: `old` is from a cache, and what is stored may be another.
    """
    fields = old.keys() | new.keys()
    if all(old.get(field) == new.get(field) or not (old.get(field) or new.get(field)) for field in fields):
        return {}
    return {field: _said(field, new.get(field)) for field in sorted(fields)}


def _said(field: str, value: object) -> object:
    return value if value or (value is not None and field in _ALWAYS_SAID) else None


async def write_status(client: Client, resource: Resource, obj: Obj, status: Obj) -> Obj | None:
    """Make the status so; returns the new object, None when there was nothing to write."""
    patch = patch_between(obj.get("status") or {}, status)
    if not patch:
        return None
    return await client.patch(resource, key_of(obj), {"status": patch}, subresource="status")


def with_condition(
    conditions: Sequence[Obj], kind: str, status: str, *, reason: str, message: str, now: float, updates: bool = False
) -> list[Obj]:
    """The conditions with this one set; its lastTransitionTime moves only with its status.

    `updates` keeps a lastUpdateTime too (Deployment), and leaves the condition alone when status and reason stay.
    """
    old = next((entry for entry in conditions if entry.get("type") == kind), None)
    stays = old is not None and old.get("status") == status and old.get("reason") == reason
    if old is not None and stays and (updates or old.get("message") == message):
        return list(conditions)
    same = old is not None and old.get("status") == status
    entry: Obj = {"type": kind, "status": status}
    if updates:
        entry["lastUpdateTime"] = times.stamp(now)
    entry |= {
        "lastTransitionTime": old["lastTransitionTime"] if same and old else times.stamp(now),
        "reason": reason,
        "message": message,
    }
    return [*without_condition(conditions, kind), entry]


def without_condition(conditions: Sequence[Obj], kind: str) -> list[Obj]:
    return [entry for entry in conditions if entry.get("type") != kind]
