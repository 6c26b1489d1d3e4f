"""LimitRange, default classes and NodeRestriction, against a whole API server."""

from typing import Any

import pytest

from pybernetes.api.objects import Obj
from pybernetes.apiserver import ApiServer

from .conftest import Call, call_of

NS = "/api/v1/namespaces/default"
CPU_MEMORY = ("cpu", "memory")


def pod(name: str = "p", **resources: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}}


async def limit(call: Call, *items: Obj) -> None:
    body = {"metadata": {"name": "limits"}, "spec": {"limits": list(items)}}
    code, answer = await call("POST", f"{NS}/limitranges", body)
    assert code == 201, answer


async def test_should_create_a_limit_range_with_defaults_and_ensure_pod_has_those_defaults_applied(call: Call) -> None:
    await limit(
        call,
        {
            "type": "Container",
            "min": {"cpu": "50m", "memory": "100Mi"},
            "max": {"cpu": "500m", "memory": "500Mi"},
            "default": {"cpu": "500m", "memory": "500Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
        },
    )
    code, made = await call("POST", f"{NS}/pods", pod())
    assert code == 201
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "200Mi"},
        "limits": {"cpu": "500m", "memory": "500Mi"},
    }
    note = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert note == "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    code, made = await call("POST", f"{NS}/pods", pod("partial", requests={"cpu": "300m"}, limits={"cpu": "300m"}))
    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "300m", "memory": "200Mi"}
    for name, given, why in (
        ("small", {"requests": {"cpu": "10m"}}, "minimum cpu usage per Container is 50m, but request is 10m"),
        ("large", {"limits": {"memory": "600Mi"}}, "maximum memory usage per Container is 500Mi, but limit is 600Mi"),
    ):
        code, status = await call("POST", f"{NS}/pods", pod(name, **given))
        assert (code, status["message"]) == (403, f'pods "{name}" is forbidden: {why}')


async def test_all_that_is_out_of_bounds_is_said_at_once(call: Call) -> None:
    await limit(call, {"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "1Gi"}})
    code, status = await call("POST", f"{NS}/pods", pod(requests={"memory": "1Mi"}, limits={"cpu": "2"}))
    assert code == 403
    assert status["message"] == (
        'pods "p" is forbidden: [minimum memory usage per Pod is 1Gi, but request is 1Mi, '
        "maximum cpu usage per Pod is 1, but limit is 2]"
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "200m"}}, "but provided ratio is 5.000000"),
        ({}, "but no request is specified or request is 0"),
        ({"requests": {"cpu": "1"}}, "but no limit is specified or limit is 0"),
    ],
)
async def test_the_ratio_of_limit_to_request_is_bounded(call: Call, given: Obj, why: str) -> None:
    await limit(call, {"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}})
    code, status = await call("POST", f"{NS}/pods", pod(**given))
    assert code == 403
    assert status["message"].endswith(f"cpu max limit to request ratio per Container is 4, {why}")


async def test_volume_claims_have_bounds(call: Call) -> None:
    await limit(call, {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}})

    def claim(size: str) -> Obj:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        return {"metadata": {"name": f"c-{size.lower()}"}, "spec": spec}

    assert (await call("POST", f"{NS}/persistentvolumeclaims", claim("1Gi")))[0] == 201
    code, status = await call("POST", f"{NS}/persistentvolumeclaims", claim("3Gi"))
    assert code == 403
    assert status["message"].endswith("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")


async def test_a_claim_gets_the_youngest_default_class_unless_it_names_one(call: Call) -> None:
    classes = "/apis/storage.k8s.io/v1/storageclasses"
    for name, default in (("plain", "false"), ("usual", "true")):
        meta = {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}
        assert (await call("POST", classes, {"metadata": meta, "provisioner": "p"}))[0] == 201
    spec: Obj = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    _, made = await call("POST", f"{NS}/persistentvolumeclaims", {"metadata": {"name": "a"}, "spec": spec})
    assert made["spec"]["storageClassName"] == "usual"
    none = {"metadata": {"name": "b"}, "spec": spec | {"storageClassName": ""}}
    assert (await call("POST", f"{NS}/persistentvolumeclaims", none))[1]["spec"]["storageClassName"] == ""


async def test_an_ingress_gets_the_default_class(call: Call) -> None:
    meta = {"name": "usual", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    body = {"metadata": meta, "spec": {"controller": "example.com/c"}}
    assert (await call("POST", "/apis/networking.k8s.io/v1/ingressclasses", body))[0] == 201
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    _, made = await call("POST", path, {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}})
    assert made["spec"]["ingressClassName"] == "usual"


@pytest.fixture
async def node(server: ApiServer) -> Call:
    """The kubelet of n1; RBAC is not what is asked here."""
    found = call_of(server, "system:node:n1", "system:nodes", "system:masters")
    for name in ("n1", "n2"):
        await call_of(server)("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    return found


MERGE = "application/merge-patch+json"


async def test_a_kubelet_changes_its_own_node_only(node: Call) -> None:
    label = {"metadata": {"labels": {"kubernetes.io/hostname": "n"}}}
    assert (await node("PATCH", "/api/v1/nodes/n1", label, MERGE))[0] == 200
    code, status = await node("PATCH", "/api/v1/nodes/n2", label, MERGE)
    assert code == 403
    assert status["message"] == 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"'
    assert (await node("PATCH", "/api/v1/nodes/n2/status", {"status": {}}, MERGE))[0] == 403


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b"}}}, "node-restriction.kubernetes.io/a"),
        ({"metadata": {"labels": {"node-role.kubernetes.io/master": ""}}}, "node-role.kubernetes.io/master"),
        ({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}, "is not allowed to modify taints"),
    ],
)
async def test_a_kubelet_cannot_draw_work_to_itself(node: Call, change: Obj, why: str) -> None:
    code, status = await node("PATCH", "/api/v1/nodes/n1", change, MERGE)
    assert code == 403
    assert why in status["message"]
    assert (await node("PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"own": "x"}}}, MERGE))[0] == 200


async def test_a_kubelet_writes_the_status_of_its_own_pods_only(node: Call, call: Call) -> None:
    for name in ("n1", "n2"):
        body = pod(f"on-{name}")
        body["spec"]["nodeName"] = name
        await call("POST", f"{NS}/pods", body)
    status = {"status": {"phase": "Running"}}
    assert (await node("PATCH", f"{NS}/pods/on-n1/status", status, MERGE))[0] == 200
    assert (await node("PATCH", f"{NS}/pods/on-n2/status", status, MERGE))[0] == 403
    assert (await node("DELETE", f"{NS}/pods/on-n2"))[0] == 403
    assert (await node("POST", f"{NS}/pods/on-n2/eviction", {"metadata": {"name": "on-n2"}}))[0] == 403
    assert (await node("POST", f"{NS}/pods", pod("new")))[0] == 403
    assert (await node("DELETE", f"{NS}/pods/on-n1?gracePeriodSeconds=0"))[0] == 200


async def test_a_kubelet_holds_its_own_lease_only(node: Call, call: Call) -> None:
    await call("POST", "/api/v1/namespaces", {"metadata": {"name": "kube-node-lease"}})
    leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
    assert (await node("POST", leases.format("kube-node-lease"), {"metadata": {"name": "n1"}}))[0] == 201
    assert (await node("POST", leases.format("kube-node-lease"), {"metadata": {"name": "n2"}}))[0] == 403
    assert (await node("POST", leases.format("default"), {"metadata": {"name": "n1"}}))[0] == 403
