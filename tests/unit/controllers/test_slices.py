"""The plan of slices: churn in the small; the laws are in tests/property."""

from pybernetes.api.objects import Obj, annotations_of
from pybernetes.controllers.slices import TRIGGER_TIME, Changes, Wanted, group_of, plan
from support.objects import service

SERVICE = service("web")
LABELS = {"kubernetes.io/service-name": "web"}
HTTP = group_of("IPv4", [{"name": "http", "port": 80, "protocol": "TCP"}])


def wanted(numbers: range, *, group: object = HTTP, annotations: dict[str, str] | None = None) -> Wanted:
    endpoints = {f"u{n}": {"addresses": [f"10.0.0.{n}"], "targetRef": {"uid": f"u{n}"}} for n in numbers}
    return Wanted(SERVICE, LABELS, annotations or {}, {group: endpoints}, "web")  # type: ignore[dict-item]


def stored(changes: Changes) -> list[Obj]:
    found = []
    for number, one in enumerate(changes.create):
        meta = one["metadata"] | {"name": f"web-{number}", "resourceVersion": "7", "uid": f"s{number}"}
        found.append(one | {"metadata": meta})
    return found


def test_a_new_slice_has_owner_labels_and_trigger_time() -> None:
    changes = plan(wanted(range(3)), [], limit=100, stamp="T")
    (one,) = changes.create
    assert one["metadata"]["generateName"] == "web-"
    assert one["metadata"]["ownerReferences"][0]["uid"] == SERVICE["metadata"]["uid"]
    assert (one["addressType"], one["ports"], len(one["endpoints"])) == ("IPv4", HTTP.port_objects, 3)
    assert annotations_of(one) == {TRIGGER_TIME: "T"}


def test_250_endpoints_are_three_slices_and_one_more_touches_one() -> None:
    slices = stored(plan(wanted(range(250)), [], limit=100))
    assert [len(one["endpoints"]) for one in slices] == [100, 100, 50]
    changes = plan(wanted(range(251)), slices, limit=100)
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    assert changes.update[0]["metadata"]["name"] == "web-2"
    assert changes.update[0]["metadata"]["resourceVersion"] == "7"


def test_a_lost_endpoint_touches_only_its_slice() -> None:
    slices = stored(plan(wanted(range(250)), [], limit=100))
    changes = plan(wanted(range(1, 250)), slices, limit=100)
    assert [one["metadata"]["name"] for one in changes.update] == ["web-0"]
    assert not changes.create
    assert not changes.delete


def test_an_emptied_slice_goes() -> None:
    slices = stored(plan(wanted(range(150)), [], limit=100))
    changes = plan(wanted(range(100)), slices, limit=100)
    assert [one["metadata"]["name"] for one in changes.delete] == ["web-1"]
    assert not changes.update


def test_the_last_endpoint_leaves_an_empty_slice_by_one_update() -> None:
    slices = stored(plan(wanted(range(1)), [], limit=100))
    nothing = Wanted(SERVICE, LABELS, {}, {group_of("IPv4", ()): {}}, "web")
    changes = plan(nothing, slices, limit=100)
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    assert (changes.update[0]["endpoints"], changes.update[0]["ports"]) == ([], [])


def test_other_ports_reuse_the_slice() -> None:
    slices = stored(plan(wanted(range(2)), [], limit=100))
    other = group_of("IPv4", [{"name": "http", "port": 81, "protocol": "TCP"}])
    changes = plan(wanted(range(2), group=other), slices, limit=100)
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    assert changes.update[0]["metadata"]["name"] == "web-0"
    assert "generateName" not in changes.update[0]["metadata"] or changes.update[0]["metadata"]["name"]


def test_labels_that_somebody_changed_are_put_right() -> None:
    slices = stored(plan(wanted(range(2)), [], limit=100))
    slices[0]["metadata"]["labels"] = {"x": "y"}
    changes = plan(wanted(range(2)), slices, limit=100)
    assert [one["metadata"]["labels"] for one in changes.update] == [LABELS]


def test_annotations_are_mirrored_and_the_trigger_time_alone_is_no_change() -> None:
    slices = stored(plan(wanted(range(2)), [], limit=100, stamp="T1"))
    assert not plan(wanted(range(2)), slices, limit=100, stamp="")
    changes = plan(wanted(range(2), annotations={"a": "b"}), slices, limit=100)
    assert [annotations_of(one) for one in changes.update] == [{"a": "b"}]
