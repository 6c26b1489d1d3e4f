"""What holds for every resource: its verbs, its status, its fields, the order of its watches."""

import asyncio
from typing import Any

import pytest

from pybernetes.api.objects import decode
from pybernetes.api.resources import CUSTOM_RESOURCE_DEFINITIONS, RESOURCES, Resource
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request
from support import trust

from .conftest import Call

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
LABELS = {"matchLabels": {"a": "b"}}
POD_SPEC = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC}
JOB_SPEC = {"template": {"spec": POD_SPEC | {"restartPolicy": "Never"}}}
RULES = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
WEBHOOK = {
    "name": "a.example.com",
    "clientConfig": {"url": "https://127.0.0.1:1/"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "failurePolicy": "Ignore",
}
POLICY_MATCH = {
    "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}]
}
SCHEMA = {"openAPIV3Schema": {"type": "object"}}
VERSION = {"name": "v1", "served": True, "storage": True, "schema": SCHEMA}
CRD_NAMES = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
SCALER = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3}

BODIES: dict[str, dict[str, Any]] = {
    "events": {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}},
    "nodes": {},
    "persistentvolumeclaims": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "persistentvolumes": {
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    },
    "pods": {"spec": POD_SPEC},
    "podtemplates": {"template": TEMPLATE},
    "replicationcontrollers": {"spec": {"selector": {"a": "b"}, "template": TEMPLATE}},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "mutatingadmissionpolicies.admissionregistration.k8s.io": {
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": POLICY_MATCH,
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}],
        }
    },
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": {"spec": {"policyName": "p"}},
    "validatingadmissionpolicies.admissionregistration.k8s.io": {
        "spec": {"matchConstraints": POLICY_MATCH, "validations": [{"expression": "true"}]}
    },
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": {
        "spec": {"policyName": "p", "validationActions": ["Deny"]}
    },
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": {"webhooks": [WEBHOOK]},
    "validatingwebhookconfigurations.admissionregistration.k8s.io": {"webhooks": [WEBHOOK]},
    "customresourcedefinitions.apiextensions.k8s.io": {
        "spec": {"group": "example.com", "scope": "Namespaced", "names": CRD_NAMES, "versions": [VERSION]}
    },
    "apiservices.apiregistration.k8s.io": {
        "spec": {
            "group": "example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
            "service": {"name": "s", "namespace": "default"},
            "insecureSkipTLSVerify": True,
        }
    },
    "controllerrevisions.apps": {"revision": 1, "data": {"x": 1}},
    "daemonsets.apps": {"spec": {"selector": LABELS, "template": TEMPLATE}},
    "deployments.apps": {"spec": {"selector": LABELS, "template": TEMPLATE}},
    "replicasets.apps": {"spec": {"selector": LABELS, "template": TEMPLATE}},
    "statefulsets.apps": {"spec": {"selector": LABELS, "serviceName": "s", "template": TEMPLATE}},
    "horizontalpodautoscalers.autoscaling": {"spec": SCALER},
    "cronjobs.batch": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": JOB_SPEC}}},
    "jobs.batch": {"spec": JOB_SPEC},
    "certificatesigningrequests.certificates.k8s.io": {
        "spec": {"request": trust.REQUEST, "signerName": "example.com/s", "usages": ["client auth"]}
    },
    "clustertrustbundles.certificates.k8s.io": {"spec": {"trustBundle": trust.AUTHORITY}},
    "podcertificaterequests.certificates.k8s.io": {
        "spec": {
            "signerName": "example.com/s",
            "podName": "p",
            "podUID": "u",
            "serviceAccountName": "default",
            "serviceAccountUID": "u",
            "nodeName": "n",
            "nodeUID": "u",
            "stubPKCS10Request": trust.STUB,
        }
    },
    "endpointslices.discovery.k8s.io": {"addressType": "IPv4", "endpoints": []},
    "events.events.k8s.io": {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c",
        "reportingInstance": "i",
        "action": "a",
        "reason": "r",
        "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    },
    "flowschemas.flowcontrol.apiserver.k8s.io": {"spec": {"priorityLevelConfiguration": {"name": "p"}}},
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
    },
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "example.com/c"}},
    "ingresses.networking.k8s.io": {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
    "ipaddresses.networking.k8s.io": {"spec": {"parentRef": {"resource": "services", "name": "s"}}},
    "networkpolicies.networking.k8s.io": {"spec": {"podSelector": {}}},
    "servicecidrs.networking.k8s.io": {"spec": {"cidrs": ["10.5.0.0/16"]}},
    "runtimeclasses.node.k8s.io": {"handler": "h"},
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": 1, "selector": LABELS}},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": ROLE},
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": ROLE},
    "clusterroles.rbac.authorization.k8s.io": {"rules": RULES},
    "roles.rbac.authorization.k8s.io": {"rules": RULES},
    "devicetaintrules.resource.k8s.io": {"spec": {"taint": {"key": "example.com/k", "effect": "NoSchedule"}}},
    "resourceclaims.resource.k8s.io": {"spec": {}},
    "resourceclaimtemplates.resource.k8s.io": {"spec": {"spec": {}}},
    "resourceslices.resource.k8s.io": {
        "spec": {
            "driver": "example.com",
            "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
        }
    },
    "priorityclasses.scheduling.k8s.io": {"value": 5},
    "csidrivers.storage.k8s.io": {"spec": {}},
    "csinodes.storage.k8s.io": {"spec": {"drivers": []}},
    "csistoragecapacities.storage.k8s.io": {"storageClassName": "s"},
    "storageclasses.storage.k8s.io": {"provisioner": "example.com/p"},
    "volumeattachments.storage.k8s.io": {
        "spec": {"attacher": "example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    },
    "volumeattributesclasses.storage.k8s.io": {"driverName": "example.com", "parameters": {"a": "b"}},
    "storageversionmigrations.storagemigration.k8s.io": {
        "spec": {"resource": {"group": "apps", "resource": "deployments"}}
    },
}
NAMES = {
    "customresourcedefinitions": "things.example.com",
    "apiservices": "v1.example.com",
    "ipaddresses": "10.5.0.7",
    "namespaces": "other",
}
KEPT = [row for row in RESOURCES if "list" in row.verbs and "create" in row.verbs]
WITH_STATUS = [row for row in KEPT if "status" in row.subresources]


def body_of(row: Resource) -> dict[str, Any]:
    name = NAMES.get(row.plural, "one")
    return {"metadata": {"name": name, "labels": {"sample": "yes"}}} | BODIES.get(row.qualified, {})


def path_of(row: Resource) -> str:
    return row.path("default")


async def settled(call: Call, row: Resource, made: dict[str, Any]) -> dict[str, Any]:
    """A new object when the server has done with it: it writes the status of definitions by itself."""
    while row is CUSTOM_RESOURCE_DEFINITIONS and not made["status"]["conditions"]:
        await asyncio.sleep(0.01)
        _, made = await call("GET", f"{path_of(row)}/{made['metadata']['name']}")
    return made


@pytest.mark.parametrize("row", KEPT, ids=lambda row: f"{row.qualified}/{row.version}")
async def test_every_resource_has_all_its_verbs(call: Call, row: Resource) -> None:
    path, body = path_of(row), body_of(row)
    name = body["metadata"]["name"]
    code, made = await call("POST", f"{path}?fieldValidation=Strict", body)
    assert code == 201, made
    assert (made["apiVersion"], made["kind"]) == (row.api_version, row.kind)
    made = await settled(call, row, made)
    assert await call("GET", f"{path}/{name}") == (200, made)
    _, found = await call("GET", f"{path}?labelSelector=sample=yes")
    assert [one["metadata"]["uid"] for one in found["items"]] == [made["metadata"]["uid"]]
    assert await call("PUT", f"{path}/{name}", made) == (200, made), "what is read can be written, and changes nothing"
    code, found = await call("PATCH", f"{path}/{name}", {"metadata": {"annotations": {"x": "y"}}}, MERGE)
    assert (code, found["metadata"]["annotations"]["x"]) == (200, "y")
    if row.plural != "deployments":  # whose annotations count
        assert found["metadata"].get("generation") == made["metadata"].get("generation")
    wanted = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"labels": {"applied": "yes"}}}
    code, found = await call("PATCH", f"{path}/{name}?fieldManager=m", wanted, APPLY)
    assert (code, found["metadata"]["labels"]["applied"]) == (200, "yes"), found
    code, table = await call("GET", f"{path}/{name}", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert (code, len(table["rows"])) == (200, 1)
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
    if "deletecollection" in row.verbs:
        code, _ = await call("DELETE", f"{path}?labelSelector=sample=yes")
    else:
        code, _ = await call("DELETE", f"{path}/{name}")
    assert code == 200
    code, left = await call("GET", f"{path}/{name}")
    assert code == 404 or left["metadata"]["deletionTimestamp"]


@pytest.mark.parametrize("row", WITH_STATUS, ids=lambda row: f"{row.qualified}/{row.version}")
async def test_every_status_is_written_through_its_part(call: Call, row: Resource) -> None:
    path, body = path_of(row), body_of(row)
    name = body["metadata"]["name"]
    code, made = await call("POST", path, body)
    assert code == 201, made
    made = await settled(call, row, made)
    code, found = await call("GET", f"{path}/{name}/status")
    assert (code, found) == (200, made)
    note = {"metadata": {"annotations": {"patched": "yes"}}, "status": {}}
    code, found = await call("PATCH", f"{path}/{name}/status", note, MERGE)
    assert (code, found["metadata"]["annotations"]) == (200, {"patched": "yes"}), found
    assert found.get("spec") == made.get("spec")
    code, again = await call("PUT", f"{path}/{name}/status", found)
    assert (code, again) == (200, found)


async def test_unknown_fields_of_metadata_are_named(call: Call) -> None:
    body = {"metadata": {"name": "d", "unknownMeta": 1, "labels": {"a": "b"}}} | BODIES["deployments.apps"]
    body["spec"] = body["spec"] | {"template": TEMPLATE | {"metadata": {"labels": {"a": "b"}, "other": 1}}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    code, status = await call("POST", f"{path}?fieldValidation=Strict", body)
    assert code == 400
    for field in ("metadata.unknownMeta", "spec.template.metadata.other"):
        assert f'unknown field "{field}"' in status["message"]


async def test_namespaces_are_patched_updated_and_finalized(call: Call) -> None:
    path = "/api/v1/namespaces/other"
    _, made = await call("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    assert made["spec"]["finalizers"] == ["kubernetes"]
    code, found = await call("PATCH", path, {"metadata": {"labels": {"x": "y"}}}, MERGE)
    assert (code, found["metadata"]["labels"]["x"]) == (200, "y")
    found["metadata"]["labels"]["x"] = "z"
    code, found = await call("PUT", path, found)
    assert (code, found["metadata"]["labels"]["x"]) == (200, "z")
    condition = {"type": "Own", "status": "True", "reason": "R", "message": "m"}
    code, found = await call("PATCH", f"{path}/status", {"status": {"conditions": [condition]}}, MERGE)
    assert (code, found["status"]["conditions"][0]["reason"], found["status"]["phase"]) == (200, "R", "Active")
    found["spec"]["finalizers"].append("example.com/own")
    code, found = await call("PUT", f"{path}/finalize", found)
    assert (code, found["spec"]["finalizers"]) == (200, ["kubernetes", "example.com/own"])


async def test_watches_at_once_tell_the_same_in_the_same_order(call: Call, server: ApiServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    _, listed = await call("GET", path)
    first = listed["metadata"]["resourceVersion"]
    transport = server.trusted("admin", "system:masters")
    query = {"watch": ["true"], "timeoutSeconds": ["2"]}

    async def told(after: str) -> list[tuple[str, str]]:
        request = Request(path=path, query=query | {"resourceVersion": [after]}, stream=True)
        response = await transport.send(request)
        assert not isinstance(response.body, bytes)
        lines = b"".join([chunk async for chunk in response.body]).splitlines()
        events = [decode(line) for line in lines]
        return [(event["type"], event["object"]["metadata"]["resourceVersion"]) for event in events]

    async def write(name: str) -> None:
        for number in range(5):
            await call("POST", path, {"metadata": {"name": f"{name}{number}"}})
            await call("PATCH", f"{path}/{name}{number}", {"data": {"x": "1"}}, MERGE)
            await call("DELETE", f"{path}/{name}{number}")

    found = await asyncio.gather(*(told(first) for _ in range(5)), *(write(name) for name in "abc"))
    watches = [one for one in found if one is not None]
    assert len(watches[0]) == 3 * 5 * 3
    assert all(one == watches[0] for one in watches)
    revisions = [int(revision) for _, revision in watches[0]]
    assert revisions == sorted(revisions)
