"""The admission of connections (operation CONNECT): exec, attach, port-forward and proxy, as their options objects."""

from typing import TYPE_CHECKING

from pybernetes.api.objects import Obj
from pybernetes.wire import Request

from ..route import CONNECTING, Route
from ..users import user_of
from .call import Call

if TYPE_CHECKING:
    from ..registry import Registry

_FLAGS = ("stdin", "stdout", "stderr", "tty")


async def admit_connect(registry: "Registry", request: Request, route: Route) -> None:
    """Raises what a webhook refuses it with."""
    row = route.resource
    if row is None or route.subresource not in CONNECTING:
        return
    if not registry.webhooks.wants(row, route.subresource, "CONNECT"):
        return
    call = Call(
        row=row,
        part=route.subresource,
        new=options_of(request, route),
        old=None,
        user=user_of(request),
        registry=registry,
        connects=True,
        parent=(route.namespace, route.name),
        warnings=request.context.setdefault("warnings", []),
        annotations=request.context.setdefault("annotations", {}),
    )
    await registry.consult(call)


def options_of(request: Request, route: Route) -> Obj:
    """PodExecOptions, PodAttachOptions, PodPortForwardOptions, or the proxy options of pod, service or node."""
    part = route.part
    assert part is not None
    found: Obj = {"kind": part.kind, "apiVersion": "v1"}
    if route.subresource == "proxy":
        return found | {"path": route.tail}
    if route.subresource == "portforward":
        return found | {"ports": [int(one) for one in request.query.get("ports", ()) if one.isdigit()]}
    found |= {flag: True for flag in _FLAGS if request.flag(flag)}
    if container := request.param("container"):
        found["container"] = container
    if route.subresource == "exec":
        found["command"] = list(request.query.get("command", ()))
    return found
