"""What selectors look at in a stored object, read without decoding the rest of it."""

from collections.abc import Callable, Mapping

from pybernetes.api.objects import Obj, decode
from pybernetes.api.resources import EVENTS, EVENTS_V1, RESOURCES, Resource

from .codec import view_decoder

_ALWAYS = ("metadata.name", "metadata.namespace", "metadata.labels")

RENAMED: Mapping[Resource, Mapping[str, str]] = {
    EVENTS_V1: {
        path.replace("involvedObject", "regarding").replace("reportingComponent", "reportingController"): path
        for path in EVENTS.selectable
    }
}
"""Paths of a row that is stored in another row's shape -> paths there."""

_decoders: dict[str, Callable[[bytes], Obj]] = {}
_rows = {row.prefix: row for row in RESOURCES if row.stored_as is None}


def view_of(prefix: str, value: bytes) -> Obj:
    """Name, namespace, labels and selectable fields of an object stored under a prefix."""
    found = _decoders.get(prefix)
    if found is None:
        row = _rows.get(prefix)  # a custom kind may have any selectable fields: it is decoded whole
        found = _decoders[prefix] = view_decoder(_ALWAYS + row.selectable) if row else decode
    return found(value)
