"""What a column of a Table is, and a short way to write many.

The descriptions are this project's own; `kubectl get` does not print them, other clients may.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..objects import Obj

Cells = Callable[[Obj, float], list[Any]]
"""The cells of an object at a time (POSIX seconds), one for each column."""

_TYPES = {"#": "integer", "?": "boolean", "@": "date"}

_DESCRIPTIONS = {
    "Name": "The name, unique among its kind in its namespace.",
    "Age": "The time since the object was created.",
    "Created At": "When the object was created.",
    "Status": "What the object's status comes down to.",
    "Ready": "How many are ready, of how many.",
    "Restarts": "How often containers were restarted, and when last.",
    "IP": "The first address of the pod.",
    "Node": "The node it is on.",
    "Nominated Node": "The node where others are preempted to make room.",
    "Readiness Gates": "How many of the readiness gates are passed.",
    "Type": "The type of the object.",
    "Cluster-IP": "The virtual address.",
    "External-IP": "The addresses reachable from outside.",
    "Port(s)": "The ports, with their node ports.",
    "Selector": "The labels that select the pods.",
    "Containers": "The names of the containers.",
    "Images": "The images of the containers.",
    "Desired": "How many are wanted.",
    "Current": "How many there are.",
    "Up-to-date": "How many run the newest template.",
    "Available": "How many have been ready for long enough.",
    "Node Selector": "The labels of the nodes it runs on.",
    "Data": "How many entries it holds.",
    "Last Seen": "The time since it last happened.",
    "First Seen": "The time since it first happened.",
    "Count": "How often it happened.",
    "Reason": "The short machine-readable reason.",
    "Object": "The object it is about.",
    "Subobject": "The part of the object it is about.",
    "Source": "Who reports it.",
    "Message": "What happened, in words.",
    "Roles": "The roles that the node's labels name.",
    "Version": "The version of the kubelet.",
    "Holder": "Who holds the lease.",
    "Role": "The role that is granted.",
    "Webhooks": "How many webhooks it configures.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A meta/v1 TableColumnDefinition. Columns of priority 0 are always shown, others by `kubectl get -o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    @property
    def definition(self) -> Obj:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


class Printer(NamedTuple):
    """How objects of one kind become rows."""

    columns: tuple[Column, ...]
    cells: Cells


def columns(*names: str) -> tuple[Column, ...]:
    """Columns in short: a trailing * is priority 1, # an integer, ? a boolean, @ a date, ! text that is no name.

    "Name" and "Attacher" have the format name, except where Kubernetes forgot it (!).
    """
    return tuple(map(_column, names))


def _column(text: str) -> Column:
    name = text.rstrip("*#?@!")
    marks = text[len(name) :]
    return Column(
        name=name,
        type=next((type_ for mark, type_ in _TYPES.items() if mark in marks), "string"),
        format="name" if name in ("Name", "Attacher") and "!" not in marks else "",
        priority=1 if "*" in marks else 0,
        description=_DESCRIPTIONS.get(name, f"The {name} of the object."),
    )
