"""What tools/golden.py asks beside objects made at random: kinds that are only answered, lists, edges of values."""

from typing import Any

Obj = dict[str, Any]

META: Obj = {"name": "x", "creationTimestamp": None}
VERBS = ["get", "list"]
RESPONSE = {"group": "apps", "version": "v1", "kind": "Scale"}


def _discovery(version: str) -> Obj:
    part = {"subresource": "scale", "responseKind": RESPONSE, "acceptedTypes": [RESPONSE], "verbs": VERBS}
    resource = {
        "resource": "deployments",
        "responseKind": RESPONSE,
        "scope": "Namespaced",
        "singularResource": "deployment",
        "verbs": VERBS,
        "shortNames": ["deploy"],
        "categories": ["all"],
        "subresources": [part, {"subresource": "status", "verbs": []}],
    }
    group = {
        "metadata": {"name": "apps", "creationTimestamp": None},
        "versions": [{"version": "v1", "resources": [resource], "freshness": "Current"}, {"version": "v2"}],
    }
    api_version = f"apidiscovery.k8s.io/{version}"
    return {"apiVersion": api_version, "kind": "APIGroupDiscoveryList", "metadata": {}, "items": [group]}


_VERSION = {"groupVersion": "apps/v1", "version": "v1"}
_GROUP: Obj = {"name": "apps", "versions": [_VERSION], "preferredVersion": _VERSION}
_RESOURCE = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": VERBS}
_PARTIAL: Obj = {"metadata": {"name": "x", "labels": {"b": "", "a": "1"}, "finalizers": ["x/y"]}}
_CAUSE = {"reason": "FieldValueRequired", "message": "spec: Required", "field": "spec"}

ANSWERS: list[Obj] = [
    {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"},
    {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {"resourceVersion": "7", "continue": "c", "remainingItemCount": 0},
        "status": "Failure",
        "message": 'pods "x" is invalid: ä',
        "reason": "Invalid",
        "details": {"name": "x", "group": "g", "kind": "pods", "uid": "u", "causes": [_CAUSE], "retryAfterSeconds": 1},
        "code": 422,
    },
    {"apiVersion": "v1", "kind": "APIGroupList", "groups": [_GROUP]},
    {"apiVersion": "v1", "kind": "APIGroup"} | _GROUP,
    {
        "apiVersion": "v1",
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}],
    },
    {
        "apiVersion": "v1",
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            _RESOURCE | {"shortNames": ["po"], "categories": ["all"], "storageVersionHash": "h"},
            _RESOURCE | {"name": "pods/eviction", "singularName": "", "group": "policy", "version": "v1", "verbs": []},
        ],
    },
    {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"} | _PARTIAL,
    {
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadataList",
        "metadata": {"resourceVersion": "9"},
        "items": [_PARTIAL, _PARTIAL],
    },
    _discovery("v2"),
    _discovery("v2beta1"),
    {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Orphan",
        "dryRun": ["All"],
    },
    {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": META, "spec": {}, "status": {"replicas": 0}},
    {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": META, "deleteOptions": {"gracePeriodSeconds": 5}},
    {"apiVersion": "v1", "kind": "Binding", "metadata": META, "target": {"kind": "Node", "name": "n"}},
    {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": META,
        "spec": {"audiences": ["a"], "expirationSeconds": 600, "boundObjectRef": None},
        "status": {"token": "t", "expirationTimestamp": "2030-01-02T03:04:05Z"},
    },
]


def _schema(schema: Obj) -> Obj:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "xs", "kind": "X"}
    spec = {"group": "x.io", "scope": "Cluster", "names": names, "versions": [version]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "xs.x.io"},
        "spec": spec,
    }


_PROPERTIES = {
    "zero": {"type": "integer", "default": 0, "minimum": 0, "maximum": 1.5e300, "multipleOf": -0.25},
    "no": {"type": "boolean", "default": False, "enum": [None, False, "", [], {}]},
    "null": {"default": None, "nullable": True, "example": {"a": [1, {"b": None}]}},
    "many": {"items": [{"type": "string"}, {}], "additionalItems": False, "maxItems": 0},
    "one": {"items": {"type": "string"}, "additionalProperties": True, "x-kubernetes-list-type": "set"},
    "open": {"additionalProperties": {"type": "string"}, "x-kubernetes-preserve-unknown-fields": False},
    "after": {"dependencies": {"a": ["b", "c"], "d": {"type": "string"}, "b": []}, "not": {}},
    "told": {"$ref": "#/x", "$schema": "s", "id": "i", "externalDocs": {"url": "u"}, "anyOf": [{}, {"format": "f"}]},
}

EDGES: list[Obj] = [
    {"apiVersion": "v1", "kind": "Pod"},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": None,
        "data": {"b": "", "a": "ä€😀", "A": "1"},
        "binaryData": {},
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {}, "annotations": None}, "immutable": False},
    {"apiVersion": "v1", "kind": "Secret", "metadata": META, "data": {"e": "", "d": "AAEC"}, "type": ""},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "x",
            "creationTimestamp": "1969-12-31T23:59:59Z",
            "deletionTimestamp": "1970-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 0,
            "generation": 9223372036854775807,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": False}],
            "managedFields": [
                {"manager": "m", "operation": "Update", "time": "2030-01-02T03:04:05Z", "fieldsV1": {"f:data": {}}},
                {"manager": "n", "fieldsV1": {}, "subresource": "status"},
            ],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": META,
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}, "requests": {}},
                    "livenessProbe": {"httpGet": {"port": 80}, "failureThreshold": 3},
                    "readinessProbe": {"exec": {"command": []}},
                    "startupProbe": {},
                    "securityContext": {"runAsUser": 0, "privileged": False, "capabilities": {}},
                    "env": [{"name": "e", "value": ""}, {"name": "f", "valueFrom": {"fieldRef": {"fieldPath": "p"}}}],
                    "args": [],
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/"}}, {"name": "none"}],
            "tolerations": [{"tolerationSeconds": -1}, {"tolerationSeconds": 0}],
            "terminationGracePeriodSeconds": 0,
            "securityContext": {},
            "priority": -2147483648,
            "overhead": {"cpu": "0"},
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}],
            "containerStatuses": [{"name": "c", "ready": False, "restartCount": 0, "state": {"running": {}}}],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": META,
        "spec": {
            "ports": [{"port": 80}, {"port": 1, "targetPort": "web"}, {"port": 65535, "targetPort": 65535}],
            "clusterIP": "None",
            "selector": None,
        },
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": META,
        "spec": {
            "replicas": 0,
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "selector": {"matchLabels": {}, "matchExpressions": [{"key": "k", "operator": "Exists"}]},
        },
    },
    {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": META, "data": {"a": "<&>ä"}, "revision": 0},
    {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": META, "data": None, "revision": -1},
    {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": META, "spec": {"renewTime": None}},
    {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": META,
        "spec": {"acquireTime": "2030-01-02T03:04:05.000001Z", "renewTime": "1969-12-31T23:59:59.999999Z"},
    },
    {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": META,
        "eventTime": None,
        "series": {"count": 1, "lastObservedTime": "2030-01-02T03:04:05.120000Z"},
        "deprecatedCount": -3,
    },
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": META,
        "spec": {"extra": {"k": ["v", ""], "e": []}, "groups": []},
    },
    {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": META,
        "spec": {"request": "", "signerName": "s", "extra": {"k": ["v"]}},
        "status": {"certificate": "AAEC"},
    },
    {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []},
    {
        "apiVersion": "v1",
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "12", "continue": "more", "remainingItemCount": 3},
        "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}, "data": {"k": "v" * 200}}],
    },
    _schema({"type": "object", "properties": _PROPERTIES, "required": []}),
]
