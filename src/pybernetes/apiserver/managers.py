"""metadata.managedFields: who owns which field (KEP-555).

Kept on every write of an object that has them. A new object has them from the start, unless a component of the system
made it: nobody applies a ReplicaSet's pods, and the field sets would double their size and their cost. The first apply
to an object without any takes what is there as written by "before-first-apply", as Kubernetes does.
"""

from typing import TYPE_CHECKING

from pybernetes.api import patch
from pybernetes.api.objects import Obj, metadata

if TYPE_CHECKING:
    from .served import Served
    from .users import User

_COMPONENT, _ACCOUNT = "system:", "system:serviceaccount:"


def worth_tracking(old: Obj | None, user: "User") -> bool:
    """Whether an ordinary write is noted."""
    if old is not None:
        return "managedFields" in metadata(old)
    return not user.name.startswith(_COMPONENT) or user.name.startswith(_ACCOUNT)


def tracked(new: Obj, old: Obj | None, served: "Served", *, manager: str, part: str, now: float) -> None:
    """Note what `manager` changed from `old` to `new`, in place."""
    found = patch.track(
        old,
        new,
        manager=manager,
        api_version=served.row.api_version,
        time=now,
        type_=served.scheme.type(served.row),
        subresource=part,
    )
    fields = metadata(found).get("managedFields")
    if fields:
        new["metadata"]["managedFields"] = fields
    else:
        new["metadata"].pop("managedFields", None)


def applied(old: Obj | None, wanted: Obj, served: "Served", *, manager: str, force: bool, part: str, now: float) -> Obj:
    """The object after `manager` applies `wanted`. Raises Conflict with a cause for each field another one owns."""
    return patch.apply(
        old,
        wanted,
        manager=manager,
        api_version=served.row.api_version,
        time=now,
        type_=served.scheme.type(served.row),
        force=force,
        subresource=part,
    )
