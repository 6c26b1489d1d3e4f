"""Server-side apply and managed fields, as KEP-555 tells them."""

from typing import Any

import pytest

from pybernetes.api.errors import BadRequest, Conflict
from pybernetes.api.objects import Obj, copied, encode
from pybernetes.api.patch import apply, json_patch, track
from pybernetes.api.schema import of_openapi, type_of

DEPLOYMENT = type_of("io.k8s.api.apps.v1.Deployment")
SERVICE = type_of("io.k8s.api.core.v1.Service")
CONFIG_MAP = type_of("io.k8s.api.core.v1.ConfigMap")
T0, T1, T2 = 1_000_000_000.0, 1_000_000_060.0, 1_000_000_120.0
S0, S1 = "2001-09-09T01:46:40Z", "2001-09-09T01:47:40Z"


def config_map(data: dict[str, str] | None = None, **metadata: Any) -> Obj:
    made: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"} | metadata}
    return made if data is None else made | {"data": data}


def deployment(**spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n"},
        "spec": spec,
    }


def containers(*items: Obj) -> Obj:
    return {"spec": {"containers": list(items)}}


def applied(live: Obj | None, config: Obj, manager: str = "one", **options: Any) -> Obj:
    type_ = {"Deployment": DEPLOYMENT, "Service": SERVICE, "ConfigMap": CONFIG_MAP}[config["kind"]]
    options = {"time": T0} | options
    return apply(live, config, manager=manager, api_version=config["apiVersion"], type_=type_, **options)


def updated(old: Obj | None, new: Obj, manager: str = "editor", **options: Any) -> Obj:
    type_ = {"Deployment": DEPLOYMENT, "Service": SERVICE, "ConfigMap": CONFIG_MAP}[new["kind"]]
    options = {"time": T0} | options
    return track(old, new, manager=manager, api_version=new["apiVersion"], type_=type_, **options)


def entries(obj: Obj) -> list[Obj]:
    found: list[Obj] = obj["metadata"].get("managedFields", [])
    return found


def owners(obj: Obj) -> list[tuple[str, str]]:
    return [(entry["manager"], entry["operation"]) for entry in entries(obj)]


def test_apply_creates() -> None:
    made = applied(None, config_map({"a": "1"}, labels={"x": "y"}))
    assert made == config_map({"a": "1"}, labels={"x": "y"}) | {"metadata": made["metadata"]}
    assert entries(made) == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": S0,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:x": {}}}},
        }
    ]


def test_lists_by_key_sets_and_atomic_values() -> None:
    web = {"name": "c", "image": "i", "args": ["x"], "ports": [{"containerPort": 80}]}
    made = applied(None, deployment(selector={"matchLabels": {"a": "b"}}, template=containers(web)))
    fields = entries(made)[0]["fieldsV1"]["f:spec"]
    assert fields["f:selector"] == {}
    assert fields["f:template"]["f:spec"]["f:containers"] == {
        'k:{"name":"c"}': {
            ".": {},
            "f:args": {},
            "f:image": {},
            "f:name": {},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
        }
    }
    made = applied(None, config_map(finalizers=["b/x", "a/x"]))
    assert entries(made)[0]["fieldsV1"] == {"f:metadata": {"f:finalizers": {'v:"a/x"': {}, 'v:"b/x"': {}}}}


def test_what_is_no_longer_applied_goes() -> None:
    made = applied(None, config_map({"a": "1", "b": "2"}, labels={"x": "y"}))
    made = applied(made, config_map({"a": "1"}), time=T1)
    assert made["data"] == {"a": "1"}
    assert "labels" not in made["metadata"]
    assert entries(made)[0]["fieldsV1"] == {"f:data": {"f:a": {}}}
    assert entries(made)[0]["time"] == S1


def test_the_last_field_of_a_map_takes_the_map_with_it() -> None:
    made = applied(applied(None, config_map({"a": "1"})), config_map())
    assert made["metadata"]["name"] == "c"
    assert "data" not in made


def test_what_somebody_else_owns_stays() -> None:
    made = applied(None, config_map({"a": "1", "b": "2"}))
    made = applied(made, config_map({"b": "2"}), manager="two")
    made = applied(made, config_map({"a": "1"}))
    assert made["data"] == {"a": "1", "b": "2"}
    made = applied(made, config_map({}), manager="two")
    assert made["data"] == {"a": "1"}


def test_what_nobody_applied_stays() -> None:
    made = applied(None, config_map({"a": "1"}))
    made = updated(made, made | {"data": {"a": "1", "z": "9"}})
    made = applied(made, config_map({"b": "2"}))
    assert made["data"] == {"b": "2", "z": "9"}


def test_elements_of_a_list_go_one_by_one() -> None:
    one, two = {"name": "a", "image": "x"}, {"name": "b", "image": "y"}
    made = applied(None, deployment(template=containers(one, two)))
    injected = copied(made)
    injected["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "s"})
    made = updated(made, injected, manager="injector")
    made = applied(made, deployment(template=containers(two | {"image": "z"})))
    assert made["spec"]["template"]["spec"]["containers"] == [two | {"image": "z"}, {"name": "sidecar", "image": "s"}]


def test_the_order_of_the_configuration_counts() -> None:
    a, b, c = ({"name": name, "image": "i"} for name in "abc")
    made = applied(None, deployment(template=containers(a, b)))
    made = applied(made, deployment(template=containers(c, b, a)))
    assert made["spec"]["template"]["spec"]["containers"] == [c, b, a]


def test_a_conflict() -> None:
    made = applied(None, deployment(replicas=1))
    scaled = updated(made, made | {"spec": {"replicas": 5}}, manager="kubectl-scale")
    assert owners(scaled) == [("kubectl-scale", "Update")]
    with pytest.raises(Conflict) as caught:
        applied(scaled, deployment(replicas=1))
    status = caught.value.status
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-scale" using apps/v1: .spec.replicas'
    )
    assert status["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-scale" using apps/v1',
            "field": ".spec.replicas",
        }
    ]


def test_conflicts_are_told_by_manager() -> None:
    made = applied(None, deployment(replicas=1, template=containers({"name": "a", "image": "x"})), manager="two")
    made = updated(made, made | {"spec": made["spec"] | {"paused": True}}, manager="status-writer")
    with pytest.raises(Conflict) as caught:
        applied(made, deployment(replicas=2, paused=False, template=containers({"name": "a", "image": "y"})))
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "status-writer" using apps/v1:\n- .spec.paused\n'
        'conflicts with "two":\n- .spec.replicas\n- .spec.template.spec.containers[name="a"].image'
    )


def test_force_takes_over() -> None:
    made = updated(None, deployment(replicas=5), manager="editor")
    made = applied(made, deployment(replicas=1), force=True)
    assert made["spec"]["replicas"] == 1
    assert owners(made) == [("one", "Apply")]


def test_the_same_value_is_owned_together() -> None:
    made = applied(applied(None, deployment(replicas=1)), deployment(replicas=1), manager="two")
    assert owners(made) == [("one", "Apply"), ("two", "Apply")]
    with pytest.raises(Conflict, match=r'conflict with "two": \.spec\.replicas'):
        applied(made, deployment(replicas=2))


def test_giving_up_a_field_leaves_it_to_the_other() -> None:
    made = applied(applied(None, deployment(replicas=1)), deployment(replicas=1), manager="two")
    made = applied(made, deployment())
    assert made["spec"]["replicas"] == 1
    assert [(entry["manager"], entry["fieldsV1"]) for entry in entries(made)] == [
        ("one", {"f:spec": {}}),
        ("two", {"f:spec": {"f:replicas": {}}}),
    ]


def test_nothing_changes_nothing() -> None:
    made = applied(None, deployment(replicas=1, template=containers({"name": "a"})))
    assert applied(made, deployment(replicas=1, template=containers({"name": "a"})), time=T2) == made
    assert updated(made, copied(made), manager="somebody", time=T2) == made


def test_inputs_stay() -> None:
    config, live = config_map({"a": "2"}), applied(None, config_map({"a": "1", "b": "1"}))
    before = encode([config, live])
    applied(live, config)
    updated(live, live | {"data": {}})
    assert encode([config, live]) == before


def test_an_object_without_managed_fields_was_written_by_somebody() -> None:
    live = config_map({"a": "1"}, uid="u")
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        applied(live, config_map({"a": "2"}))
    made = applied(live, config_map({"b": "2"}))
    assert owners(made) == [("one", "Apply"), ("before-first-apply", "Update")]
    assert made["data"] == {"a": "1", "b": "2"}


def test_kubectl_takes_over_from_client_side_apply() -> None:
    """The road of `kubectl apply --server-side` on an object that was client-side-applied before."""
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    plain = deployment(replicas=1)
    live = updated(
        None,
        plain | {"metadata": plain["metadata"] | {"annotations": {annotation: encode(plain).decode()}}},
        manager="kubectl-client-side-apply",
    )
    with pytest.raises(Conflict):
        applied(live, deployment(replicas=2), manager="other")
    made = applied(live, deployment(replicas=2), manager="kubectl")
    assert made["spec"]["replicas"] == 2
    assert '"replicas":2' in made["metadata"]["annotations"][annotation]
    scaled = updated(live, live | {"spec": {"replicas": 7}}, manager="kubectl-scale")
    with pytest.raises(Conflict, match=r'"kubectl-scale" using apps/v1: \.spec\.replicas'):
        applied(scaled, deployment(replicas=2), manager="kubectl")


def test_ordinary_writes() -> None:
    made = updated(None, config_map({"a": "1"}), manager="kubectl-create")
    assert entries(made) == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "v1",
            "time": S0,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}}},
        }
    ]
    made = updated(made, config_map({"a": "2", "b": "1"}), time=T1)
    assert [(entry["manager"], entry["fieldsV1"]) for entry in entries(made)] == [
        ("kubectl-create", {"f:data": {}}),
        ("editor", {"f:data": {"f:a": {}, "f:b": {}}}),
    ]
    made = updated(made, config_map(), time=T2)
    assert entries(made) == []


def test_a_subresource_has_an_entry_of_its_own_and_cannot_set_the_rest() -> None:
    made = updated(None, deployment(replicas=1), manager="creator")
    with_status = made | {"status": {"replicas": 1}, "spec": {"replicas": 9}}
    made = updated(made, with_status, manager="controller", subresource="status", time=T1)
    assert [(entry["manager"], entry.get("subresource"), entry["fieldsV1"]) for entry in entries(made)] == [
        ("creator", None, {"f:spec": {"f:replicas": {}}}),
        ("controller", "status", {"f:status": {".": {}, "f:replicas": {}}}),
    ]
    stale = updated(made, made | {"status": {}}, manager="creator")
    assert owners(stale) == [("creator", "Update"), ("controller", "Update")]


def test_managed_fields_can_be_edited_or_reset() -> None:
    made = applied(None, config_map({"a": "1"}))
    edited = json_patch(made, [{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "renamed"}])
    assert owners(updated(made, edited)) == [("renamed", "Apply")]
    for reset in ([], [{}]):
        again = made | {"metadata": made["metadata"] | {"managedFields": reset}}
        assert entries(updated(made, again)) == []
    dropped = config_map({"a": "1"})
    assert owners(updated(made, dropped)) == [("one", "Apply")]
    broken = config_map({"a": "1"}, managedFields=[{"manager": "x", "operation": "Spam"}])
    assert owners(updated(made, broken)) == [("one", "Apply")]


def test_old_updaters_become_one() -> None:
    made = updated(None, config_map({"k": "v"}), manager="first")
    for at in range(14):
        new = copied(made)
        new["data"][f"k{at}"] = "v"
        made = updated(made, new, manager=f"m{at:02}", time=T0 + at + 1)
    assert len(entries(made)) == 10
    assert owners(made)[0] == ("ancient-changes", "Update")
    owned = [field for entry in entries(made) for field in entry["fieldsV1"]["f:data"] if field != "."]
    assert sorted(owned) == sorted(f"f:{key}" for key in made["data"])


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (deployment(spam=1), ".spec.spam: field not declared in schema"),
        (
            deployment(template=containers({"image": "x"})),
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key field"
            ' "name" (and doesn\'t have default value)',
        ),
        (
            deployment(template=containers({"name": "a"}, {"name": "a"})),
            '.spec.template.spec.containers: duplicate entries for key [name="a"]',
        ),
    ],
)
def test_a_configuration_that_does_not_fit(config: Obj, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        applied(None, config)
    assert caught.value.message == (f"failed to create typed patch object (n/web; apps/v1, Kind=Deployment): {text}")


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(BadRequest, match=r"metadata.managedFields must be nil"):
        applied(None, config_map(managedFields=[{}]))
    with pytest.raises(BadRequest, match="Specified patch version: v2, expected: v1"):
        apply(None, config_map() | {"apiVersion": "v2"}, manager="m", api_version="v1", time=T0, type_=CONFIG_MAP)


def test_two_ports_of_one_number() -> None:
    service: Obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dns"}}
    udp, tcp = {"port": 53, "protocol": "UDP"}, {"port": 53, "name": "tcp"}
    made = applied(None, service | {"spec": {"ports": [udp, tcp]}})
    made = applied(made, service | {"spec": {"ports": [tcp]}})
    assert made["spec"]["ports"] == [tcp]


def test_a_custom_resource_and_one_without_a_schema() -> None:
    schema = of_openapi(
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            },
        },
        root=True,
    )
    config = {"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}}
    spec = {"hosts": ["a", "b"], "free": {"k": [1], "l": {"m": 1}}}
    made = apply(None, config | {"spec": spec}, manager="m", api_version="x.io/v1", time=T0, type_=schema)
    assert entries(made)[0]["fieldsV1"] == {
        "f:spec": {"f:free": {"f:k": {}, "f:l": {"f:m": {}}}, "f:hosts": {'v:"a"': {}, 'v:"b"': {}}}
    }
    made = apply(None, config | {"spec": spec}, manager="m", api_version="x.io/v1", time=T0, type_=None)
    assert entries(made)[0]["fieldsV1"] == {"f:spec": {"f:free": {"f:k": {}, "f:l": {"f:m": {}}}, "f:hosts": {}}}
