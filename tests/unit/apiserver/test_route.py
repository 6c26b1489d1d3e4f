"""Paths become verb, resource, namespace, name, subresource."""

import pytest

from pybernetes.api.errors import ApiError
from pybernetes.api.resources import NAMESPACES, PODS, find
from pybernetes.apiserver.route import Route, route


def routed(method: str, path: str, *, watch: bool = False) -> Route:
    return route(method, path, find=find, watch=watch)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "pods", "a", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/", ("list", "pods", "a", "", "")),
        ("POST", "/api/v1/namespaces/a/pods", ("create", "pods", "a", "", "")),
        ("DELETE", "/api/v1/namespaces/a/pods", ("deletecollection", "pods", "a", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", ("get", "pods", "a", "b", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/b/proxy/x", ("get", "pods", "a", "b", "proxy")),
        ("OPTIONS", "/api/v1/namespaces/a/services/b/proxy/", ("", "services", "a", "b", "proxy")),
        ("PUT", "/api/v1/namespaces/a/pods/b/status", ("update", "pods", "a", "b", "status")),
        ("GET", "/api/v1/namespaces/a/pods/b/log", ("get", "pods", "a", "b", "log")),
        ("POST", "/api/v1/namespaces/a/pods/b/binding", ("create", "pods", "a", "b", "binding")),
        ("GET", "/api/v1/namespaces", ("list", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "namespaces", "", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "namespaces", "", "a", "finalize")),
        ("GET", "/api/v1/namespaces/a/status", ("get", "namespaces", "", "a", "status")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", ("patch", "deployments", "a", "b", "scale")),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/x", ("get", "clusterroles", "", "x", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods", ("watch", "pods", "a", "", "")),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ("create", "selfsubjectaccessreviews", "", "", ""),
        ),
    ],
)
def test_resources(method: str, path: str, expected: tuple[str, ...]) -> None:
    found = routed(method, path)
    assert found.resource is not None
    assert (found.verb, found.resource.plural, found.namespace, found.name, found.subresource) == expected


def test_watch_is_a_verb_of_its_own() -> None:
    assert routed("GET", "/api/v1/pods", watch=True).verb == "watch"
    assert routed("GET", "/api/v1/namespaces/a/pods/b", watch=True).verb == "watch"
    assert routed("GET", "/api/v1/pods", watch=True).long_running


@pytest.mark.parametrize(
    "path", ["/", "/version", "/api", "/api/", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/openapi/v3"]
)
def test_other_paths_have_no_resource(path: str) -> None:
    found = routed("GET", path)
    assert found.resource is None
    assert found.verb == "get"


def test_proxy_keeps_the_rest_of_the_path() -> None:
    found = routed("POST", "/api/v1/namespaces/a/services/web:80/proxy/x//y/")
    assert (found.name, found.subresource, found.tail) == ("web:80", "proxy", "/x//y/")
    assert routed("GET", "/api/v1/nodes/n/proxy").tail == "/"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/nothings", 404),
        ("GET", "/api/v2/pods", 404),
        ("GET", "/apis/apps/v1/pods", 404),
        ("GET", "/api/v1/pods/b", 404),
        ("GET", "/api/v1/namespaces/a/nodes", 404),
        ("GET", "/api/v1/namespaces/a/pods/b/nothing", 404),
        ("GET", "/api/v1/namespaces/a/pods/b/status/more", 404),
        ("GET", "/api/v1/namespaces//pods", 404),
        ("POST", "/api/v1/pods", 405),
        ("POST", "/api/v1/namespaces/a/pods/b", 405),
        ("PUT", "/api/v1/namespaces/a/pods", 405),
        ("HEAD", "/api/v1/namespaces/a/pods/b", 405),
        ("OPTIONS", "/api/v1/namespaces/a/pods", 405),
        ("BREW", "/api/v1/namespaces/a/pods/b/proxy/", 405),
        ("BREW", "/api/v1/namespaces/a/pods", 405),
        ("GET", "/api/v1/namespaces/a/pods/b/binding", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
    ],
)
def test_refused(method: str, path: str, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        routed(method, path)
    assert caught.value.code == code


def test_every_row_routes_its_own_path() -> None:
    for row in (PODS, NAMESPACES):
        found = routed("GET", row.path("a" if row.namespaced else "", "b"))
        assert found.resource is row
        assert found.name == "b"
