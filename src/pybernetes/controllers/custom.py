"""Rows for custom resources, from their definitions: what generic controllers need to list and delete them."""

from collections.abc import Iterator

from pybernetes.api.objects import Obj, condition_is
from pybernetes.api.resources import Resource


def custom_resources(crd: Obj) -> Iterator[Resource]:
    """The row of the storage version of an established CustomResourceDefinition; nothing for one that is not."""
    if not condition_is(crd, "Established"):
        return
    spec = crd["spec"]
    for version in spec.get("versions") or ():
        if version.get("served") and version.get("storage"):
            yield Resource(
                group=spec["group"],
                version=version["name"],
                plural=spec["names"]["plural"],
                kind=spec["names"]["kind"],
                namespaced=spec.get("scope") == "Namespaced",
                custom=True,
            )
