"""LimitRanger: the defaults and the bounds that a namespace's LimitRanges give to pods and volume claims.

Source: plugin/pkg/admission/limitranger. Defaults are set on creation; bounds are checked on the object as it will be.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pybernetes.api import resources
from pybernetes.api.objects import Obj, is_deleting
from pybernetes.api.quantity import Quantity
from pybernetes.api.quota import pod_limits, pod_requests

from .call import Call

Amounts = Mapping[str, Any]
_ANNOTATION = "kubernetes.io/limit-ranger"


def limit_defaults(call: Call) -> None:
    """Requests and limits that a new pod's containers do not name."""
    if not call.is_new(resources.PODS):
        return
    for limit_range in call.registry.select(resources.LIMIT_RANGES, call.namespace):
        _default(call.obj, limit_range)


def _default(pod: Obj, limit_range: Obj) -> None:
    limits: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    for item in _items(limit_range, "Container"):
        requests |= item.get("defaultRequest") or {}
        limits |= item.get("default") or {}
    notes = [
        note
        for field, what in (("containers", "container"), ("initContainers", "init container"))
        for container in pod["spec"].get(field) or ()
        for note in _merge(container, requests, limits, what=what)
    ]
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def _merge(container: Obj, requests: Amounts, limits: Amounts, *, what: str) -> Iterator[str]:
    wanted = container.setdefault("resources", {})
    for field, defaults, word in (("requests", requests, "request"), ("limits", limits, "limit")):
        missing = {name: amount for name, amount in defaults.items() if name not in (wanted.get(field) or {})}
        if missing:
            wanted[field] = (wanted.get(field) or {}) | missing
            yield f"{', '.join(sorted(missing))} {word} for {what} {container['name']}"


def limit_bounds(call: Call) -> None:
    """Raises Forbidden with all that is out of bounds."""
    if call.new is None or is_deleting(call.new):
        return
    pod = call.row is resources.PODS and (call.is_new(resources.PODS) or call.part == "resize")
    claim = call.row is resources.PERSISTENT_VOLUME_CLAIMS and not call.part
    if not pod and not claim:
        return
    for limit_range in call.registry.select(resources.LIMIT_RANGES, call.namespace):
        problems = list(_of_pod(call.new, limit_range) if pod else _of_claim(call.new, limit_range))
        if problems:
            raise call.forbidden(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def _items(limit_range: Obj, kind: str) -> list[Obj]:
    return [one for one in (limit_range.get("spec") or {}).get("limits") or () if one.get("type") == kind]


def _of_pod(pod: Obj, limit_range: Obj) -> Iterator[str]:
    spec = pod["spec"]
    for item in _items(limit_range, "Container"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            given = container.get("resources") or {}
            yield from _bounds(item, given.get("requests") or {}, given.get("limits") or {})
    for item in _items(limit_range, "Pod"):
        yield from _bounds(item, pod_requests(pod), pod_limits(pod))


def _of_claim(claim: Obj, limit_range: Obj) -> Iterator[str]:
    asked = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    for item in _items(limit_range, "PersistentVolumeClaim"):
        for name, least in (item.get("min") or {}).items():
            yield from _least(name, least, "PersistentVolumeClaim", asked, {})
        for name, most in (item.get("max") or {}).items():
            text = f"maximum {name} usage per PersistentVolumeClaim is {most}"
            if name not in asked:
                yield f"{text}.  No request is specified"
            elif _nano(asked[name]) > _nano(most):
                yield f"{text}, but request is {asked[name]}"


def _bounds(item: Obj, requests: Amounts, limits: Amounts) -> Iterable[str]:
    kind = item["type"]
    for name, least in (item.get("min") or {}).items():
        yield from _least(name, least, kind, requests, limits)
    for name, most in (item.get("max") or {}).items():
        text = f"maximum {name} usage per {kind} is {most}"
        if name not in limits:
            yield f"{text}.  No limit is specified"
        elif _nano(limits[name]) > _nano(most):
            yield f"{text}, but limit is {limits[name]}"
        elif name in requests and _nano(requests[name]) > _nano(most):
            yield f"{text}, but request is {requests[name]}"
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        yield from _ratio(name, ratio, kind, requests, limits)


def _least(name: str, least: Any, kind: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    text = f"minimum {name} usage per {kind} is {least}"
    if name not in requests:
        yield f"{text}.  No request is specified"
    elif _nano(requests[name]) < _nano(least):
        yield f"{text}, but request is {requests[name]}"
    elif name in limits and _nano(limits[name]) < _nano(least):
        yield f"{text}, but limit is {limits[name]}"


def _ratio(name: str, ratio: Any, kind: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    text = f"{name} max limit to request ratio per {kind} is {ratio}"
    request, limit = _nano(requests.get(name)), _nano(limits.get(name))
    if not request:
        yield f"{text}, but no request is specified or request is 0"
    elif not limit:
        yield f"{text}, but no limit is specified or limit is 0"
    elif limit * 10**9 > _nano(ratio) * request:
        yield f"{text}, but provided ratio is {limit / request:f}"


def _nano(amount: Any) -> int:
    return Quantity.parse(amount).nano
