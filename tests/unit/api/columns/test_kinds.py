"""The cells of every other kind that has a printer, and of those that have none."""

from dataclasses import replace
from typing import Any

import pytest

from pybernetes.api import columns
from pybernetes.api.objects import Obj
from pybernetes.api.resources import RESOURCES, PrinterColumn, Resource, find_kind

NOW = 1_000_000_600.0
AT = "2001-09-09T01:46:40Z"
LABELS = {"matchLabels": {"app": "w"}, "matchExpressions": [{"key": "aa", "operator": "In", "values": ["y", "x"]}]}
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}
TAIL = ["a,b", "i:1,j:2", "aa in (x,y),app=w"]


def resource(api_version: str, kind: str) -> Resource:
    found = find_kind(api_version, kind)
    assert found is not None, (api_version, kind)
    return found


def shown(api_version: str, kind: str, **fields: Any) -> list[Any]:
    metadata = {"name": "x", "creationTimestamp": AT} | fields.pop("metadata", {})
    obj: Obj = {"apiVersion": api_version, "kind": kind, "metadata": metadata} | fields
    cells = columns.cells(resource(api_version, kind), obj, now=NOW)
    assert len(cells) == len(columns.columns_of(resource(api_version, kind)))
    return cells


def spec(**fields: Any) -> Obj:
    return {"spec": fields}


APPS = spec(replicas=3, selector=LABELS, template=TEMPLATE)
METRIC = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}
PODS_METRIC = {"type": "Pods", "pods": {"target": {"averageValue": "10"}}}
EVENT_OBJECT = {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}

CASES: list[tuple[str, str, Obj, list[Any]]] = [
    (
        "apps/v1",
        "Deployment",
        APPS | {"status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}},
        ["x", "2/3", 3, 1, "10m", *TAIL],
    ),
    ("apps/v1", "ReplicaSet", APPS | {"status": {"replicas": 3, "readyReplicas": 2}}, ["x", 3, 3, 2, "10m", *TAIL]),
    (
        "v1",
        "ReplicationController",
        spec(replicas=1, selector={"b": "2", "a": "1"}, template=TEMPLATE),
        ["x", 1, 0, 0, "10m", "a,b", "i:1,j:2", "a=1,b=2"],
    ),
    (
        "apps/v1",
        "DaemonSet",
        spec(selector=LABELS, template={"spec": TEMPLATE["spec"] | {"nodeSelector": {"disk": "ssd"}}})
        | {"status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1}},
        ["x", 3, 2, 1, 0, 0, "disk=ssd", "10m", *TAIL],
    ),
    ("apps/v1", "StatefulSet", APPS | {"status": {"readyReplicas": 1}}, ["x", "1/3", "10m", "a,b", "i:1,j:2"]),
    (
        "apps/v1",
        "ControllerRevision",
        {
            "revision": 4,
            "metadata": {
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}]
            },
        },
        ["x", "daemonset.apps/d", 4, "10m"],
    ),
    (
        "batch/v1",
        "Job",
        spec(completions=3, template=TEMPLATE, selector=LABELS) | {"status": {"succeeded": 1, "startTime": AT}},
        ["x", "Running", "1/3", "10m", "10m", *TAIL],
    ),
    (
        "batch/v1",
        "Job",
        spec(parallelism=2, template=TEMPLATE, selector=LABELS)
        | {
            "status": {
                "succeeded": 2,
                "startTime": AT,
                "completionTime": "2001-09-09T01:46:45Z",
                "conditions": [{"type": "Complete", "status": "True"}],
            }
        },
        ["x", "Complete", "2/1 of 2", "5s", "10m", *TAIL],
    ),
    (
        "batch/v1",
        "CronJob",
        spec(schedule="* * * * *", suspend=False, jobTemplate={"spec": {"template": TEMPLATE, "selector": None}})
        | {"status": {"active": [{}, {}], "lastScheduleTime": AT}},
        ["x", "* * * * *", "<none>", "False", 2, "10m", "10m", "a,b", "i:1,j:2", "<none>"],
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        spec(minAvailable="50%") | {"status": {"disruptionsAllowed": 1}},
        ["x", "50%", "N/A", 1, "10m"],
    ),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        spec(
            scaleTargetRef={"kind": "Deployment", "name": "d"},
            minReplicas=1,
            maxReplicas=5,
            metrics=[METRIC, PODS_METRIC, {"type": "Spam"}],
        )
        | {
            "status": {
                "currentReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 10}}}],
            }
        },
        ["x", "Deployment/d", "cpu: 10%/50%, <unknown>/10 + 1 more...", "1", 5, 2, "10m"],
    ),
    (
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        spec(scaleTargetRef={"kind": "Deployment", "name": "d"}, maxReplicas=5, targetCPUUtilizationPercentage=80),
        ["x", "Deployment/d", "cpu: <unknown>/80%", "<unset>", 5, 0, "10m"],
    ),
    (
        "v1",
        "Service",
        spec(
            type="NodePort",
            clusterIPs=["10.96.0.1", "fd00::1"],
            ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            selector={"b": "2", "a": "1"},
        ),
        ["x", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP,53/UDP", "10m", "a=1,b=2"],
    ),
    (
        "v1",
        "Service",
        spec(type="LoadBalancer", clusterIPs=["None"], externalIPs=["9.9.9.9"])
        | {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb.example"}]}}},
        ["x", "LoadBalancer", "None", "1.2.3.4,lb.example,9.9.9.9", "<none>", "10m", "<none>"],
    ),
    (
        "v1",
        "Service",
        spec(type="LoadBalancer"),
        ["x", "LoadBalancer", "<none>", "<pending>", "<none>", "10m", "<none>"],
    ),
    (
        "v1",
        "Service",
        spec(type="ExternalName", externalName="a.b"),
        ["x", "ExternalName", "<none>", "a.b", "<none>", "10m", "<none>"],
    ),
    ("v1", "Endpoints", {}, ["x", "<none>", "10m"]),
    (
        "v1",
        "Endpoints",
        {"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]},
        ["x", "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...", "10m"],
    ),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        {
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 80}, {"name": "web"}, {}],
            "endpoints": [{"addresses": [f"10.0.0.{at}"]} for at in range(5)],
        },
        ["x", "IPv4", "80,web,*", "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...", "10m"],
    ),
    ("discovery.k8s.io/v1", "EndpointSlice", {"addressType": "IPv6"}, ["x", "IPv6", "<unset>", "<unset>", "10m"]),
    ("v1", "Namespace", {"status": {"phase": "Active"}}, ["x", "Active", "10m"]),
    ("v1", "ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": ""}}, ["x", 2, "10m"]),
    ("v1", "Secret", {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, "10m"]),
    ("v1", "ServiceAccount", {"secrets": [{"name": "s"}]}, ["x", "10m"]),
    (
        "v1",
        "Node",
        {
            "metadata": {"labels": {"node-role.kubernetes.io/b": "", "node-role.kubernetes.io/a": "", "z": "1"}},
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
                "nodeInfo": {
                    "kubeletVersion": "v1.37.1",
                    "osImage": "Debian",
                    "containerRuntimeVersion": "process://1",
                },
            },
        },
        [
            *("x", "Ready,SchedulingDisabled", "a,b", "10m", "v1.37.1", "10.0.0.9", "<none>"),
            *("Debian", "<unknown>", "process://1"),
        ],
    ),
    (
        "v1",
        "Node",
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        ["x", "NotReady", "<none>", "10m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ),
    (
        "v1",
        "Event",
        {
            "type": "Warning",
            "reason": "BackOff",
            "message": " it failed \n",
            "involvedObject": EVENT_OBJECT,
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": AT,
            "lastTimestamp": "2001-09-09T01:56:30Z",
            "count": 3,
        },
        [
            *("10s", "Warning", "BackOff", "pod/p", "spec.containers{c}", "kubelet, n1"),
            *("it failed", "10m", 3, "x"),
        ],
    ),
    (
        "events.k8s.io/v1",
        "Event",
        {
            "type": "Normal",
            "reason": "Started",
            "note": "fine",
            "regarding": {"kind": "Node"},
            "reportingController": "c",
            "eventTime": "2001-09-09T01:46:40.000000Z",
        },
        ["10m", "Normal", "Started", "node", "", "c", "fine", "10m", 1, "x"],
    ),
    ("coordination.k8s.io/v1", "Lease", spec(holderIdentity="n1"), ["x", "n1", "10m"]),
    (
        "networking.k8s.io/v1",
        "Ingress",
        spec(ingressClassName="t", tls=[{}], rules=[{"host": f"{at}.x"} for at in range(5)]),
        ["x", "t", "0.x,1.x,2.x + 2 more...", "", "80, 443", "10m"],
    ),
    ("networking.k8s.io/v1", "Ingress", spec(rules=[{}]), ["x", "<none>", "*", "", "80", "10m"]),
    (
        "networking.k8s.io/v1",
        "IngressClass",
        spec(controller="c/d", parameters={"apiGroup": "g", "kind": "K", "name": "n"}),
        ["x", "c/d", "K.g/n", "10m"],
    ),
    ("networking.k8s.io/v1", "NetworkPolicy", spec(podSelector={}), ["x", "<none>", "10m"]),
    (
        "v1",
        "PersistentVolume",
        spec(
            capacity={"storage": "1Gi"},
            accessModes=["ReadWriteMany", "ReadWriteOnce"],
            persistentVolumeReclaimPolicy="Retain",
            claimRef={"namespace": "n", "name": "c"},
            storageClassName="s",
            volumeMode="Filesystem",
        )
        | {"status": {"phase": "Bound"}},
        ["x", "1Gi", "RWO,RWX", "Retain", "Bound", "n/c", "s", "<unset>", "", "10m", "Filesystem"],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        spec(volumeName="v", storageClassName="s") | {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}},
        ["x", "Bound", "v", "1Gi", "", "s", "<unset>", "10m", "<unset>"],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        {"status": {"phase": "Pending"}},
        ["x", "Pending", "", "", "", "", "<unset>", "10m", "<unset>"],
    ),
    (
        "v1",
        "ResourceQuota",
        {"status": {"hard": {"pods": "3", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "1"}}},
        ["x", "cpu: 0/1, pods: 1/3", "limits.cpu: 0/2", "10m"],
    ),
    (
        "storage.k8s.io/v1",
        "StorageClass",
        {"provisioner": "p", "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
        ["x", "p", "Delete", "Immediate", False, "10m"],
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        {
            "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [
                {"kind": "User", "name": "u"},
                {"kind": "User", "name": "v"},
                {"kind": "Group", "name": "g"},
                {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
            ],
        },
        ["x", "ClusterRole/r", "10m", "u, v", "g", "n/s"],
    ),
    ("rbac.authorization.k8s.io/v1", "Role", {}, ["x", AT]),
    (
        "scheduling.k8s.io/v1",
        "PriorityClass",
        {"value": 10, "preemptionPolicy": "Never"},
        ["x", 10, False, "10m", "Never"],
    ),
    (
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        spec(signerName="s", username="u", expirationSeconds=86400)
        | {"status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="}},
        ["x", "10m", "s", "u", "24h", "Approved,Issued"],
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", {"webhooks": [{}, {}]}, ["x", 2, "10m"]),
    (
        "apiregistration.k8s.io/v1",
        "APIService",
        {"status": {"conditions": [{"type": "Available", "status": "False", "reason": "Gone"}]}},
        ["x", "Local", "False (Gone)", "10m"],
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, ["x", AT]),
]


@pytest.mark.parametrize(("api_version", "kind", "fields", "cells"), CASES)
def test_cells(api_version: str, kind: str, fields: Obj, cells: list[Any]) -> None:
    assert shown(api_version, kind, **fields) == cells


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: f"{row.api_version}/{row.kind}")
def test_an_object_of_nothing_but_a_name(row: Resource) -> None:
    """Every printer takes an object that was never defaulted, and one cell stands under each column."""
    cells = columns.cells(row, {"kind": row.kind, "metadata": {"name": "x"}}, now=NOW)
    definitions = [column.definition for column in columns.columns_of(row)]
    assert len(cells) == len(definitions)
    names = [one["name"] for one in definitions]
    assert cells[names.index("Name")] == "x"
    assert all(one["description"] for one in definitions)


def storage_class(name: str, created: str, *, default: bool) -> Obj:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}, "provisioner": "p"}


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ([("a", AT, False)], ["a"]),
        ([("a", AT, True), ("b", AT, False)], ["a (default)", "b"]),
        ([("a", AT, True), ("b", "2001-09-09T01:50:00Z", True)], ["a", "b (default)"]),
        ([("b", AT, True), ("a", AT, True)], ["b", "a (default)"]),
    ],
)
def test_the_default_class_of_a_list(classes: list[tuple[str, str, bool]], names: list[str]) -> None:
    """The newest that says so, the first by name of those; none where one object is shown alone."""
    row = resource("storage.k8s.io/v1", "StorageClass")
    objs = [storage_class(name, created, default=default) for name, created, default in classes]
    make = columns.rows(row, lambda: objs, now=NOW)
    assert [make(obj)["cells"][0] for obj in objs] == names


def test_other_lists_are_read_once() -> None:
    def never() -> list[Obj]:
        raise AssertionError("rows of namespaces do not depend on each other")

    make = columns.rows(resource("v1", "Namespace"), never, now=NOW)
    assert make({"metadata": {"name": "x", "creationTimestamp": AT}}) == {"cells": ["x", "", "10m"]}


CUSTOM: list[tuple[str, str, Obj, Any]] = [
    ("string", ".spec.a", {"a": "x"}, "x"),
    ("string", ".spec.a", {"a": [1, "x"]}, '[1,"x"]'),
    ("string", ".spec.a", {"a": 3}, "3"),
    ("string", ".spec.a", {"a": None}, "<no value>"),
    ("string", ".spec.a[*].b", {"a": [{"b": "1"}, {"b": "2"}]}, "1"),
    ("string", ".spec.a", {}, None),
    ("integer", ".spec.a", {"a": 3.9}, 3),
    ("integer", ".spec.a", {"a": "3"}, None),
    ("number", ".spec.a", {"a": 1.5}, 1.5),
    ("boolean", ".spec.a", {"a": False}, False),
    ("date", ".spec.a", {"a": AT}, "10m"),
    ("date", ".spec.a", {"a": ""}, "<unknown>"),
    ("date", ".spec.a", {"a": "spam"}, "<invalid>"),
    ("date", ".spec.a", {"a": 7}, None),
]


@pytest.mark.parametrize(("type_", "path", "found", "cell"), CUSTOM)
def test_cells_of_custom_columns(type_: str, path: str, found: Obj, cell: Any) -> None:
    """The first value at the path, as its type allows; null where there is none."""
    column = PrinterColumn(name="A", type=type_, path=path)
    row = replace(resource("v1", "ConfigMap"), group="x.io", kind="Thing", custom=True, columns=(column,))
    assert columns.cells(row, {"metadata": {"name": "x"}, "spec": found}, now=NOW) == ["x", cell]


def test_custom_kinds_have_an_age() -> None:
    row = replace(resource("v1", "ConfigMap"), group="x.io", kind="Thing", custom=True)
    assert columns.cells(row, {"metadata": {"name": "x", "creationTimestamp": AT}}, now=NOW) == ["x", "10m"]
    assert [column.name for column in columns.columns_of(row)] == ["Name", "Age"]


def test_a_time_that_is_none() -> None:
    assert shown("v1", "Namespace", metadata={"creationTimestamp": ""})[2] == "<unknown>"
    assert shown("v1", "Namespace", metadata={"creationTimestamp": "spam"})[2] == "<unknown>"
    assert shown("v1", "Namespace", metadata={"creationTimestamp": "2001-09-09T01:56:45Z"})[2] == "<invalid>"
