import pytest
import yaml

from pybernetes.api.kinds.scaler_versions import from_v2, to_v2
from pybernetes.api.objects import decode

PREFIX = "autoscaling.alpha.kubernetes.io/"
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
METRICS = yaml.safe_load("""
- - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}
  - {type: Resource, resource: {name: memory, targetAverageValue: 1Gi}}
- - type: ContainerResource
    containerResource: {name: cpu, container: c, target: {type: Utilization, averageUtilization: 5}}
  - {type: ContainerResource, containerResource: {name: cpu, container: c, targetAverageUtilization: 5}}
- - type: Pods
    pods: {metric: {name: q, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: 1k}}
  - {type: Pods, pods: {metricName: q, selector: {matchLabels: {a: b}}, targetAverageValue: 1k}}
- - type: Object
    object: {describedObject: {kind: Ingress, name: i}, metric: {name: q}, target: {type: Value, value: 10k}}
  - {type: Object, object: {target: {kind: Ingress, name: i}, metricName: q, targetValue: 10k}}
- - type: Object
    object: {describedObject: {kind: S, name: i}, metric: {name: q}, target: {type: AverageValue, averageValue: 2k}}
  - {type: Object, object: {target: {kind: S, name: i}, metricName: q, targetValue: "0", averageValue: 2k}}
- - type: External
    external: {metric: {name: q, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: 3k}}
  - {type: External, external: {metricName: q, metricSelector: {matchLabels: {a: b}}, targetAverageValue: 3k}}
""")


def scaler(**spec):
    spec, status = {"maxReplicas": 3} | spec, {"desiredReplicas": 0}
    return {"apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": spec, "status": status}


@pytest.mark.parametrize(("metric", "noted"), METRICS)
def test_a_metric_is_noted_by_its_older_names_and_comes_back(metric, noted):
    old = from_v2(scaler(metrics=[CPU, metric]))
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}
    assert decode(old["metadata"]["annotations"][f"{PREFIX}metrics"]) == [noted]
    assert to_v2(old) == scaler(metrics=[CPU, metric]) | {"metadata": {"name": "h", "annotations": {}}}


def test_behaviour_is_noted_with_go_names_and_read_in_any_case():
    down = {"stabilizationWindowSeconds": 5, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    old = from_v2(scaler(metrics=[CPU], behavior={"scaleDown": down}))
    assert decode(old["metadata"]["annotations"][f"{PREFIX}behavior"]) == {
        "ScaleUp": None,
        "ScaleDown": {
            "StabilizationWindowSeconds": 5,
            "SelectPolicy": None,
            "Policies": [{"Type": "Pods", "Value": 1, "PeriodSeconds": 60}],
            "Tolerance": None,
        },
    }
    assert to_v2(old)["spec"]["behavior"] == {"scaleDown": down}
    old["metadata"]["annotations"] = {f"{PREFIX}behavior": '{"scaleDown":{"stabilizationWindowSeconds":5}}'}
    assert to_v2(old)["spec"]["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 5}}


def test_what_was_measured_is_told_twice():
    cpu = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 70, "averageValue": "7m"}}}
    old = from_v2(scaler() | {"status": {"currentMetrics": [cpu], "conditions": [{"type": "AbleToScale"}]}})
    counts = {"currentReplicas": 0, "desiredReplicas": 0}
    assert old["status"] == counts | {"currentCPUUtilizationPercentage": 70}
    noted = {
        "type": "Resource",
        "resource": {"name": "cpu", "currentAverageUtilization": 70, "currentAverageValue": "7m"},
    }
    assert decode(old["metadata"]["annotations"][f"{PREFIX}current-metrics"]) == [noted]
    told = {"currentMetrics": [cpu], "conditions": [{"type": "AbleToScale"}], "desiredReplicas": 0}
    assert to_v2(old)["status"] == told


@pytest.mark.parametrize("text", ["{", "7", "[7]", "null"])
def test_notes_that_say_nothing_are_left_out(text):
    names = ("metrics", "behavior", "current-metrics", "conditions")
    old = scaler() | {"metadata": {"annotations": {f"{PREFIX}{name}": text for name in names} | {"a": "b"}}}
    new = to_v2(old)
    assert new["metadata"] == {"annotations": {"a": "b"}}
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    assert new["status"] == {"desiredReplicas": 0}
