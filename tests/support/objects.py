"""Builders of API objects for tests: the least that is needed, the rest by keyword."""

import itertools
from typing import Any

from pybernetes.api.objects import Obj

_count = itertools.count(1)
BORN = "2026-01-01T00:00:00Z"


def meta(name: str, namespace: str = "", **more: Any) -> Obj:
    number = next(_count)
    base = {"name": name, "uid": f"uid-{number}", "resourceVersion": str(number), "creationTimestamp": BORN}
    return base | ({"namespace": namespace} if namespace else {}) | more


def pod(
    name: str,
    *,
    namespace: str = "default",
    node: str = "",
    labels: dict[str, str] | None = None,
    ip: str = "",
    ready: bool = False,
    phase: str = "",
    since: str = BORN,
    owner: Obj | None = None,
    requests: dict[str, str] | None = None,
    ports: list[Obj] | None = None,
    **spec: Any,
) -> Obj:
    container: Obj = {"name": "c", "image": "host"}
    if requests:
        container["resources"] = {"requests": requests}
    if ports:
        container["ports"] = ports
    status: Obj = {"phase": phase or ("Running" if ready else "Pending")}
    status["conditions"] = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    obj: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(name, namespace, labels=labels or {}),
        "spec": {"containers": [container]} | ({"nodeName": node} if node else {}) | spec,
        "status": status,
    }
    if owner is not None:
        obj["metadata"]["ownerReferences"] = [reference(owner)]
    return obj


def reference(owner: Obj, *, controller: bool = True, block: bool = True) -> Obj:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": block,
    }


def node(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    taints: list[Obj] | None = None,
    ready: str = "True",
    cpu: str = "4",
    memory: str = "8Gi",
    **spec: Any,
) -> Obj:
    room = {"cpu": cpu, "memory": memory, "pods": "110"}
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": BORN, "lastTransitionTime": BORN}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta(name, labels={"kubernetes.io/hostname": name} | (labels or {})),
        "spec": spec | ({"taints": taints} if taints else {}),
        "status": {"allocatable": room, "capacity": room, "conditions": conditions if ready else []},
    }


def service(
    name: str,
    *,
    namespace: str = "default",
    selector: dict[str, str] | None = None,
    ports: list[Obj] | None = None,
    **spec: Any,
) -> Obj:
    base: Obj = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.20",
        "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}] if ports is None else ports,
    }
    if selector is not None:
        base["selector"] = selector
    meta_ = meta(name, namespace)
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta_, "spec": base | spec}


def template(app: str = "web", *, image: str = "host", **spec: Any) -> Obj:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]} | spec}


def workload(kind: str, name: str = "web", *, namespace: str = "default", image: str = "host", **spec: Any) -> Obj:
    """A Deployment, ReplicaSet, DaemonSet or StatefulSet selecting app=<name>."""
    base: Obj = {"selector": {"matchLabels": {"app": name}}, "template": template(name, image=image)}
    if kind != "DaemonSet":
        base["replicas"] = 3
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": meta(name, namespace, generation=1),
        "spec": base | spec,
    }
