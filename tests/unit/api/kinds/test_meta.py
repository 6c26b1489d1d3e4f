from pybernetes.api.objects import copied
from support.admitted import accepted, admit


def config_map(**metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", **metadata}}


def test_all_that_is_wrong_is_said_at_once():
    found = admit(
        config_map(
            name="A",
            labels={"a/b/c": "-"},
            annotations={"/": "x"},
            finalizers=["mine"],
            ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "p"}],
        )
    )
    assert found.fields == [
        "metadata.name",
        "metadata.labels",
        "metadata.labels",
        "metadata.annotations",
        "metadata.annotations",
        "metadata.annotations",
        "metadata.ownerReferences[0].uid",
        "metadata.finalizers[0]",
    ]


def test_a_name_is_required():
    assert admit({"apiVersion": "v1", "kind": "ConfigMap"}).texts == [
        "metadata.name: Required value: name or generateName is required"
    ]


def test_generate_name_may_end_in_a_hyphen():
    assert admit(config_map(generateName="web-")).texts == []
    assert admit(config_map(generateName="Web-")).fields == ["metadata.generateName"]


def test_one_controller_only():
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    found = admit(config_map(ownerReferences=[owner, owner | {"name": "q"}]))
    assert found.fields == ["metadata.ownerReferences"]
    assert "Only one reference can have Controller set to true" in found.texts[0]


def test_annotations_have_a_limit():
    found = admit(config_map(annotations={"a": "x" * 262144}))
    assert found.texts == ["metadata.annotations: Too long: may not be more than 262144 bytes"]


def test_what_the_server_sets_is_not_the_callers():
    obj = accepted(config_map(generation=7, deletionTimestamp="2024-01-01T00:00:00Z", selfLink="/x"))
    assert obj["metadata"] == {"name": "x", "uid": "uid-1"}


def test_an_update_keeps_what_the_server_set():
    old = accepted(config_map())
    old["metadata"] |= {"creationTimestamp": "2024-01-01T00:00:00Z", "namespace": "n"}
    new = accepted(config_map(namespace="n", labels={"a": "b"}), old)
    assert new["metadata"] == old["metadata"] | {"labels": {"a": "b"}}


def test_a_finalizer_cannot_be_added_to_what_is_going():
    old = accepted(config_map(finalizers=["a.b/c"]))
    old["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    new = copied(old)
    new["metadata"]["finalizers"] = ["a.b/d"]
    assert admit(new, old).fields == ["metadata.finalizers"]
    new["metadata"]["finalizers"] = []
    assert accepted(new, old)["metadata"]["deletionTimestamp"]
