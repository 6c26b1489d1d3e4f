"""Which endpoints follow from pods."""

import pytest

from pybernetes.api.objects import Key, Obj
from pybernetes.controllers.endpoints_of import (
    WEIGHT,
    Triggers,
    address_types,
    changed_for_endpoints,
    groups_of,
    ports_of,
    weights_of,
)
from pybernetes.controllers.slices import Group, group_of
from support.objects import pod, service


def groups(svc: Obj, *pods: Obj, zone: str = "") -> dict[Group, list[Obj]]:
    found = groups_of(svc, pods, zone_of=lambda node: zone)
    return {group: list(endpoints.values()) for group, endpoints in found.items()}


@pytest.mark.parametrize(
    ("text", "weight"),
    [("0", 0), ("007", 7), ("99", 99), ("100", None)]
    + [(text, "wrong") for text in ("101", "", "-1", "\u00b2", "9" * 5000)],
)
def test_weights(text: str, weight: int | str | None) -> None:
    one = pod("a")
    one["metadata"]["annotations"] = {WEIGHT: text}
    weights, wrong = weights_of([one])
    assert weights == ({one["metadata"]["uid"]: weight} if isinstance(weight, int) else {})
    assert wrong == ({"a": text} if weight == "wrong" else {})


def deleting(one: Obj) -> Obj:
    return one | {"metadata": one["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


def test_one_ready_pod() -> None:
    web = pod("a", node="n1", ip="10.0.0.1", ready=True)
    ((group, endpoints),) = groups(service("web"), web, zone="z1").items()
    assert group == group_of("IPv4", [{"name": "http", "port": 8080, "protocol": "TCP"}])
    assert endpoints == [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": web["metadata"]["uid"]},
            "nodeName": "n1",
            "zone": "z1",
        }
    ]


@pytest.mark.parametrize(
    ("ready", "leaving", "publish", "expected"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, True, False, (False, False, True)),
        (False, False, True, (True, False, False)),
        (True, True, True, (True, True, True)),
    ],
)
def test_conditions(ready: bool, leaving: bool, publish: bool, expected: tuple[bool, bool, bool]) -> None:
    one = pod("a", ip="10.0.0.1", ready=ready)
    svc = service("web", **({"publishNotReadyAddresses": True} if publish else {}))
    ((endpoint,),) = groups(svc, deleting(one) if leaving else one).values()
    conditions = endpoint["conditions"]
    assert (conditions["ready"], conditions["serving"], conditions["terminating"]) == expected


def test_pods_without_address_or_at_their_end_are_none() -> None:
    found = groups(service("web"), pod("a", ready=True), pod("b", ip="10.0.0.2", phase="Succeeded"))
    assert found == {group_of("IPv4", ()): []}


def test_a_named_port_is_resolved_pod_by_pod() -> None:
    svc = service("web", ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])
    one = pod("a", ip="10.0.0.1", ports=[{"name": "web", "containerPort": 8080}])
    two = pod("b", ip="10.0.0.2", ports=[{"name": "web", "containerPort": 9090}])
    none = pod("c", ip="10.0.0.3")
    found = groups(svc, one, two, none)
    assert {group.port_objects[0]["port"] if group.ports else 0: len(e) for group, e in found.items()} == {
        8080: 1, 9090: 1, 0: 1,
    }  # fmt: skip


def test_several_ports_and_protocols() -> None:
    ports = [
        {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 5353, "protocol": "TCP", "appProtocol": "x"},
        {"name": "same", "port": 9, "protocol": "TCP"},
    ]
    assert ports_of(service("dns", ports=ports), pod("a")) == [
        {"name": "dns", "port": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 5353, "protocol": "TCP", "appProtocol": "x"},
        {"name": "same", "port": 9, "protocol": "TCP"},
    ]


def test_hostname_only_under_its_own_subdomain() -> None:
    svc = service("db", clusterIP="None")
    ((endpoint,),) = groups(svc, pod("a", ip="10.0.0.1", hostname="db-0", subdomain="db")).values()
    assert endpoint["hostname"] == "db-0"
    ((endpoint,),) = groups(svc, pod("a", ip="10.0.0.1", hostname="db-0", subdomain="other")).values()
    assert "hostname" not in endpoint


def test_dual_stack_is_a_group_for_each_family() -> None:
    svc = service("web", ipFamilies=["IPv4", "IPv6"])
    one = pod("a", ip="10.0.0.1", ready=True)
    one["status"]["podIPs"].append({"ip": "FD00:0::1"})  # as slices may not have it
    found = {group.address_type: e[0]["addresses"] for group, e in groups(svc, one).items()}
    assert found == {"IPv4": ["10.0.0.1"], "IPv6": ["fd00::1"]}


def test_families_of_a_service_that_names_none() -> None:
    bare = service("web", ipFamilies=[], clusterIP="None")
    assert address_types(bare, [pod("a", ip="fd00::1")]) == ["IPv6"]
    assert address_types(bare, []) == ["IPv4"]
    assert address_types(service("web", ipFamilies=[], clusterIP="fd00::9"), []) == ["IPv6"]


def test_trigger_times() -> None:
    triggers, key, svc = Triggers(), Key("default", "web"), service("web")
    one = pod("a", since="2026-01-01T00:00:05Z")
    assert triggers.first_change(key, svc, [one]) == "2026-01-01T00:00:00Z"
    assert triggers.first_change(key, svc, [one]) == ""
    two = pod("b", since="2026-01-01T00:00:09Z")
    later = one | {"status": pod("x", since="2026-01-01T00:00:07Z")["status"]}
    assert triggers.first_change(key, svc, [later, two]) == "2026-01-01T00:00:07Z"


def test_only_what_matters_counts_as_a_change() -> None:
    one = pod("a", ip="10.0.0.1", ready=True)
    restarted = one | {"status": one["status"] | {"containerStatuses": [{"restartCount": 1}]}}
    assert not changed_for_endpoints(one, restarted)
    assert changed_for_endpoints(one, deleting(one))
    assert changed_for_endpoints(one, one | {"status": pod("x", ip="10.0.0.1")["status"]})
