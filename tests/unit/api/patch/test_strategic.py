"""Strategic merge: every directive, on the fields of real kinds."""

from typing import Any

import pytest

from pybernetes.api.errors import BadRequest
from pybernetes.api.objects import Obj
from pybernetes.api.patch import strategic_diff, strategic_merge
from pybernetes.api.schema import type_of

POD_SPEC = type_of("io.k8s.api.core.v1.PodSpec")
SERVICE_SPEC = type_of("io.k8s.api.core.v1.ServiceSpec")
META = type_of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
DEPLOYMENT_SPEC = type_of("io.k8s.api.apps.v1.DeploymentSpec")


def merged(live: Obj, patch: Any) -> Obj:
    return strategic_merge(live, patch, type_=POD_SPEC)


def named(*names: str, **fields: Any) -> list[Obj]:
    return [{"name": name} | fields for name in names]


def names_of(spec: Obj, field: str = "containers") -> list[str]:
    return [one["name"] for one in spec[field]]


def test_maps_merge_and_null_deletes() -> None:
    live = {"nodeSelector": {"a": "1", "b": "2"}, "hostname": "x"}
    patch = {"nodeSelector": {"a": None, "c": "3"}, "hostname": None, "subdomain": None}
    assert merged(live, patch) == {"nodeSelector": {"b": "2", "c": "3"}}


def test_lists_of_objects_merge_by_key() -> None:
    live = {"containers": [{"name": "a", "image": "x", "tty": True}, {"name": "b", "image": "y"}]}
    result = merged(live, {"containers": [{"name": "a", "image": "z"}, {"name": "c", "image": "w"}]})
    assert result == {
        "containers": [
            {"name": "a", "image": "z", "tty": True},
            {"name": "c", "image": "w"},
            {"name": "b", "image": "y"},
        ]
    }


def test_atomic_lists_are_replaced() -> None:
    live = {"containers": [{"name": "a", "args": ["1", "2"]}]}
    assert merged(live, {"containers": [{"name": "a", "args": ["3"]}]})["containers"][0]["args"] == ["3"]


def test_an_element_is_deleted() -> None:
    live = {"containers": named("a", "b")}
    assert merged(live, {"containers": [{"$patch": "delete", "name": "a"}]}) == {"containers": named("b")}
    assert merged(live, {"containers": [{"$patch": "delete", "name": "z"}]}) == live


def test_a_list_is_replaced() -> None:
    live = {"containers": named("a", "b")}
    assert merged(live, {"containers": [{"name": "c"}, {"$patch": "replace"}]}) == {"containers": named("c")}


def test_a_map_is_replaced_emptied_or_deleted() -> None:
    live = {"securityContext": {"runAsUser": 1, "fsGroup": 2}}
    assert merged(live, {"securityContext": {"$patch": "replace", "runAsUser": 5}}) == {
        "securityContext": {"runAsUser": 5}
    }
    assert merged(live, {"securityContext": {"$patch": "delete"}}) == {"securityContext": {}}
    assert merged({}, {"securityContext": {"$patch": "delete"}}) == {}
    assert merged(live, {"securityContext": {"$patch": "merge", "runAsUser": 5}}) == {
        "securityContext": {"runAsUser": 5, "fsGroup": 2}
    }
    assert merged(live, {"$patch": "replace", "hostname": "x"}) == {"hostname": "x"}


def test_retain_keys() -> None:
    live = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert strategic_merge(live, patch, type_=DEPLOYMENT_SPEC) == {"strategy": {"type": "Recreate"}}
    with pytest.raises(BadRequest, match="invalid patch format of retainKeys"):
        strategic_merge(live, {"strategy": {"$retainKeys": [], "type": "Recreate"}}, type_=DEPLOYMENT_SPEC)
    with pytest.raises(BadRequest, match="invalid patch format of retainKeys"):
        strategic_merge(live, {"strategy": {"$retainKeys": "type"}}, type_=DEPLOYMENT_SPEC)


def test_retain_keys_of_volumes() -> None:
    live = {"volumes": [{"name": "v", "emptyDir": {}}]}
    patch = {"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]}
    assert merged(live, patch) == {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}


def test_delete_from_primitive_list() -> None:
    live = {"finalizers": ["a", "b", "c"]}
    patch = {"$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d"]}
    assert strategic_merge(live, patch, type_=META) == {"finalizers": ["d", "a", "c"]}
    assert strategic_merge({}, {"$deleteFromPrimitiveList/finalizers": ["b"]}, type_=META) == {}
    with pytest.raises(BadRequest, match="invalid patch format of primitive list"):
        strategic_merge(live, {"$deleteFromPrimitiveList": ["b"]}, type_=META)


def test_element_order() -> None:
    live = {"containers": named("a", "b", "c")}
    patch = {"$setElementOrder/containers": named("c", "a", "d"), "containers": named("d")}
    assert names_of(merged(live, patch)) == ["b", "c", "a", "d"]


def test_the_servers_own_elements_stay_where_they_were() -> None:
    live = {"containers": named("server", "a", "b")}
    patch = {"$setElementOrder/containers": named("b", "a")}
    assert names_of(merged(live, patch)) == ["server", "b", "a"]


def test_element_order_of_scalars() -> None:
    patch = {"$setElementOrder/finalizers": ["b", "a", "x"], "finalizers": ["x"]}
    assert strategic_merge({"finalizers": ["a", "b"]}, patch, type_=META) == {"finalizers": ["b", "a", "x"]}


def test_an_order_that_contradicts_the_list() -> None:
    patch = {"$setElementOrder/containers": named("a", "b"), "containers": named("b", "a")}
    with pytest.raises(BadRequest, match=r"^The order in patch list:\n\[map\[name:b\] map\[name:a\]\]\n doesn't match"):
        merged({"containers": []}, patch)
    with pytest.raises(BadRequest, match='unable to find api field in struct PodSpec for the json field "spam"'):
        merged({}, {"$setElementOrder/spam": []})


def test_a_missing_merge_key() -> None:
    text = r"map: map\[image:x\] does not contain declared merge key: name"
    with pytest.raises(BadRequest, match=text):
        merged({"containers": named("a")}, {"containers": [{"image": "x"}]})


@pytest.mark.parametrize("value", [[1], "x", None, 3])
def test_the_patch_must_be_an_object(value: Any) -> None:
    with pytest.raises(BadRequest, match="error decoding patch"):
        merged({}, value)


@pytest.mark.parametrize(
    "patch",
    [
        {"securityContext": {"$patch": "spam"}},
        {"containers": [{"$patch": "spam", "name": "a"}]},
        {"containers": [{"$patch": "merge", "name": "a"}]},
        {"containers": [{"$patch": "delete"}]},
        {"containers": ["a"]},
        {"containers": [["a"]]},
        {"containers": [None]},
        {"$setElementOrder/containers": "a"},
        {"$setElementOrder/containers": ["a"]},
        {"$setElementOrder": []},
        {"$setElementOrder/containers": [], "containers": "x"},
        {"securityContext": {"$patch": ["replace"]}},
    ],
)
def test_nonsense_is_a_bad_request(patch: Obj) -> None:
    with pytest.raises(BadRequest):
        merged({"containers": named("a"), "securityContext": {"runAsUser": 1}}, patch)


def test_directives_below_what_is_new_are_not_stored() -> None:
    patch = {"affinity": {"$retainKeys": ["nodeAffinity"], "nodeAffinity": {"a": None}}, "containers": named("a")}
    assert merged({}, patch | {"$setElementOrder/containers": named("a")}) == {
        "affinity": {"nodeAffinity": {}},
        "containers": named("a"),
    }


def test_ports_with_one_number_and_two_protocols() -> None:
    """The merge key of Service ports is the number alone: the first one is meant, as in Kubernetes."""
    live = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    result = strategic_merge(live, {"ports": [{"port": 53, "nodePort": 30053}]}, type_=SERVICE_SPEC)
    assert result["ports"][0] == {"port": 53, "protocol": "UDP", "nodePort": 30053}


def test_inputs_stay() -> None:
    live: Obj = {"containers": [{"name": "a", "env": [{"name": "x", "value": "1"}]}]}
    patch: Obj = {"$setElementOrder/containers": named("a"), "containers": [{"name": "a", "env": [{"name": "y"}]}]}
    before = repr(live), repr(patch)
    merged(live, patch)
    assert (repr(live), repr(patch)) == before


def test_nothing_changes() -> None:
    live = {"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "nodeSelector": {"a": "1"}}
    assert merged(live, {"containers": [{"name": "b"}]}) == live
    assert merged(live, {"$setElementOrder/containers": named("a", "b")}) == live
    assert merged(live, {}) == live


def test_diff_of_a_rollout() -> None:
    live = {"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "hostname": "h"}
    target = {"containers": [{"name": "c"}, {"name": "a", "image": "y"}]}
    patch = strategic_diff(live, target, type_=POD_SPEC)
    assert patch == {
        "hostname": None,
        "$setElementOrder/containers": named("c", "a"),
        "containers": [{"name": "c"}, {"name": "a", "image": "y"}, {"$patch": "delete", "name": "b"}],
    }
    assert merged(live, patch) == target
