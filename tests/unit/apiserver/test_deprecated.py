"""Deprecated APIs: the warning in every answer, the metric, the note in the audit log."""

import pytest

from pybernetes.api.objects import Obj
from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.users import User
from pybernetes.wire import Request

from .conftest import Call, call_of
from .test_custom import established

NS = "/api/v1/namespaces/default"
ENDPOINTS = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
METRIC = "apiserver_requested_deprecated_apis"


async def ask(server: ApiServer, method: str, path: str, body: bytes = b"", **query: str) -> tuple[int, str]:
    """The code and the warning."""
    response = await server.trusted("a", "system:masters").send(
        Request(
            method=method,
            path=path,
            query={name: [value] for name, value in query.items()},
            headers={"content-type": "application/json"},
            body=body,
            stream="watch" in query,
        )
    )
    if not isinstance(response.body, bytes):
        await response.body.aclose()  # type: ignore[attr-defined]
    return response.status, response.headers.get("warning", "")


async def test_endpoints_and_component_statuses_warn_in_kubernetes_words(server: ApiServer) -> None:
    asked = [
        await ask(server, "POST", f"{NS}/endpoints", b'{"metadata":{"name":"e"}}'),
        await ask(server, "GET", f"{NS}/endpoints/e"),
        await ask(server, "GET", "/api/v1/endpoints"),
        await ask(server, "GET", "/api/v1/endpoints", watch="1"),
        await ask(server, "GET", f"{NS}/endpoints/missing"),
        await ask(server, "DELETE", f"{NS}/endpoints/e"),
    ]
    assert asked == [(code, ENDPOINTS) for code in (201, 200, 200, 200, 404, 200)]
    code, warning = await ask(server, "GET", "/api/v1/componentstatuses")
    assert (code, warning) == (200, '299 - "v1 ComponentStatus is deprecated in v1.19+"')


@pytest.mark.parametrize("path", ["/api/v1/pods", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1", "/version"])
async def test_what_is_not_deprecated_does_not_warn(server: ApiServer, path: str) -> None:
    assert await ask(server, "GET", path) == (200, "")


async def test_who_may_not_ask_is_told_nothing(server: ApiServer) -> None:
    call = call_of(server, "somebody", "people")
    assert (await call("GET", f"{NS}/endpoints"))[0] == 403
    assert "warning" not in call.headers  # type: ignore[attr-defined]


def definition(**version: str | bool) -> Obj:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": schema},
                {"name": "v1beta1", "served": True, "storage": False, "schema": schema, **version},
            ],
        },
    }


@pytest.mark.parametrize(
    ("version", "warning"),
    [
        ({"deprecated": True}, '299 - "example.com/v1beta1 CronTab is deprecated"'),
        ({"deprecated": True, "deprecationWarning": 'use "v1"'}, '299 - "use \\"v1\\""'),
        ({}, ""),
    ],
)
async def test_a_deprecated_version_of_a_custom_resource(
    server: ApiServer, call: Call, version: dict[str, str | bool], warning: str
) -> None:
    await established(call, definition(**version), name="crontabs.example.com")
    base = "/apis/example.com"
    assert await ask(server, "GET", f"{base}/v1beta1/namespaces/default/crontabs") == (200, warning)
    assert await ask(server, "GET", f"{base}/v1/namespaces/default/crontabs") == (200, "")
    _, text = await call("GET", "/metrics")
    labels = 'group="example.com",removed_release="",resource="crontabs",subresource="",version="v1beta1"'
    assert (f"{METRIC}{{{labels}}} 1.0" in text.decode()) is bool(warning)


async def test_the_audit_log_is_told(server: ApiServer) -> None:
    notes: dict[str, str] = {}
    user = User("a", ("system:masters",))
    await server.handler(Request(path="/api/v1/endpoints", context={"user": user, "annotations": notes}))
    assert notes["k8s.io/deprecated"] == "true"


async def test_warnings_are_bounded(server: ApiServer, call: Call) -> None:
    """As kube-apiserver bounds them, whatever there is to warn of: no client reads a head without end."""
    path = "/api/v1/namespaces/default/configmaps?fieldValidation=Warn"
    few = {f"unknown{number:04}": 1 for number in range(20)}
    assert (await call("POST", path, {"metadata": {"name": "few"}} | few))[0] == 201
    assert call.headers["warning"].count("299 - ") == 20  # type: ignore[attr-defined]
    many = {f"unknown{number:04}{'x' * 300}": 1 for number in range(200)}
    assert (await call("POST", path, {"metadata": {"name": "many"}} | many))[0] == 201
    warning = call.headers["warning"]  # type: ignore[attr-defined]
    assert warning.count("299 - ") == 16
    assert len(warning) < 5000
