import pytest

from pybernetes.api.objects import copied
from support.admitted import accepted, admit, changed


def thing(kind, version="v1", name="x", **fields):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | fields


def test_a_namespace():
    found = accepted(thing("Namespace", name="team"))
    assert found["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert found["spec"] == {"finalizers": ["kubernetes"]}
    assert found["status"] == {"phase": "Active"}


def test_a_namespaces_name_is_a_label():
    assert admit(thing("Namespace", name="a.b")).fields == ["metadata.name"]


def test_only_finalize_takes_the_finalizer_away():
    old = accepted(thing("Namespace"))
    without = copied(old) | {"spec": {"finalizers": []}}
    assert accepted(without, old)["spec"] == old["spec"]
    assert accepted(without, old, part="finalize")["spec"] == {}


def test_a_namespaces_status():
    old = accepted(thing("Namespace"))
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = accepted(old | {"status": {"phase": "Terminating"}}, old, part="status")
    assert found["status"] == {"phase": "Terminating"}
    assert found["spec"] == old["spec"]


def test_a_node_registers_with_its_status():
    found = accepted(thing("Node", status={"capacity": {"cpu": 4}}))
    assert found["status"] == {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "4"}}
    kept = accepted(found | {"status": {}}, found)
    assert kept["status"] == found["status"]


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"taints": [{"key": "a b", "effect": "NoSchedule"}]}, ["metadata.taints[0].key"]),
        ({"taints": [{"key": "a", "effect": "Never"}]}, ["metadata.taints[0].effect"]),
        ({"taints": [{"key": "a"}]}, ["metadata.taints[0].effect"]),
        ({"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}, ["metadata.taints[1]"]),
        ({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.1.0/24"]}, ["spec.podCIDRs[0]"]),
        ({"podCIDRs": ["x"]}, ["spec.podCIDRs[0]"]),
    ],
)
def test_nodes(spec, wrong):
    assert admit(thing("Node", spec=spec)).fields == wrong


def test_a_nodes_range_stays():
    old = accepted(thing("Node", spec={"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}))
    new = changed(old, podCIDR="10.0.1.0/24", podCIDRs=["10.0.1.0/24"])
    assert admit(new, old).fields == ["spec.podCIDRs"]
    assert accepted(changed(old, unschedulable=True), old)["spec"]["unschedulable"] is True


def test_leases():
    lease = thing("Lease", "coordination.k8s.io/v1", spec={"leaseDurationSeconds": 0, "leaseTransitions": -1})
    assert admit(lease).fields == ["spec.leaseDurationSeconds", "spec.leaseTransitions"]


def test_an_event_is_where_its_object_is():
    about = {"kind": "Pod", "name": "p", "namespace": "other"}
    found = admit(thing("Event", involvedObject=about) | {"metadata": {"name": "e", "namespace": "here"}})
    assert found.texts == ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']
    about["namespace"] = "here"
    assert not admit(thing("Event", involvedObject=about) | {"metadata": {"name": "e", "namespace": "here"}}).texts


def test_an_event_of_a_cluster_object_is_in_default():
    about = {"kind": "Node", "name": "n"}
    assert not admit(thing("Event", involvedObject=about) | {"metadata": {"name": "e", "namespace": "default"}}).texts


def test_new_events_say_who_and_why():
    event = thing("Event", "events.k8s.io/v1", regarding={"kind": "Node"}) | {
        "metadata": {"name": "e", "namespace": "default"}
    }
    wanted = {"eventTime", "reportingController", "reportingInstance", "action", "reason", "type"}
    assert set(admit(event).fields) == wanted


def test_quotas():
    found = thing("ResourceQuota", spec={"hard": {"pods": "-1", "a b": "1"}, "scopes": ["X"]})
    assert admit(found).fields == ["spec.hard[pods]", "spec.hard[a b]", "spec.hard[a b]", "spec.scopes"]


def test_limit_ranges_fill_in_each_other():
    item = {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Gi"}}
    found = accepted(thing("LimitRange", spec={"limits": [item]}))["spec"]["limits"][0]
    assert found["default"] == {"cpu": "2"}
    assert found["defaultRequest"] == {"cpu": "2", "memory": "1Gi"}
    upside = {"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}
    assert admit(thing("LimitRange", spec={"limits": [upside]})).texts == [
        'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'
    ]
