"""Protobuf bodies: what kubectl 1.37.1 really sent (bodies.json, base64), and what the wire format allows besides.

The bodies are those of `kubectl create ...` (and `drain --disable-eviction`), taken by a local server that prints them.
"""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pybernetes.api import proto
from pybernetes.api.errors import BadRequest
from pybernetes.api.proto.leaves import LEAVES
from pybernetes.api.proto.message import table
from pybernetes.api.resources import RESOURCES

BODIES: dict[str, str] = json.loads((Path(__file__).parent / "bodies.json").read_text())


def body(name: str) -> bytes:
    return base64.b64decode(BODIES[name])


def pod_template(name: str, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": "busybox", "command": ["echo", "hi"]}]} | spec}


SENT: dict[str, dict[str, Any]] = {
    "deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80}]}]},
            },
        },
    },
    "configmap": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cm"},
        "data": {"a": "b", "f": "user: x\n"},
    },
    "namespace": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n1"}},
    "secret": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s1"}, "data": {"pw": "eA=="}},
    "serviceaccount": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa1"}},
    "token": {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
        "status": {"token": ""},
    },
    "service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "svc", "labels": {"app": "svc"}},
        "spec": {
            "ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            "selector": {"app": "svc"},
            "type": "NodePort",
        },
    },
    "job": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j1"},
        "spec": {"template": pod_template("j1", restartPolicy="Never")},
    },
    "cronjob": {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "c1"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {
                "metadata": {"name": "c1"},
                "spec": {"template": pod_template("c1", restartPolicy="OnFailure")},
            },
        },
    },
    "quota": {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q1"},
        "spec": {"hard": {"cpu": "1500m", "pods": "3"}},
    },
    "pdb": {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "pdb1"},
        "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    },
    "ingress": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "i1"},
        "spec": {
            "tls": [{"hosts": ["a.b"], "secretName": "t"}],
            "rules": [
                {
                    "host": "a.b",
                    "http": {
                        "paths": [
                            {
                                "path": "/x",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "svc", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ],
        },
    },
    "review": {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
        "status": {"allowed": False},
    },
    "delete_options": {"apiVersion": "v1", "kind": "DeleteOptions"},
}


@pytest.mark.parametrize("name", sorted(SENT))
def test_what_kubectl_sends(name: str) -> None:
    assert proto.decode(body(name)) == SENT[name]


def test_no_body_is_left_unchecked() -> None:
    assert SENT.keys() == BODIES.keys()


# An encoder of four functions, to say what the decoder is to make of it.


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value % (1 << 64))


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def text(field: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, message: bytes, *, content_type: str = "") -> bytes:
    meta = text(1, text(1, api_version) + text(2, kind))
    return proto.MAGIC + meta + text(2, message) + (text(4, content_type) if content_type else b"")


def pod(spec: bytes) -> Any:
    return proto.decode(envelope("v1", "Pod", text(2, spec)))["spec"]


def test_pointers_keep_their_zeros_and_plain_fields_lose_them() -> None:
    account = proto.decode(envelope("v1", "ServiceAccount", number(4, 0)))
    assert account["automountServiceAccountToken"] is False
    deployment = proto.decode(envelope("apps/v1", "Deployment", text(2, number(1, 0) + number(5, 0))))
    assert deployment["spec"] == {"replicas": 0}
    claim = proto.decode(envelope("v1", "PersistentVolumeClaim", text(2, text(5, ""))))
    assert claim["spec"] == {"storageClassName": ""}


def test_plain_fields_that_go_always_writes_keep_their_zeros() -> None:
    status = text(1, "c") + number(4, 0) + number(5, 0)
    found = proto.decode(envelope("v1", "Pod", text(3, text(8, status))))
    assert found["status"]["containerStatuses"] == [{"name": "c", "ready": False, "restartCount": 0}]


def test_embedded_structs_are_flattened() -> None:
    volume = text(1, "v") + text(2, text(2, b""))
    probe = text(1, text(2, text(1, "/healthz") + text(2, number(1, 0) + number(2, 80)))) + number(4, 5)
    container = text(1, "c") + text(10, probe)
    assert pod(text(1, volume) + text(2, container)) == {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [
            {"name": "c", "livenessProbe": {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 5}}
        ],
    }


def test_times() -> None:
    meta = text(1, "c") + text(8, b"") + text(9, number(1, 1_000_000_000) + number(2, 0))
    found = proto.decode(envelope("v1", "ConfigMap", text(1, meta)))
    assert found["metadata"] == {"name": "c", "deletionTimestamp": "2001-09-09T01:46:40Z"}
    spec = text(1, "me") + number(2, 40) + text(4, number(1, 1_000_000_000) + number(2, 123_456_000))
    lease = proto.decode(envelope("coordination.k8s.io/v1", "Lease", text(2, spec)))
    assert lease["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 40,
        "renewTime": "2001-09-09T01:46:40.123456Z",
    }


def test_int_or_string_and_quantity_and_negative_numbers() -> None:
    port = number(3, 80) + text(4, number(1, 1) + number(2, 0) + text(3, "web"))
    service = proto.decode(envelope("v1", "Service", text(2, text(1, port) + text(1, number(3, 1) + text(4, b"")))))
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": "web"}, {"port": 1}]
    priority = proto.decode(envelope("scheduling.k8s.io/v1", "PriorityClass", number(2, -5)))
    assert priority["value"] == -5
    capacity = text(1, text(1, "storage") + text(2, text(1, "1Gi")))
    volume = proto.decode(envelope("v1", "PersistentVolume", text(2, capacity)))
    assert volume["spec"]["capacity"] == {"storage": "1Gi"}


def test_raw_json() -> None:
    entry = text(1, "m") + text(2, "Update") + text(7, text(1, '{"f:data":{}}'))
    found = proto.decode(envelope("v1", "ConfigMap", text(1, text(17, entry))))
    assert found["metadata"]["managedFields"] == [{"manager": "m", "operation": "Update", "fieldsV1": {"f:data": {}}}]
    revision = proto.decode(envelope("apps/v1", "ControllerRevision", text(2, text(1, '{"spec":1}')) + number(3, 7)))
    assert (revision["data"], revision["revision"]) == ({"spec": 1}, 7)


def schema_of(properties: bytes) -> Any:
    version = text(1, "v1") + text(4, text(1, properties))
    body = envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", text(2, text(7, version)))
    return proto.decode(body)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


STRING = text(5, "string")


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (text(24, text(1, STRING)), {"items": {"type": "string"}}),
        (text(24, text(2, STRING) + text(2, STRING)), {"items": [{"type": "string"}] * 2}),
        (text(30, number(1, 0)), {"additionalProperties": False}),
        (text(30, number(1, 1)), {"additionalProperties": True}),
        (text(30, number(1, 1) + text(2, STRING)), {"additionalProperties": {"type": "string"}}),
        (text(32, text(1, "a") + text(2, text(2, "b"))), {"dependencies": {"a": ["b"]}}),
        (text(32, text(1, "a") + text(2, text(1, STRING))), {"dependencies": {"a": {"type": "string"}}}),
        (text(8, text(1, b"null")), {}),
        (text(8, text(1, b"false")), {"default": False}),
        (text(20, text(1, b"1")) + text(20, text(1, b"null")), {"enum": [1, None]}),
        (b"\x49" + struct.pack("<d", 1.5), {"maximum": 1.5}),
        (b"\x59" + struct.pack("<d", -2.0), {"minimum": -2}),
        (text(3, "#/x"), {"$ref": "#/x"}),
        (number(38, 0), {"x-kubernetes-preserve-unknown-fields": False}),
    ],
)
def test_schemas_of_custom_resources(message: bytes, found: Any) -> None:
    """Their messages stand for values of several types."""
    assert schema_of(message) == found


def test_what_is_nested_too_deeply_is_a_bad_request() -> None:
    message = b""
    for _ in range(20_000):
        message = text(28, message)
    with pytest.raises(BadRequest, match="nested too deeply"):
        schema_of(message)


def test_named_lists_in_maps() -> None:
    extra = text(5, text(1, "k") + text(2, text(1, "v1") + text(1, "v2")))
    review = proto.decode(envelope("authorization.k8s.io/v1", "SubjectAccessReview", text(2, text(3, "u") + extra)))
    assert review["spec"] == {"user": "u", "extra": {"k": ["v1", "v2"]}}


def test_delete_options_of_any_group() -> None:
    message = number(1, 0) + text(2, text(1, "uid-1")) + text(4, "Background") + text(5, "All")
    assert proto.decode(envelope("apps/v1", "DeleteOptions", message)) == {
        "apiVersion": "apps/v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "uid-1"},
        "propagationPolicy": "Background",
        "dryRun": ["All"],
    }


def test_the_kind_may_be_given_from_outside() -> None:
    found = proto.decode(proto.MAGIC + text(2, text(1, text(1, "n"))), api_version="v1", kind="Namespace")
    assert found == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


def test_json_inside() -> None:
    sent = envelope("v1", "ConfigMap", b'{"data":{"a":"b"}}', content_type="application/json")
    assert proto.decode(sent) == {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}


def test_packed_numbers_and_unknown_fields() -> None:
    context = text(4, varint(7) + varint(300)) + number(4, 9) + number(999, 1) + text(998, "x")
    assert pod(text(14, context)) == {"securityContext": {"supplementalGroups": [7, 300, 9]}}


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{}",
        b"k8s\x00\xff",
        envelope("v1", "ConfigMap", b"\x0a"),
        envelope("v1", "ConfigMap", b"\x0a\xff\xff\xff\xff\x0f"),
        envelope("v1", "ConfigMap", b"\x0b"),
        envelope("v1", "ConfigMap", b"\x00\x00"),
        envelope("v1", "ConfigMap", b"\xff" * 11),
        envelope("v1", "ConfigMap", number(1, 5)),
        envelope("v1", "ConfigMap", text(1, text(1, b"\xff\xfe"))),
        envelope("v1", "ConfigMap", text(1, text(8, number(1, 1 << 60)))),
        envelope("v1", "ConfigMap", text(2, text(1, "k") + number(2, 1))),
        envelope("v1", "Spam", b""),
        envelope("x.io/v1", "ConfigMap", b""),
        envelope("", "", b""),
        envelope("v1", "ConfigMap", b"[1]", content_type="application/json"),
        envelope("v1", "ConfigMap", b"{", content_type="application/json"),
        envelope("apps/v1", "ControllerRevision", text(2, text(1, "{"))),
    ],
)
def test_nonsense_is_a_bad_request(sent: bytes) -> None:
    with pytest.raises(BadRequest):
        proto.decode(sent)


def test_every_built_in_kind_and_its_list_is_there() -> None:
    missing = [
        (row.api_version, kind)
        for row in RESOURCES
        for kind in (row.kind, *([row.list_kind] if "list" in row.verbs else []))
        if kind not in table().kinds.get(row.api_version, {})
    ]
    assert missing == []


def test_every_type_in_the_table_can_be_read() -> None:
    known = LEAVES.keys() | table().messages.keys()
    for message in table().messages.values():
        rows = msgspec.json.decode(message, type=dict[str, str])
        assert {row.split()[1] for row in rows.values()} <= known
