"""RuntimeClass: a pod that names a class is given the class's overhead and scheduling; the class must be there.

Source: kubernetes/plugin/pkg/admission/runtimeclass.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pybernetes.api import resources
from pybernetes.api.objects import Obj
from pybernetes.api.quantity import Quantity

from .call import Call

_NO_MATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


def runtime_class(call: Call) -> None:
    """Sets `overhead`, and adds to `nodeSelector` and `tolerations`. Raises Forbidden where the pod says otherwise."""
    found = _class_of(call)
    if found is None:
        return
    spec = call.obj["spec"]
    if (fixed := _fixed(found)) is not None:
        if spec.get("overhead") and _amounts(spec["overhead"]) != _amounts(fixed):
            raise call.forbidden(_NO_MATCH)
        spec["overhead"] = dict(fixed)
    scheduling: Obj = found.get("scheduling") or {}
    _select(call, scheduling.get("nodeSelector") or {})
    if tolerations := merged([*(spec.get("tolerations") or ()), *(scheduling.get("tolerations") or ())]):
        spec["tolerations"] = tolerations


def runtime_class_overhead(call: Call) -> None:
    """What others made of the pod meanwhile still has the class's overhead, and none without a class's."""
    if not call.is_new(resources.PODS):
        return
    found, overhead = _class_of(call), call.obj["spec"].get("overhead")
    fixed = None if found is None else _fixed(found)
    if fixed is not None:
        if _amounts(fixed) != _amounts(overhead or {}):
            raise call.forbidden(_NO_MATCH)
    elif overhead is not None:
        raise call.forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")


def _class_of(call: Call) -> Obj | None:
    """The class that a new pod names; None where it names none. Raises Forbidden when it is not there."""
    if not call.is_new(resources.PODS):
        return None
    name = call.obj["spec"].get("runtimeClassName")
    if name is None:
        return None
    found = call.registry.read(resources.RUNTIME_CLASSES, "", name)
    if found is None:
        raise call.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _fixed(found: Obj) -> Mapping[str, Any] | None:
    overhead = found.get("overhead")
    return None if overhead is None else overhead.get("podFixed") or {}


def _amounts(overhead: Mapping[str, Any]) -> dict[str, int]:
    return {name: Quantity.parse(amount).nano for name, amount in overhead.items()}


def _select(call: Call, wanted: Mapping[str, str]) -> None:
    if not wanted:
        return
    selector = call.obj["spec"].setdefault("nodeSelector", {})
    for key, value in wanted.items():
        if selector.setdefault(key, value) != value:
            raise call.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )


def merged(tolerations: Sequence[Obj]) -> list[Obj]:
    """Without those that another one covers; of equal ones the first stays."""
    found: list[Obj] = []
    for index, one in enumerate(tolerations):
        later = (other for other in tolerations[index + 1 :] if other != one)
        if not any(_covers(other, one) for other in (*found, *later)):
            found.append(one)
    return found


def _covers(wide: Obj, one: Obj) -> bool:
    """Whether every taint that `one` tolerates, `wide` does too, and as long."""
    if wide == one:
        return True
    exists = wide.get("operator") == "Exists"
    if one.get("key") != wide.get("key") and (wide.get("key") or not exists):
        return False
    if one.get("effect") != wide.get("effect") and wide.get("effect"):
        return False
    limit, asked = wide.get("tolerationSeconds"), one.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and limit is not None and (asked is None or asked > limit):
        return False
    same = one.get("operator") == "Equal" and (wide.get("operator") or "Equal") == "Equal"
    return exists or (same and (one.get("value") or "") == (wide.get("value") or ""))
