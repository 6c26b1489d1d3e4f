from pybernetes.api import objects

NOW, LATER = "2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"


def test_a_condition_is_set_and_stamped():
    obj = {}
    assert objects.set_condition(obj, "Ready", "True", now=NOW, reason="Up")
    assert obj == {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "Up", "message": "", "lastTransitionTime": NOW}
            ]
        }
    }


def test_only_a_change_of_status_moves_the_stamp():
    obj = {}
    objects.set_condition(obj, "Ready", "True", now=NOW)
    assert not objects.set_condition(obj, "Ready", "True", now=LATER)
    assert objects.set_condition(obj, "Ready", "True", now=LATER, message="still")
    assert objects.condition(obj, "Ready")["lastTransitionTime"] == NOW
    assert objects.set_condition(obj, "Ready", "False", now=LATER)
    assert objects.condition(obj, "Ready")["lastTransitionTime"] == LATER
    assert objects.condition_is(obj, "Ready", "False")


def test_a_condition_goes():
    obj = {}
    objects.set_condition(obj, "A", "True", now=NOW)
    objects.set_condition(obj, "B", "True", now=NOW)
    assert objects.drop_condition(obj, "A")
    assert not objects.drop_condition(obj, "A")
    assert [entry["type"] for entry in obj["status"]["conditions"]] == ["B"]


def test_owners():
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs", "uid": "1"}}
    pod = {"metadata": {"ownerReferences": [objects.owner_reference(owner)]}}
    assert objects.is_controlled_by(pod, owner)
    assert not objects.is_controlled_by(pod, owner | {"metadata": {"name": "rs", "uid": "2"}})
    assert not objects.is_controlled_by({}, owner)


def test_where_the_pod_spec_is():
    spec = {"containers": []}
    template = {"template": {"spec": spec}}
    assert objects.pod_spec_of({"kind": "Pod", "spec": spec}) is spec
    assert objects.pod_spec_of({"kind": "Deployment", "spec": template}) is spec
    assert objects.pod_spec_of({"kind": "CronJob", "spec": {"jobTemplate": {"spec": template}}}) is spec
    assert objects.pod_spec_of({"kind": "PodTemplate"} | template) is spec
    assert objects.pod_spec_of({"kind": "ConfigMap"}) is None


def test_a_copy_shares_nothing():
    obj = {"a": [{"b": 1}]}
    copy = objects.copied(obj)
    copy["a"][0]["b"] = 2
    assert obj == {"a": [{"b": 1}]}
