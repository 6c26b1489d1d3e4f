"""authorizer.group('apps').resource('deployments').check('get').allowed(): what expressions ask about the requester.

A check under way is a map, as quantities are; whom to ask is known to the context in which the expression is evaluated.
Source: k8s.io/apiserver/pkg/cel/library/authz.go.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from .functions import Function

AUTHORIZER: dict[str, Any] = {"authorizer": {}}
"""The variable `authorizer`: of the user who makes the request."""


class Check(NamedTuple):
    """What an expression wants to know; `account` is (namespace, name) when it asks for a service account."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    fields: str = ""
    labels: str = ""
    account: tuple[str, str] | None = None


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""


Ask = Callable[[Check], Decision]

_ask: ContextVar[Ask] = ContextVar("ask")


@contextlib.contextmanager
def asking(ask: Ask) -> Iterator[None]:
    """Within it, expressions that are evaluated put their checks to `ask`."""
    token = _ask.set(ask)
    try:
        yield
    finally:
        _ask.reset(token)


def resource_check(group: str, resource: str, *, subresource: str, namespace: str, name: str) -> dict[str, Any]:
    """The variable authorizer.requestResource."""
    found = {"group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    return {"authorizer": found}


def _with(field: str, *, needs: str = "", required: bool = False) -> Callable[[Any, str], Any]:
    """A step of a check. `needs` is the step it must come after."""

    def step(value: Any, text: str) -> Any:
        found = value["authorizer"]
        if needs and needs not in found:
            raise ValueError(f"no such overload: {field} before {needs}")
        if required and not text.strip():
            raise ValueError(f"{field} must not be empty")
        return {"authorizer": {**found, field: text}}

    return step


def _account(value: Any, namespace: str, name: str) -> Any:
    return {"authorizer": {**value["authorizer"], "account": f"{namespace}/{name}"}}


def _check(value: Any, verb: str) -> Any:
    fields = dict(value["authorizer"])
    namespace, slash, name = str(fields.pop("account", "")).partition("/")
    decision = _ask.get()(Check(verb, account=(namespace, name) if slash else None, **fields))
    return {"allowed": decision.allowed, "reason": decision.reason}


AUTHORIZATION_FUNCTIONS: tuple[Function, ...] = (
    Function("serviceAccount", ("dyn", "string", "string"), "dyn", _account),
    Function("path", ("dyn", "string"), "dyn", _with("path", required=True)),
    Function("group", ("dyn", "string"), "dyn", _with("group")),
    Function("resource", ("dyn", "string"), "dyn", _with("resource", needs="group", required=True)),
    Function("subresource", ("dyn", "string"), "dyn", _with("subresource", needs="resource")),
    Function("namespace", ("dyn", "string"), "dyn", _with("namespace", needs="resource")),
    Function("name", ("dyn", "string"), "dyn", _with("name", needs="resource")),
    Function("fieldSelector", ("dyn", "string"), "dyn", _with("fields", needs="resource")),
    Function("labelSelector", ("dyn", "string"), "dyn", _with("labels", needs="resource")),
    Function("check", ("dyn", "string"), "dyn", _check),
    Function("allowed", ("dyn",), "bool", lambda value: value["allowed"]),
    Function("reason", ("dyn",), "string", lambda value: value["reason"]),
    Function("errored", ("dyn",), "bool", lambda value: "allowed" not in value),
    Function("error", ("dyn",), "string", lambda value: ""),
)
