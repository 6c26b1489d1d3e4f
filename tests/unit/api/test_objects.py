from pybernetes.api import objects

POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "1", "labels": {"a": "b"}, "resourceVersion": "7"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def test_questions_everybody_asks():
    assert str(objects.key_of(POD)) == "n/p"
    assert objects.uid_of(POD) == "1"
    assert objects.revision_of(POD) == "7"
    assert objects.labels_of(POD) == {"a": "b"}
    assert objects.condition_is(POD, "Ready")
    assert not objects.condition_is(POD, "Ready", "False")
    assert not objects.is_deleting(POD)


def test_an_empty_object_has_empty_answers():
    assert objects.key_of({}) == ("", "")
    assert objects.owners_of({}) == []
    assert objects.annotations_of({"metadata": None}) == {}
    assert objects.condition({}, "Ready") is None


def test_owners():
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs", "uid": "1"}}
    reference = objects.owner_reference(owner)
    assert reference["controller"] is True
    assert objects.controller_of({"metadata": {"ownerReferences": [reference]}}) == reference
    assert objects.controller_of(POD) is None


def test_a_copy_shares_nothing():
    obj = {"a": [{"b": 1}]}
    copy = objects.copied(obj)
    copy["a"][0]["b"] = 2
    assert obj == {"a": [{"b": 1}]}
