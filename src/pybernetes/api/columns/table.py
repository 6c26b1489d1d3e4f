"""The columns of each kind and the cells of its objects: what `kubectl get` prints of a meta/v1 Table.

Cells are always those of -o wide: kubectl hides columns by priority.
Kinds without a printer have their name and their creation time, custom ones their name and age, as in Kubernetes.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..objects import Obj, metadata
from ..resources import Resource
from . import cluster, core, custom, pods, workloads
from .cells import name
from .column import Cells, Column, Printer
from .column import columns as of_names


def _name_and_creation(obj: Obj, now: float) -> list[Any]:
    return [name(obj), metadata(obj).get("creationTimestamp", "")]


_DEFAULT = Printer(of_names("Name", "Created At@"), _name_and_creation)
PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "Pod"): Printer(pods.COLUMNS, pods.cells),
    **core.PRINTERS,
    **workloads.PRINTERS,
    **cluster.PRINTERS,
}
_IN_LISTS: dict[tuple[str, str], Callable[[Iterable[Obj]], Cells]] = {
    ("storage.k8s.io", "StorageClass"): cluster.storage_classes,
}
"""Of kinds whose row depends on the others in its list."""


def printer_of(resource: Resource) -> Printer:
    if resource.custom:
        return custom.printer(resource.columns) if resource.columns else cluster.NAME_AND_AGE
    return PRINTERS.get((resource.group, resource.kind), _DEFAULT)


def columns_of(resource: Resource) -> tuple[Column, ...]:
    return printer_of(resource).columns


def cells(resource: Resource, obj: Obj, *, now: float) -> list[Any]:
    """The cells of one object, one for each of `columns_of(resource)`."""
    return printer_of(resource).cells(obj, now)


def row(resource: Resource, obj: Obj, *, now: float) -> Obj:
    """A TableRow without its `object`."""
    return _row(resource, printer_of(resource).cells, obj, now=now)


def rows(resource: Resource, objs: Callable[[], Iterable[Obj]], *, now: float) -> Callable[[Obj], Obj]:
    """What makes the TableRows of a list; `objs` is all that is in it, asked for by the few kinds that need it."""
    in_list = None if resource.custom else _IN_LISTS.get((resource.group, resource.kind))
    found = printer_of(resource).cells if in_list is None else in_list(objs())
    return partial(_row, resource, found, now=now)


def _row(resource: Resource, of: Cells, obj: Obj, *, now: float) -> Obj:
    found: Obj = {"cells": of(obj, now)}
    if (resource.group, resource.kind) == ("", "Pod") and (conditions := pods.conditions(obj)):
        found["conditions"] = conditions
    return found
