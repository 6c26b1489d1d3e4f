"""Objects as a meta/v1 Table: what `kubectl get` prints.

Cells are always those of -o wide: kubectl hides columns by priority.
Kinds without a printer have their name and their creation time, custom ones their name and age, as in Kubernetes.
"""

from collections.abc import Iterable
from typing import Any, Literal

from ..objects import Obj, metadata
from ..resources import Resource
from . import cluster, core, custom, pods, workloads
from .cells import name
from .column import Column, Printer
from .column import columns as of_names

API_VERSION = "meta.k8s.io/v1"
Include = Literal["None", "Metadata", "Object"]


def _name_and_creation(obj: Obj, now: float) -> list[Any]:
    return [name(obj), metadata(obj).get("creationTimestamp", "")]


_DEFAULT = Printer(of_names("Name", "Created At@"), _name_and_creation)
PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "Pod"): Printer(pods.COLUMNS, pods.cells),
    **core.PRINTERS,
    **workloads.PRINTERS,
    **cluster.PRINTERS,
}


def printer_of(resource: Resource) -> Printer:
    if resource.custom:
        return custom.printer(resource.columns) if resource.columns else cluster.NAME_AND_AGE
    return PRINTERS.get((resource.group, resource.kind), _DEFAULT)


def columns_of(resource: Resource) -> tuple[Column, ...]:
    return printer_of(resource).columns


def cells(resource: Resource, obj: Obj, *, now: float) -> list[Any]:
    """The cells of one object, one for each of `columns_of(resource)`."""
    return printer_of(resource).cells(obj, now)


def row(resource: Resource, obj: Obj, *, now: float, include: Include = "Metadata") -> Obj:
    """A TableRow; `include` says what `object` holds."""
    found: Obj = {"cells": cells(resource, obj, now=now)}
    if (resource.group, resource.kind) == ("", "Pod") and (conditions := pods.conditions(obj)):
        found["conditions"] = conditions
    found["object"] = _object(resource, obj, include)
    return found


def _object(resource: Resource, obj: Obj, include: Include) -> Obj | None:
    if include == "None":
        return None
    if include == "Object":
        return {"kind": resource.kind, "apiVersion": resource.api_version} | obj
    return {"kind": "PartialObjectMetadata", "apiVersion": API_VERSION, "metadata": metadata(obj)}


def table(
    resource: Resource,
    objs: Iterable[Obj],
    *,
    now: float,
    include: Include = "Metadata",
    list_metadata: Obj | None = None,
    header: bool = True,
) -> Obj:
    """The Table of a list, or of one object (whose revision it then bears). Watches may leave out the header."""
    found = list(objs)
    if list_metadata is None:
        revision = metadata(found[0]).get("resourceVersion") if len(found) == 1 else None
        list_metadata = {"resourceVersion": revision} if revision else {}
    return {
        "kind": "Table",
        "apiVersion": API_VERSION,
        "metadata": list_metadata,
        "columnDefinitions": [column.definition for column in columns_of(resource)] if header else [],
        "rows": [row(resource, obj, now=now, include=include) for obj in found],
    }
