import pytest

from pybernetes.api.kinds import PLAIN
from pybernetes.api.resources import EVENTS_V1, HORIZONTAL_POD_AUTOSCALERS_V1, PODS, Resource
from pybernetes.api.schema import of_openapi
from pybernetes.api.scheme import Entry, Scheme, version_order

WIDGETS = Resource(
    group="example.com",
    version="v1",
    plural="widgets",
    kind="Widget",
    singular="widget",
    definition="com.example.v1.Widget",
    custom=True,
)


def widgets():
    return Entry(WIDGETS, PLAIN, type=of_openapi({"type": "object"}, root=True))


def test_versions_in_kubernetes_order():
    versions = ["v1beta1", "foo1", "v10", "v2", "v1", "v11alpha2", "v3beta1", "v12alpha1", "bar"]
    wanted = ["v10", "v2", "v1", "v3beta1", "v1beta1", "v12alpha1", "v11alpha2", "bar", "foo1"]
    assert sorted(versions, key=version_order) == wanted


def test_groups_prefer_the_newest_version():
    groups = {group.name: group.versions for group in Scheme.builtin().groups()}
    assert groups[""] == ("v1",)
    assert groups["autoscaling"] == ("v2", "v1")
    assert "resource.k8s.io" in groups


def test_custom_rows_come_and_go():
    scheme, calls = Scheme.builtin(), []
    scheme.changed.append(lambda: calls.append(len(scheme.resources)))
    before = len(scheme.resources)
    scheme.add(widgets())
    assert scheme.find("example.com", "v1", "widgets") is WIDGETS
    assert scheme.find_kind("example.com/v1", "Widget") is WIDGETS
    assert scheme.type(WIDGETS).fields["kind"].kind == "string"
    scheme.remove(WIDGETS)
    assert scheme.find("example.com", "v1", "widgets") is None
    assert calls == [before + 1, before]
    with pytest.raises(KeyError):
        scheme.entry(WIDGETS)


def test_two_schemes_do_not_share_rows():
    one, other = Scheme.builtin(), Scheme.builtin()
    one.add(widgets())
    assert other.find("example.com", "v1", "widgets") is None


def test_an_event_is_the_same_in_both_groups():
    scheme = Scheme.builtin()
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod"},
        "note": "why",
        "reportingController": "kubelet",
        "deprecatedCount": 3,
    }
    stored = scheme.to_storage(event, EVENTS_V1)
    assert stored == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod"},
        "message": "why",
        "reportingComponent": "kubelet",
        "count": 3,
    }
    assert scheme.from_storage(stored, EVENTS_V1) == event


def test_an_autoscaler_survives_the_old_version():
    scheme = Scheme.builtin()
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 9}},
    }
    stored = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "annotations": {"a": "b"}},
        "spec": {"maxReplicas": 3, "metrics": [cpu, memory], "behavior": {"scaleUp": {}}},
        "status": {"currentReplicas": 1, "desiredReplicas": 0, "conditions": [{"type": "AbleToScale"}]},
    }
    old = scheme.from_storage(stored, HORIZONTAL_POD_AUTOSCALERS_V1)
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}
    assert old["apiVersion"] == "autoscaling/v1"
    assert scheme.to_storage(old, HORIZONTAL_POD_AUTOSCALERS_V1) == stored


def test_an_autoscaler_without_a_target_aims_at_80_percent():
    old = {"apiVersion": "autoscaling/v1", "metadata": {}, "spec": {"maxReplicas": 3}}
    spec = Scheme.builtin().to_storage(old, HORIZONTAL_POD_AUTOSCALERS_V1)["spec"]
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 80


def test_stored_versions_need_no_conversion():
    obj = {"metadata": {"name": "p"}}
    assert Scheme.builtin().to_storage(obj, PODS) is obj
