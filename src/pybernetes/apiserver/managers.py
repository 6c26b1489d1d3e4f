"""metadata.managedFields: who owns which field (KEP-555).

Kept on every write of an object that has them. A new object has them from the start, unless a component of the system
made it: nobody applies a ReplicaSet's pods, and the field sets would double their size and their cost. The first apply
to an object without any takes what is there as written by "before-first-apply", as Kubernetes does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pybernetes.api import patch
from pybernetes.api.errors import InternalError
from pybernetes.api.objects import Obj, encode, metadata

from .auth.controller_roles import CONTROLLER_USERS

if TYPE_CHECKING:
    from .served import Served
    from .users import User

_MOST_CONVERSIONS = 100
_COMPONENT, _ACCOUNT = "system:", "system:serviceaccount:"


def worth_tracking(old: Obj | None, user: "User") -> bool:
    """Whether an ordinary write is noted."""
    if old is not None:
        return "managedFields" in metadata(old)
    account = user.name.startswith(_ACCOUNT) and user.name not in CONTROLLER_USERS
    return account or not user.name.startswith(_COMPONENT)


class Unconverted(Exception):
    """An object that must be brought into a version before a pure computation can go on."""

    def __init__(self, obj: Obj, api_version: str) -> None:
        super().__init__(api_version)
        self.obj, self.api_version = obj, api_version


class Versions:
    """The objects of one write in the versions in which their managers speak.

    Patches are pure and a conversion may be a call of a webhook: what lacks one stops with Unconverted, and `settle`
    runs it anew when the conversion is there.
    """

    def __init__(self, served: "Served") -> None:
        self.served = served
        self._known: dict[tuple[str, bytes], Obj] = {}

    def view(self, obj: Obj, api_version: str) -> patch.View | None:
        """For patch.track and patch.apply. Raises Unconverted."""
        served = self.served
        row = served.sibling(api_version)
        if served.converter is not None:
            type_ = served.converter.type(api_version)
        else:
            type_ = served.scheme.type(row) if row is not None else None
        if type_ is None:
            return None
        if obj.get("apiVersion") == api_version:
            return patch.View(obj, type_)
        if served.converter is None:
            source = served.sibling(str(obj.get("apiVersion")))
            if row is None or source is None:
                return None
            return patch.View(served.scheme.from_storage(served.scheme.to_storage(obj, source), row), type_)
        found = self._known.get((api_version, encode(obj)))
        if found is None:
            raise Unconverted(obj, api_version)
        return patch.View(found, type_)

    async def settle(self, run: Callable[[], Obj]) -> Obj:
        """What `run` gives. Raises what it raises, and ConversionFailed."""
        for _ in range(_MOST_CONVERSIONS):
            try:
                return run()
            except Unconverted as missing:
                assert self.served.converter is not None
                found = await self.served.converter.convert(missing.obj, missing.api_version)
                self._known[missing.api_version, encode(missing.obj)] = found
        raise InternalError("metadata.managedFields has too many versions")


def tracked(new: Obj, old: Obj | None, versions: Versions, *, manager: str, part: str, now: float) -> Obj:
    """The managedFields (none: []) of `new` after `manager` changed it from `old`."""
    served = versions.served
    found = patch.track(
        old,
        new,
        manager=manager,
        api_version=served.row.api_version,
        time=now,
        type_=served.scheme.type(served.row),
        subresource=part,
        translate=versions.view,
    )
    return {"managedFields": metadata(found).get("managedFields") or []}


def applied(
    old: Obj | None, wanted: Obj, versions: Versions, *, manager: str, force: bool, part: str, now: float
) -> Obj:
    """The object after `manager` applies `wanted`. Raises Conflict with a cause for each field another one owns."""
    served = versions.served
    return patch.apply(
        old,
        wanted,
        manager=manager,
        api_version=served.row.api_version,
        time=now,
        type_=served.scheme.type(served.row),
        force=force,
        subresource=part,
        translate=versions.view,
    )
