"""Nobody grants what they lack; a node reads what its pods need; who may act as whom."""

from typing import Any

import pytest

from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.auth.escalation import lacking, refusal
from pybernetes.apiserver.auth.rbac import compiled
from pybernetes.apiserver.users import User

from .conftest import Call, call_of

RBAC = "/apis/rbac.authorization.k8s.io/v1"
CORE = "/api/v1/namespaces/default"
GROUP = "rbac.authorization.k8s.io"
WRITE_ROLES = {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["create", "update", "patch", "get"]}


def read(*resources: str, verbs: tuple[str, ...] = ("get",)) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}


async def grant(call: Call, user: str, *rules: dict[str, Any]) -> None:
    """A ClusterRole of these rules, bound to a user everywhere."""
    assert (await call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": list(rules)}))[0] == 201
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": user},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": user}],
    }
    assert (await call("POST", f"{RBAC}/clusterrolebindings", binding))[0] == 201


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        (read("pods"), read("pods"), 0),
        (read("pods"), read("pods", "secrets", verbs=("get", "list")), 3),
        (read("*"), read("pods/log"), 0),
        (read("*/log"), read("pods/log"), 0),
        (read("pods"), read("*"), 1),
        (read("pods") | {"resourceNames": ["a"]}, read("pods"), 1),
        (read("pods"), read("pods") | {"resourceNames": ["a"]}, 0),
        ({"nonResourceURLs": ["/a/*"], "verbs": ["get"]}, {"nonResourceURLs": ["/a/b", "/c"], "verbs": ["get"]}, 1),
    ],
)
def test_what_is_lacking(held: dict[str, Any], wanted: dict[str, Any], missing: int) -> None:
    assert len(lacking(compiled([held]), [wanted])) == missing


def test_the_words() -> None:
    missing = lacking((), [read("pods", "secrets", verbs=("get", "list"))])
    assert refusal(User("bob", ("a", "b")), missing) == (
        'user "bob" (groups=["a" "b"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )


async def test_roles_hold_no_more_than_their_author(server: ApiServer) -> None:
    admin, bob = call_of(server), call_of(server, "bob", "system:authenticated")
    await grant(admin, "bob", WRITE_ROLES, read("pods"))
    roles = f"{RBAC}/namespaces/default/roles"
    assert (await bob("POST", roles, {"metadata": {"name": "ok"}, "rules": [read("pods")]}))[0] == 201
    code, status = await bob("POST", roles, {"metadata": {"name": "x"}, "rules": [read("secrets")]})
    assert code == 403
    assert status["message"].endswith('{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}')
    patch = {"rules": [read("secrets")]}
    assert (await bob("PATCH", f"{roles}/ok", patch, "application/merge-patch+json"))[0] == 403
    aggregated = {"metadata": {"name": "y"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    code, status = await bob("POST", f"{RBAC}/clusterroles", aggregated)
    assert (code, "must have cluster-admin privileges" in status["message"]) == (403, True)
    await grant(admin, "escalator", {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["create", "escalate"]})
    mighty = call_of(server, "escalator", "system:authenticated")
    assert (await mighty("POST", roles, {"metadata": {"name": "z"}, "rules": [read("secrets")]}))[0] == 201


async def test_bindings_grant_no_more_than_their_author_holds(server: ApiServer) -> None:
    admin, bob = call_of(server), call_of(server, "bob", "system:authenticated")
    await grant(admin, "bob", WRITE_ROLES)
    bindings = f"{RBAC}/namespaces/default/rolebindings"

    def binding(role: str) -> dict[str, Any]:
        return {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "apiGroup": GROUP, "name": "eve"}],
        }

    assert (await bob("POST", bindings, binding("cluster-admin")))[0] == 403
    assert (await bob("POST", bindings, binding("nothing")))[0] == 404
    bind = {"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["view"]}
    await grant(admin, "binder", WRITE_ROLES, bind)
    binder = call_of(server, "binder", "system:authenticated")
    assert (await binder("POST", bindings, binding("view")))[0] == 201
    assert (await binder("POST", bindings, binding("edit")))[0] == 403


async def test_a_node_reads_what_its_pods_name(server: ApiServer) -> None:
    admin = call_of(server)
    for node in ("a", "b"):
        assert (await admin("POST", "/api/v1/nodes", {"metadata": {"name": node}}))[0] == 201
    for name in ("used", "other"):
        assert (await admin("POST", f"{CORE}/secrets", {"metadata": {"name": name}}))[0] == 201
    container = {"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "used"}}]}
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "a", "containers": [container]}}
    assert (await admin("POST", f"{CORE}/pods", pod))[0] == 201
    own, stranger = (call_of(server, f"system:node:{node}", "system:nodes") for node in ("a", "b"))
    for path in (f"{CORE}/secrets/used", f"{CORE}/secrets?fieldSelector=metadata.name=used", f"{CORE}/pods/p"):
        assert (await own("GET", path))[0] == 200
        code, _ = await stranger("GET", path)
        assert code == 403, path
    assert (
        "no relationship found between node 'b' and this object"
        in (await stranger("GET", f"{CORE}/secrets/used"))[1]["message"]
    )
    assert (await own("GET", f"{CORE}/secrets/other"))[0] == 403
    assert (await own("GET", "/api/v1/nodes/b"))[0] == 403
    assert (await own("GET", "/api/v1/nodes/a"))[0] == 200
    await admin("DELETE", f"{CORE}/pods/p?gracePeriodSeconds=0")
    assert (await own("GET", f"{CORE}/secrets/used"))[0] == 403
    assert (await call_of(server, "system:node:", "system:nodes")("GET", f"{CORE}/secrets/used"))[0] == 403


async def test_a_claim_brings_its_volume(server: ApiServer) -> None:
    admin = call_of(server)
    assert (await admin("POST", "/api/v1/nodes", {"metadata": {"name": "a"}}))[0] == 201
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    spec = {"nodeName": "a", "containers": [{"name": "c", "image": "i"}], "volumes": [volume]}
    assert (await admin("POST", f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": spec}))[0] == 201
    claimed = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/tmp"},
        "claimRef": {"namespace": "default", "name": "data"},
    }
    for name, body in (("mine", claimed), ("free", {k: v for k, v in claimed.items() if k != "claimRef"})):
        code, made = await admin("POST", "/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": body})
        assert code == 201, made
    own = call_of(server, "system:node:a", "system:nodes")
    assert (await own("GET", "/api/v1/persistentvolumes/mine"))[0] == 200
    assert (await own("GET", "/api/v1/persistentvolumes/free"))[0] == 403


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        ({"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n"]}]}, True),
        ({"rawSelector": "spec.nodeName=n"}, True),
        ({"rawSelector": "spec.nodeName=m"}, False),
        ({"requirements": [{"key": "spec.nodeName", "operator": "NotIn", "values": ["n"]}]}, False),
        (None, False),
    ],
)
async def test_selectors_in_access_reviews(server: ApiServer, selector: Any, allowed: bool) -> None:
    asked = {"verb": "list", "resource": "pods"} | ({"fieldSelector": selector} if selector else {})
    spec = {"user": "system:node:n", "groups": ["system:nodes"], "resourceAttributes": asked}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    code, review = await call_of(server)("POST", path, {"spec": spec})
    assert (code, review["status"]["allowed"]) == (201, allowed)


async def test_a_selector_is_said_one_way(server: ApiServer) -> None:
    both = {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for selector in (both, {}):
        spec = {"resourceAttributes": {"verb": "list", "resource": "pods", "labelSelector": selector}}
        assert (await call_of(server)("POST", path, {"spec": spec}))[0] == 422


@pytest.mark.parametrize(
    ("headers", "missing"),
    [
        ({"impersonate_user": "eve"}, 'users "eve"'),
        ({"impersonate_user": "bob", "impersonate_group": "x"}, 'groups "x"'),
        ({"impersonate_user": "bob", "impersonate_uid": "7"}, 'uids.authentication.k8s.io "7"'),
        ({"impersonate_user": "bob", "impersonate_extra_k": "v"}, 'userextras.authentication.k8s.io "v"'),
        ({"impersonate_user": "system:serviceaccount:default:d"}, 'serviceaccounts "d"'),
    ],
)
async def test_each_part_of_another_takes_its_permission(
    server: ApiServer, headers: dict[str, str], missing: str
) -> None:
    bobs = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["bob"]}
    await grant(call_of(server), "actor", bobs)
    actor = call_of(server, "actor", "system:authenticated")
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    assert (await actor("POST", path, {}, impersonate_user="bob"))[0] == 201
    code, status = await actor("POST", path, {}, **headers)
    assert (code, status["message"].startswith(f"{missing} is forbidden")) == (403, True), status


async def test_groups_without_a_user_are_nobody(server: ApiServer) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    assert (await call_of(server)("POST", path, {}, impersonate_group="x"))[0] == 400


async def test_a_missing_role_is_named(server: ApiServer) -> None:
    binding = {
        "metadata": {"name": "gone"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "gone"},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": "bob"}],
    }
    await call_of(server)("POST", f"{RBAC}/clusterrolebindings", binding)
    _, status = await call_of(server, "bob", "system:authenticated")("GET", f"{CORE}/pods")
    assert status["message"].endswith(': RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found')
