"""What a request asks for: path and method -> verb, resource, namespace, name, subresource. Pure.

The grammar is Kubernetes' (API concepts, "Resource URIs"); which resources there are is the caller's table.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from pybernetes.api.errors import MethodNotAllowed, NotFound
from pybernetes.api.resources import Resource, Subresource

Find = Callable[[str, str, str], Resource | None]
"""The row of (group, version, plural)."""

_PLAIN = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
_WHOLE = {"POST": "create", "DELETE": "deletecollection", "GET": "list", "HEAD": "list"}
_ONLY_PROXIED = frozenset({"HEAD", "OPTIONS"})
"""Methods that a backend may know; of objects kube-apiserver answers neither."""
_NAMESPACE_PARTS = frozenset({"status", "finalize"})
CONNECTING = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources whose requests Kubernetes counts under the verb CONNECT."""
STREAMING = CONNECTING | {"log"}


class Route(NamedTuple):
    """`verb` is Kubernetes' request verb. Without a resource the path is a non-resource one and `verb` its method."""

    verb: str
    path: str
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""
    """For proxy: the path behind it, with its slash."""

    @property
    def part(self) -> Subresource | None:
        return self.resource.subresource(self.subresource) if self.resource and self.subresource else None

    @property
    def long_running(self) -> bool:
        """Whether it has no deadline of its own."""
        return self.verb == "watch" or self.subresource in STREAMING

    @property
    def target(self) -> str:
        """The resource as authorization and messages name it: "pods", "pods/log"."""
        plural = self.resource.plural if self.resource else ""
        return f"{plural}/{self.subresource}" if self.subresource else plural


_PROXIED = re.compile(
    rb"(?:https?://[^/]*)?/api/v1/(?:namespaces/[^/?]+/(?:pods|services)|nodes)/[^/?]+/proxy(?:[/?].*)?", re.DOTALL
)


def proxied(target: bytes) -> bool:
    """Whether a request's target is below a proxy: what such a request upgrades to is not for this server."""
    return _PROXIED.fullmatch(target) is not None


def missing() -> NotFound:
    return NotFound("the server could not find the requested resource")


def not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def route(method: str, path: str, *, find: Find, watch: bool = False) -> Route:
    """Raises NotFound for an unknown resource or subresource, MethodNotAllowed for a verb it does not have."""
    parts = path.split("/")
    if parts[1] == "api" and len(parts) >= 4:
        group, version, rest = "", parts[2], parts[3:]
    elif parts[1] == "apis" and len(parts) >= 5:
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        return Route(method.lower(), path)
    if not rest[-1] and len(rest) > 1 and "proxy" not in rest:
        rest.pop()
    if rest == [""]:
        return Route(method.lower(), path)
    if rest[0] == "watch" and len(rest) > 1:
        watch, rest = True, rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in _NAMESPACE_PARTS):
        namespace, rest = rest[1], rest[2:]
        if not namespace:
            raise missing()
    resource = find(group, version, rest[0])
    if resource is None or "" in rest[1:3] or (namespace and not resource.namespaced):
        raise missing()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    tail = "/" + "/".join(rest[3:]) if subresource == "proxy" else ""
    if name and resource.namespaced and not namespace:
        raise missing()
    if len(rest) > 3 and not tail:
        raise missing()
    found = Route(_verb(method, name, watch), path, resource, namespace, name, subresource, tail)
    if not (tail and method in _ONLY_PROXIED):
        if method in _ONLY_PROXIED:
            raise not_allowed()
        _check(found, resource)
    return found


def _verb(method: str, name: str, watch: bool) -> str:
    verb = (_PLAIN if name else _WHOLE).get(method, "")
    if watch and verb in ("get", "list"):
        return "watch"
    return verb


def _check(found: Route, resource: Resource) -> None:
    if found.subresource:
        part = resource.subresource(found.subresource)
        if part is None:
            raise missing()
        if found.verb not in part.verbs:
            raise not_allowed()
        return
    if found.verb not in resource.verbs or (found.verb == "create" and found.name):
        raise not_allowed()
    if found.verb in ("create", "deletecollection") and resource.namespaced and not found.namespace:
        raise not_allowed()
