"""The kinds that the cluster of today only keeps: what is wrong with each, and its defaults."""

import pytest

from pybernetes.api.kinds.strategy import PLAIN
from pybernetes.api.kinds.table import strategy_of
from pybernetes.api.resources import RESOURCES
from support.admitted import NOW, SCHEME, accepted, admit, changed
from support.trust import REQUEST

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: x}
spec:
  rules:
  - host: a.b
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: x}
spec: {ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}], egress: [{}]}
"""
BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: x}
spec: {minAvailable: 50%, selector: {matchLabels: {a: b}}}
"""
SCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: x}
spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: web, apiVersion: apps/v1}}
"""
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: x}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}}
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: x}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
WEBHOOK = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: x}
webhooks:
- name: a.b.c
  sideEffects: None
  admissionReviewVersions: [v1]
  clientConfig: {service: {namespace: a, name: b}}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
"""
CLASS = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: x}
spec: {controller: a.b/c}
"""
SIGNING = """
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: x}
spec: {request: REQUEST, signerName: a.b/c, usages: [client auth]}
""".replace("REQUEST", REQUEST)
LEVEL = """
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: x}
spec: {type: Limited, limited: {limitResponse: {type: Queue}}}
"""
PRIORITY = "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: x}, value: 5}"
STORAGE = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: x}, provisioner: a.b/c}"
GATED = """
apiVersion: v1
kind: Pod
metadata: {name: x}
spec: {containers: [{name: a, image: b}], schedulingGates: [{name: a.b/c}]}
"""
SLICE = """
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: x}
spec:
  driver: example.com
  nodeName: n
  pool: {name: n, generation: 1, resourceSliceCount: 1}
  devices: [{name: d, taints: [{key: k, effect: NoSchedule}]}]
"""
GOOD = [INGRESS, POLICY, BUDGET, SCALER, VOLUME, CLAIM, WEBHOOK, DEFINITION, CLASS, SIGNING, LEVEL, PRIORITY, STORAGE]


@pytest.mark.parametrize("text", GOOD, ids=lambda text: text.split("kind: ")[1].split()[0].strip(","))
def test_what_is_right_is_taken_and_taken_again(text):
    old = accepted(text)
    assert accepted(old, old) == old


def test_defaults():
    assert accepted(POLICY)["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert accepted(POLICY)["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert accepted(SCALER)["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert accepted(VOLUME)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert accepted(VOLUME)["status"]["phase"] == "Pending"
    assert accepted(CLAIM)["spec"]["volumeMode"] == "Filesystem"
    assert accepted(WEBHOOK)["webhooks"][0]["failurePolicy"] == "Fail"
    assert accepted(WEBHOOK)["webhooks"][0]["clientConfig"]["service"]["port"] == 443
    assert accepted(DEFINITION)["spec"]["names"]["listKind"] == "WidgetList"
    assert accepted(DEFINITION)["status"]["storedVersions"] == ["v1"]
    assert accepted(LEVEL)["spec"]["limited"]["limitResponse"]["queuing"]["queues"] == 64
    assert accepted(PRIORITY)["preemptionPolicy"] == "PreemptLowerPriority"
    assert accepted(STORAGE)["volumeBindingMode"] == "Immediate"


@pytest.mark.parametrize(
    ("text", "was", "now", "wrong"),
    [
        (INGRESS, "path: /,", "path: x,", ["spec.rules[0].http.paths[0].path"]),
        (INGRESS, "pathType: Prefix, ", "", ["spec.rules[0].http.paths[0].pathType"]),
        (INGRESS, "a.b", "10.0.0.1", ["spec.rules[0].host"]),
        (INGRESS, "a.b", "'*.a.b'", []),
        (INGRESS, "{number: 80}", "{}", ["spec.rules[0].http.paths[0].backend"]),
        (POLICY, "podSelector: {}", "ipBlock: {cidr: x}", ["spec.ingress[0].from[0].ipBlock.cidr"]),
        (
            POLICY,
            "podSelector: {}",
            "ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}",
            ["spec.ingress[0].from[0].ipBlock.except[0]"],
        ),
        (POLICY, "{port: 80}", "{port: 80, endPort: 70}", ["spec.ingress[0].ports[0].endPort"]),
        (BUDGET, "minAvailable: 50%", "minAvailable: 1, maxUnavailable: 1", ["spec"]),
        (BUDGET, "50%", "half", ["spec.minAvailable"]),
        (SCALER, "maxReplicas: 3", "maxReplicas: 0", ["spec.maxReplicas", "spec.maxReplicas"]),
        (SCALER, "kind: Deployment, name: web, ", "", ["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"]),
        (VOLUME, "ReadWriteOnce", "Mine", ["spec.accessModes"]),
        (VOLUME, ", hostPath: {path: /x}", "", ["spec"]),
        (VOLUME, "storage: 1Gi", "cpu: 1", ["spec.capacity"]),
        (CLAIM, "storage: 1Gi", "cpu: 1", ["spec.resources[storage]"]),
        (CLAIM, "accessModes: [ReadWriteOnce], ", "", ["spec.accessModes"]),
        (WEBHOOK, "a.b.c", "a", ["webhooks[0].name"]),
        (WEBHOOK, "None", "Some", ["webhooks[0].sideEffects"]),
        (WEBHOOK, "[CREATE]", "[MAKE]", ["webhooks[0].rules[0].operations[0]"]),
        (WEBHOOK, "service: {namespace: a, name: b}", "url: http://x", ["webhooks[0].clientConfig.url"]),
        (DEFINITION, "plural: widgets", "plural: gadgets", ["metadata.name"]),
        (DEFINITION, "storage: true", "storage: false", ["spec.versions"]),
        (DEFINITION, "scope: Namespaced", "scope: World", ["spec.scope"]),
        (DEFINITION, ", schema: {openAPIV3Schema: {type: object}}", "", ["spec.versions[0].schema.openAPIV3Schema"]),
        (CLASS, "a.b/c", "''", ["spec.controller"]),
        (SIGNING, "a.b/c", "abc", ["spec.signerName"]),
        (LEVEL, "type: Limited, limited: {limitResponse: {type: Queue}}", "type: Limited", ["spec.limited"]),
        (PRIORITY, "value: 5", "value: 1000000001", ["value"]),
        (PRIORITY, "name: x", "name: system-x", ["metadata.name"]),
        (STORAGE, ", provisioner: a.b/c", "", ["provisioner"]),
    ],
)
def test_what_is_wrong_is_named_by_its_field(text, was, now, wrong):
    assert was in text
    assert admit(text.replace(was, now)).fields == wrong


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("10.0.0.1", []), ("fd00::1", []), ("fd00:0::1", ["metadata.name"]), ("x", ["metadata.name"])],
)
def test_an_ip_address_is_named_after_itself(name, wrong):
    obj = {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": name}}
    parent = {"parentRef": {"resource": "services", "name": "web", "namespace": "default"}}
    assert admit(obj | {"spec": parent}).fields == wrong


def test_a_kubelets_request_may_have_capitals():
    assert admit(SIGNING.replace("name: x", "name: node-csr-AbC_1")).fields == []


def test_what_stays():
    old = accepted(CLAIM)
    assert admit(changed(old, accessModes=["ReadOnlyMany"]), old).fields == ["spec"]
    old = accepted(PRIORITY)
    assert admit(old | {"value": 6}, old).texts == ["value: Forbidden: may not be changed in an update."]
    old = accepted(STORAGE)
    assert admit(old | {"provisioner": "d.e/f"}, old).fields == ["provisioner"]
    old = accepted(SIGNING)
    assert accepted(changed(old, signerName="d.e/f"), old)["spec"]["signerName"] == "a.b/c"


def test_approval_writes_conditions_only():
    old = accepted(SIGNING)
    new = old | {"status": {"certificate": "YQ==", "conditions": [{"type": "Approved", "status": "True"}]}}
    approved = accepted(new, old, part="approval")
    assert set(approved["status"]) == {"conditions"}
    for status in ({}, {"conditions": []}):
        assert admit(approved | {"status": status}, approved, part="approval").fields == ["status.conditions"]


def test_decisions_are_dated_and_stay():
    signed = accepted(SIGNING)

    def conditions(new, old, part, now=NOW):
        found = admit(signed | {"status": {"conditions": new}}, old, part=part, now=now)
        assert found.texts == []
        return found.obj

    approved = {"type": "Approved", "status": "True", "reason": "R"}
    first = conditions([approved], signed, "approval")
    stamp = "2026-01-01T00:00:00Z"
    assert first["status"]["conditions"] == [approved | {"lastUpdateTime": stamp, "lastTransitionTime": stamp}]
    other = {"type": "Other", "status": "True", "lastUpdateTime": "2025-01-01T00:00:00Z"}
    second = conditions([approved | {"reason": "Q"}, other], first, "status", now=NOW + 60)
    assert second["status"]["conditions"] == [
        *first["status"]["conditions"],
        other | {"lastTransitionTime": "2026-01-01T00:01:00Z"},
    ]
    third = conditions([approved, {"type": "Other", "status": "True"}], second, "status", now=NOW + 120)
    assert third["status"]["conditions"][1]["lastTransitionTime"] == "2026-01-01T00:01:00Z"
    assert third["status"]["conditions"][1]["lastUpdateTime"] == "2026-01-01T00:02:00Z"


def test_a_pod_with_gates_says_that_it_is_held_back():
    (condition,) = accepted(GATED)["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")
    assert condition["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_taints_of_devices_are_dated():
    found = accepted(SLICE)
    assert found["spec"]["devices"][0]["taints"][0]["timeAdded"] == "2026-01-01T00:00:00Z"


def test_every_kind_that_is_stored_has_rules_of_its_own():
    assert [row.qualified for row in RESOURCES if "update" in row.verbs and strategy_of(row) is PLAIN] == []


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: f"{row.qualified}.{row.version}")
def test_an_empty_object_is_refused_or_taken_without_a_traceback(row):
    empty = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "x"}}
    found = admit(empty)
    assert all(problem.field and problem.message for problem in found.problems)
    again = admit(found.obj, found.obj)
    assert all(problem.message for problem in again.problems)
    for part in sorted(row.subresources & {"status", "approval", "finalize", "scale"}):
        assert SCHEME.strategy(row).prepare(found.obj, found.obj, part=part) is None


def test_what_is_written_only_with_its_resource_version():
    """AllowUnconditionalUpdate of the strategies in Kubernetes' pkg/registry."""
    found = {row.plural for row in RESOURCES if not strategy_of(row).unconditional_update}
    assert found == {
        *("leases", "poddisruptionbudgets", "runtimeclasses", "apiservices", "clustertrustbundles"),
        "customresourcedefinitions",
        *("podcertificaterequests", "storageversionmigrations", "csidrivers", "csinodes", "csistoragecapacities"),
        *("volumeattachments", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
        *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
        *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    }
