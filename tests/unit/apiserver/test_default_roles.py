"""The default roles: what they let do, and whom; what nobody may."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.objects import name_of
from pybernetes.apiserver import ApiServer
from pybernetes.apiserver.auth.controller_roles import ACCOUNTS, CONTROLLER_ROLES
from pybernetes.apiserver.auth.defaults import cluster_role_bindings, cluster_roles, role_bindings, roles
from pybernetes.apiserver.auth.rbac import effective
from pybernetes.controllers import ACCOUNTS as USED

from .conftest import Call, call_of

KUBERNETES = json.loads(gzip.decompress(Path(__file__).with_name("default_roles.json.gz").read_bytes()))
"""What Kubernetes 1.37 grants, and to whom; written by tools/golden.py."""
PATCHED = {  # our controllers patch a status where Kubernetes' replace it
    "cronjob": "batch cronjobs/status",
    "daemon-set": "apps daemonsets/status",
    "deployment": "apps deployments/status",
    "horizontal-pod-autoscaler": "autoscaling horizontalpodautoscalers/status",
    "job": "batch jobs/status",
    "namespace": " namespaces/status",
    "replicaset": "apps replicasets/status",
    "replication": " replicationcontrollers/status",
    "statefulset": "apps statefulsets/status",
    "root-ca-cert-publisher": " configmaps",
}
MORE = {
    "/system:kube-controller-manager": {"patch  secrets "},
    "kube-public/system:controller:bootstrap-signer": {"create  configmaps ", "patch  configmaps cluster-info"},
    "/system:controller:certificate-controller": {
        "approve certificates.k8s.io signers kubernetes.io/kubelet-serving",
        "approve certificates.k8s.io signers pybernetes.io/node-component-client",
        "sign certificates.k8s.io signers pybernetes.io/node-component-client",
    },
    "/system:controller:deployment-controller": {"patch apps deployments "},
    "/system:controller:job-controller": {"delete batch jobs "},
    "/system:controller:resourcequota-controller": {"get  resourcequotas "},
}
"""What our controllers need besides."""
LESS = {"/system:public-info-viewer": {"Group  system:unauthenticated"}}
"""Whom we leave out: the anonymous reach health only."""
ROLES = {name_of(role): role for role in cluster_roles()}
AUTHENTICATED = "system:authenticated"


def pairs(rules: Any) -> set[tuple[str, str, str]]:
    """(group, resource, verb) of all rules without names."""
    return {
        (group, resource, verb)
        for rule in rules
        if not rule.get("resourceNames")
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
        for verb in rule["verbs"]
    }


def whole(name: str) -> set[tuple[str, str, str]]:
    return pairs(effective(ROLES[name], ROLES.values()))


def granted(rule: Any) -> Iterator[str]:
    """As in KUBERNETES."""
    for verb in rule["verbs"]:
        yield from (f"{verb} {path}" for path in rule.get("nonResourceURLs") or ())
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                yield from (f"{verb} {group} {resource} {name}" for name in rule.get("resourceNames") or ("",))


def keyed(objects: Any) -> dict[str, Any]:
    return {f"{one['metadata'].get('namespace', '')}/{name_of(one)}": one for one in objects}


@pytest.mark.parametrize("key", KUBERNETES["roles"])
def test_a_role_grants_what_kubernetes_does_and_no_more_than_ours_need(key: str) -> None:
    ours = keyed((*cluster_roles(), *roles()))[key]
    found = {line for rule in ours.get("rules") or () for line in granted(rule)}
    name = key.partition("/")[2]
    more = set(MORE.get(key, ()))
    for controller, what in PATCHED.items():
        if name in (f"system:controller:{controller}", f"system:controller:{controller}-controller"):
            more.add(f"patch {what} ")
    assert found == set(KUBERNETES["roles"][key]) | more


@pytest.mark.parametrize("key", KUBERNETES["bindings"])
def test_a_role_is_bound_to_whom_kubernetes_binds_it(key: str) -> None:
    ours = keyed((*cluster_role_bindings(), *role_bindings()))[key]
    found = {f"{one['kind']} {one.get('namespace', '')} {one['name']}" for one in ours["subjects"]}
    assert found == set(KUBERNETES["bindings"][key]) - LESS.get(key, set())


def test_admin_holds_edit_which_holds_view() -> None:
    view, edit, admin = whole("view"), whole("edit"), whole("admin")
    assert view < edit < admin
    assert ("", "secrets", "get") not in view
    assert ("", "secrets", "get") in edit
    assert ("rbac.authorization.k8s.io", "rolebindings", "create") in admin - edit
    assert not {
        one for one in admin if one[1] in ("nodes", "persistentvolumes", "resourcequotas") and one[2] != "get"
    } - {
        ("", "resourcequotas", "list"),
        ("", "resourcequotas", "watch"),
    }


def test_every_binding_leads_to_a_role_and_no_default_is_for_the_anonymous() -> None:
    local = {(one["metadata"]["namespace"], name_of(one)) for one in roles()}
    for binding in (*cluster_role_bindings(), *role_bindings()):
        reference = binding["roleRef"]
        if reference["kind"] == "ClusterRole":
            assert reference["name"] in ROLES, binding
        else:
            assert (binding["metadata"]["namespace"], reference["name"]) in local, binding
        names = {subject["name"] for subject in binding["subjects"]}
        assert not names & {"system:unauthenticated", "system:anonymous"}


def test_only_masters_are_bound_to_everything() -> None:
    bound = {one["roleRef"]["name"]: one["subjects"] for one in cluster_role_bindings()}
    powerful = {name for name, role in ROLES.items() if ("*", "*", "*") in pairs(role.get("rules") or ())}
    assert powerful == {"cluster-admin"}
    assert bound["cluster-admin"] == [
        {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:masters"}
    ]
    assert bound["system:node"] == []


def test_each_controller_that_runs_has_an_account_with_a_role() -> None:
    local = {subject["name"] for one in role_bindings() for subject in one["subjects"]}
    bound = {subject["name"] for one in cluster_role_bindings() for subject in one["subjects"]}
    assert USED <= ACCOUNTS
    assert USED - local - bound == set()
    for name in CONTROLLER_ROLES:
        assert f"system:controller:{name}" in ROLES


@pytest.mark.parametrize(
    ("account", "method", "path", "code"),
    [
        ("deployment-controller", "POST", "/api/v1/namespaces/default/pods", 403),
        ("deployment-controller", "GET", "/apis/apps/v1/deployments", 200),
        ("replicaset-controller", "GET", "/api/v1/secrets", 403),
        ("endpointslice-controller", "GET", "/api/v1/pods", 200),
        ("endpointslice-controller", "DELETE", "/api/v1/namespaces/default/pods/x", 403),
        ("token-cleaner", "GET", "/api/v1/namespaces/kube-system/secrets", 200),
        ("token-cleaner", "GET", "/api/v1/namespaces/default/secrets", 403),
        ("bootstrap-signer", "DELETE", "/api/v1/namespaces/kube-system/secrets/x", 403),
        ("certificate-controller", "GET", "/api/v1/namespaces/kube-system/secrets", 403),
        ("node-controller", "GET", "/apis/apps/v1/deployments", 403),
    ],
)
async def test_an_account_does_its_own_work_only(
    server: ApiServer, account: str, method: str, path: str, code: int
) -> None:
    user = f"system:serviceaccount:kube-system:{account}"
    groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED)
    assert (await call_of(server, user, *groups)(method, path))[0] == code


@pytest.mark.parametrize(
    ("user", "method", "path", "code"),
    [
        ("system:kube-controller-manager", "DELETE", "/api/v1/namespaces/default/pods/x", 403),
        ("system:kube-controller-manager", "PATCH", "/apis/apps/v1/namespaces/default/deployments/x", 403),
        ("system:kube-controller-manager", "GET", "/apis/apps/v1/deployments", 200),
        ("system:kube-scheduler", "POST", "/api/v1/namespaces/default/pods", 403),
        ("system:kube-dns", "GET", "/api/v1/configmaps", 403),
        (
            "system:kube-dns",
            "GET",
            "/api/v1/namespaces/kube-system/configmaps?fieldSelector=metadata.name=pybernetes-dns",
            200,
        ),
        ("system:kube-dns", "GET", "/api/v1/nodes", 403),
        ("system:kube-proxy", "GET", "/api/v1/pods", 403),
    ],
)
async def test_components_are_held_to_theirs(server: ApiServer, user: str, method: str, path: str, code: int) -> None:
    found, status = await call_of(server, user, AUTHENTICATED)(method, path, {} if method == "PATCH" else None)
    assert found == code, status


async def test_what_controllers_write_carries_no_managed_fields(server: ApiServer, call: Call) -> None:
    """Their pods would be twice the size; accounts of people's programs are noted as ever."""
    body = {"metadata": {"name": "robot"}, "data": {"a": "b"}}
    await call("POST", "/api/v1/namespaces/default/configmaps", body | {"metadata": {"name": "mine"}})
    root_ca = "system:serviceaccount:kube-system:root-ca-cert-publisher"
    code, made = await call_of(server, root_ca, AUTHENTICATED)("POST", "/api/v1/namespaces/default/configmaps", body)
    assert code == 201
    assert "managedFields" not in made["metadata"]
    _, mine = await call("GET", "/api/v1/namespaces/default/configmaps/mine")
    assert mine["metadata"]["managedFields"]
