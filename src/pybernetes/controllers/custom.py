"""Rows for custom resources, from their definitions: what generic controllers need to list and delete them."""

from collections.abc import Iterator

from pybernetes.api.objects import Obj, condition_is
from pybernetes.api.resources import Resource


def custom_resources(crd: Obj) -> Iterator[Resource]:
    """One row of an established CustomResourceDefinition; nothing for one that is not, or that serves nothing.

    It is that of the storage version, whose objects need no conversion, or else of the first that is served.
    """
    if not condition_is(crd, "Established"):
        return
    spec = crd["spec"]
    served = [version for version in spec.get("versions") or () if version.get("served")]
    if served:
        version = next((one for one in served if one.get("storage")), served[0])
        yield Resource(
            group=spec["group"],
            version=version["name"],
            plural=spec["names"]["plural"],
            kind=spec["names"]["kind"],
            namespaced=spec.get("scope") == "Namespaced",
            custom=True,
        )
