"""Autoscalers, failure policies of Jobs, usages of certificates: what may be said, all of what is wrong at once."""

import pytest

from support.admitted import accepted, admit
from support.trust import REQUEST

SCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: x}
spec:
  maxReplicas: 3
  scaleTargetRef: {kind: Deployment, name: web, apiVersion: apps/v1}
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  - {type: Pods, pods: {metric: {name: hits}, target: {type: AverageValue, averageValue: "5"}}}
  - {type: External, external: {metric: {name: queue}, target: {type: Value, value: "5"}}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 60, policies: [{type: Pods, value: 1, periodSeconds: 30}]}}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: x}
spec:
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: c, operator: In, values: [1, 42]}}
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
"""
SIGNING = """
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: x}
spec: {request: REQUEST, signerName: a.b/c, usages: [client auth, digital signature]}
""".replace("REQUEST", REQUEST)


@pytest.mark.parametrize("text", [SCALER, JOB, SIGNING], ids=["scaler", "job", "signing"])
def test_what_is_right_is_taken_and_taken_again(text):
    old = accepted(text)
    assert accepted(old, old) == old


@pytest.mark.parametrize(
    ("text", "was", "now", "wrong"),
    [
        (
            SCALER,
            "averageUtilization: 50",
            "averageUtilization: 0",
            ["spec.metrics[0].resource.target.averageUtilization"],
        ),
        (SCALER, ", averageUtilization: 50", "", ["spec.metrics[0].resource.target.averageUtilization"]),
        (SCALER, 'averageValue: "5"', 'averageValue: "-5"', ["spec.metrics[1].pods.target.averageValue"]),
        (SCALER, "{name: hits}", "{}", ["spec.metrics[1].pods.metric.name"]),
        (SCALER, "type: Value, ", "", ["spec.metrics[2].external.target.type"] * 2),
        (SCALER, 'type: Value, value: "5"', "type: Value", ["spec.metrics[2].external.target.averageValue"]),
        (
            SCALER,
            'value: "5"}}}\n  behavior',
            'value: "5", averageValue: "5"}}}\n  behavior',
            ["spec.metrics[2].external.target.value"],
        ),
        (SCALER, "Seconds: 60", "Seconds: 3601", ["spec.behavior.scaleDown.stabilizationWindowSeconds"]),
        (
            SCALER,
            "value: 1, periodSeconds: 30",
            "value: 0, periodSeconds: 1801",
            ["spec.behavior.scaleDown.policies[0].value", "spec.behavior.scaleDown.policies[0].periodSeconds"],
        ),
        (JOB, "FailJob", "Explode", ["spec.podFailurePolicy.rules[0].action"]),
        (JOB, "FailJob", "FailIndex", ["spec.podFailurePolicy.rules[0].action"]),
        (JOB, "[1, 42]", "[]", ["spec.podFailurePolicy.rules[0].onExitCodes.values"]),
        (JOB, "[1, 42]", "[0, 42]", ["spec.podFailurePolicy.rules[0].onExitCodes.values[0]"]),
        (JOB, "[1, 42]", "[42, 1]", ["spec.podFailurePolicy.rules[0].onExitCodes.values"]),
        (JOB, "containerName: c", "containerName: d", ["spec.podFailurePolicy.rules[0].onExitCodes.containerName"]),
        (JOB, ", onPodConditions: [{type: DisruptionTarget}]", "", ["spec.podFailurePolicy.rules[1]"]),
        (JOB, "restartPolicy: Never", "restartPolicy: OnFailure", ["spec.template.spec.restartPolicy"]),
        (SIGNING, "client auth", "everything", ["spec.usages[0]"]),
        (SIGNING, "client auth", "digital signature", ["spec.usages[1]"]),
    ],
)
def test_what_is_wrong(text, was, now, wrong):
    assert was in text
    assert admit(text.replace(was, now, 1)).fields == wrong


@pytest.mark.parametrize(
    ("text", "was", "now", "wrong"),
    [
        (
            "{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: x, namespace: d}, "
            "spec: {devices: {requests: [{name: r, exactly: {deviceClassName: c}}]}}}",
            "deviceClassName: c",
            "deviceClassName: d",
            ["spec"],
        ),
        (
            "{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {name: x, namespace: d}, "
            "storageClassName: s}",
            "storageClassName: s",
            "storageClassName: t",
            ["storageClassName"],
        ),
    ],
)
def test_what_never_changes(text, was, now, wrong):
    old = accepted(text)
    found = admit(text.replace(was, now), old)
    assert found.fields == wrong
    assert "field is immutable" in found.texts[0]
