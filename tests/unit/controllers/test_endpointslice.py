"""EndpointSlices, Endpoints and mirroring on a small cluster."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Obj, annotations_of, labels_of
from pybernetes.api.resources import ENDPOINT_SLICES, ENDPOINTS, EVENTS, NODES, PODS, SERVICES
from pybernetes.controllers.endpoints import OVER_CAPACITY, EndpointsController, subsets_of, truncated
from pybernetes.controllers.endpoints_of import WEIGHT
from pybernetes.controllers.endpointslice import MANAGER, EndpointSliceController
from pybernetes.controllers.mirroring import MirroringController
from pybernetes.controllers.slices import MANAGED_BY, SERVICE_NAME, WEIGHTS
from support.control_plane import Stage
from support.objects import meta, node, pod, service


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    found.kubelet.broken = lambda pod: True
    found.api.put(NODES, node("n1", labels={"topology.kubernetes.io/zone": "z1"}))
    services = [make(found.shared) for make in (EndpointSliceController, EndpointsController, MirroringController)]
    async with found.running(*services):
        yield found


def ready(stage: Stage, name: str = "web") -> list[str]:
    """Ready addresses in all slices of a service."""
    return sorted(
        endpoint["addresses"][0]
        for one in stage.api.of(ENDPOINT_SLICES)
        if labels_of(one)[SERVICE_NAME] == name
        for endpoint in one["endpoints"]
        if endpoint["conditions"]["ready"]
    )


def web(name: str, number: int, *, up: bool = True) -> Obj:
    return pod(name, node="n1", ip=f"10.0.0.{number}", ready=up, labels={"app": "web"})


async def test_endpoints_follow_the_pods(stage: Stage) -> None:
    api = stage.api
    api.put(SERVICES, service("web", selector={"app": "web"}))
    await api.until(lambda: len(api.of(ENDPOINT_SLICES)) == 1)
    api.put(PODS, web("a", 1))
    api.put(PODS, web("b", 2))
    await api.until(lambda: ready(stage) == ["10.0.0.1", "10.0.0.2"])
    api.put(PODS, web("a", 1, up=False))
    await api.until(lambda: ready(stage) == ["10.0.0.2"])
    api.edit(PODS, "b", "default", metadata={"labels": {"app": "other"}})
    await api.until(lambda: ready(stage) == [])
    api.put(PODS, web("a", 1))
    await api.until(lambda: ready(stage) == ["10.0.0.1"])
    api.drop(PODS, "a", "default")
    await api.until(lambda: ready(stage) == [])
    (one,) = api.of(ENDPOINT_SLICES)
    assert labels_of(one) == {SERVICE_NAME: "web", MANAGED_BY: MANAGER}
    assert api.asked("DELETE", "endpointslices") == []


async def test_the_slice_is_put_right_and_made_again(stage: Stage) -> None:
    api = stage.api
    api.put(PODS, web("a", 1))
    api.put(SERVICES, service("web", selector={"app": "web"}))
    await api.until(lambda: ready(stage) == ["10.0.0.1"])
    name = api.of(ENDPOINT_SLICES)[0]["metadata"]["name"]
    api.edit(ENDPOINT_SLICES, name, "default", endpoints=[])
    await api.until(lambda: ready(stage) == ["10.0.0.1"])
    api.drop(ENDPOINT_SLICES, name, "default")
    await api.until(lambda: ready(stage) == ["10.0.0.1"])


async def test_a_change_of_ports_and_of_the_zone(stage: Stage) -> None:
    api = stage.api
    api.put(PODS, web("a", 1))
    api.put(SERVICES, service("web", selector={"app": "web"}))
    await api.until(lambda: ready(stage) == ["10.0.0.1"])
    api.edit(SERVICES, "web", "default", spec={"ports": [{"name": "x", "port": 1, "protocol": "TCP"}]})
    await api.until(lambda: [p["name"] for one in api.of(ENDPOINT_SLICES) for p in one["ports"]] == ["x"])
    api.edit(NODES, "n1", metadata={"labels": {"topology.kubernetes.io/zone": "z2"}})
    await api.until(lambda: api.of(ENDPOINT_SLICES)[0]["endpoints"][0].get("zone") == "z2")


async def test_weights_of_pods_are_told_in_the_slices(stage: Stage) -> None:
    api = stage.api
    for name, number, weight in (("a", 1, "10"), ("b", 2, "100")):
        one = web(name, number)
        one["metadata"]["annotations"] = {WEIGHT: weight}
        api.put(PODS, one)
    api.put(SERVICES, service("web", selector={"app": "web"}))

    def told() -> str:
        return annotations_of(api.of(ENDPOINT_SLICES)[0]).get(WEIGHTS, "") if api.of(ENDPOINT_SLICES) else "-"

    await api.until(lambda: told() == '{"10.0.0.1":10}')
    api.edit(PODS, "a", "default", metadata={"annotations": {WEIGHT: "0"}})
    await api.until(lambda: told() == '{"10.0.0.1":0}')
    api.edit(PODS, "a", "default", metadata={"annotations": {WEIGHT: "many"}})
    await api.until(lambda: told() == "")
    await api.until(lambda: any(one["reason"] == "InvalidWeight" for one in api.of(EVENTS)))


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        ("PreferClose", {"forZones": [{"name": "z1"}]}),
        ("PreferSameZone", {"forZones": [{"name": "z1"}]}),
        ("PreferSameNode", {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}),
    ],
)
async def test_hints_follow_the_traffic_distribution(stage: Stage, distribution: str, hints: Obj) -> None:
    api = stage.api
    api.put(PODS, web("a", 1))
    api.put(PODS, web("b", 2, up=False))
    api.put(SERVICES, service("web", selector={"app": "web"}))

    def told() -> dict[str, Obj]:
        slices = api.of(ENDPOINT_SLICES)
        return {each["addresses"][0]: each.get("hints") or {} for one in slices for each in one["endpoints"]}

    await api.until(lambda: told() == {"10.0.0.1": {}, "10.0.0.2": {}})
    api.edit(SERVICES, "web", "default", spec={"trafficDistribution": distribution})
    await api.until(lambda: told() == {"10.0.0.1": hints, "10.0.0.2": {}})
    api.edit(SERVICES, "web", "default", spec={"trafficDistribution": None})
    await api.until(lambda: told() == {"10.0.0.1": {}, "10.0.0.2": {}})


async def test_250_pods_fill_three_slices_and_the_endpoints_say_the_same(stage: Stage) -> None:
    api = stage.api
    for number in range(250):
        api.put(PODS, web(f"p{number}", number))
    api.put(SERVICES, service("web", selector={"app": "web"}))
    await api.until(lambda: len(ready(stage)) == 250)
    assert sorted(len(one["endpoints"]) for one in api.of(ENDPOINT_SLICES)) == [50, 100, 100]
    await api.until(lambda: bool(api.of(ENDPOINTS)))
    (subset,) = api.one(ENDPOINTS, "web", "default")["subsets"]
    assert len(subset["addresses"]) == 250
    writes = len(api.asked("PUT")) + len(api.asked("POST"))
    api.drop(PODS, "p7", "default")
    await api.until(lambda: len(ready(stage)) == 249)
    await api.until(lambda: len(api.one(ENDPOINTS, "web", "default")["subsets"][0]["addresses"]) == 249)
    assert len(api.asked("PUT")) + len(api.asked("POST")) == writes + 2


async def test_endpoints_of_the_classic_kind(stage: Stage) -> None:
    api = stage.api
    api.put(SERVICES, service("web", selector={"app": "web"}))
    api.put(PODS, web("a", 1))
    api.put(PODS, web("b", 2, up=False))

    def told() -> bool:
        found = api.objects.get(("endpoints", "default", "web"), {}).get("subsets") or [{}]
        return bool(found[0].get("addresses")) and bool(found[0].get("notReadyAddresses"))

    await api.until(told)
    endpoints = api.one(ENDPOINTS, "web", "default")
    (subset,) = endpoints["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
    assert subset["addresses"][0]["nodeName"] == "n1"
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert labels_of(endpoints)["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"
    api.drop(SERVICES, "web", "default")
    await api.until(lambda: not api.of(ENDPOINTS))


def test_subsets_with_ports_that_differ_by_pod() -> None:
    svc = service("web", ports=[{"name": "a", "port": 80, "targetPort": "x", "protocol": "TCP"},
                                {"name": "b", "port": 81, "targetPort": 9, "protocol": "TCP"}])  # fmt: skip
    one = pod("one", ip="10.0.0.1", ready=True, ports=[{"name": "x", "containerPort": 1}])
    two = pod("two", ip="10.0.0.2", ready=True)
    found = [
        (sorted(a["ip"] for a in s["addresses"]), [p["port"] for p in s["ports"]]) for s in subsets_of(svc, [one, two])
    ]
    assert sorted(found) == [(["10.0.0.1"], [1]), (["10.0.0.1", "10.0.0.2"], [9])]


def test_a_headless_service_without_ports_has_addresses() -> None:
    svc = service("db", ports=[], clusterIP="None")
    (subset,) = subsets_of(svc, [pod("a", ip="10.0.0.1", ready=True)])
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
    assert "ports" not in subset


def test_beyond_a_thousand_addresses() -> None:
    pods = [pod(f"p{n}", ip=f"10.0.{n // 250}.{n % 250}", ready=n % 2 == 0) for n in range(1200)]
    subsets, cut = truncated(subsets_of(service("web"), pods))
    assert cut
    assert len(subsets[0]["addresses"]) == 600
    assert len(subsets[0]["notReadyAddresses"]) == 400
    assert OVER_CAPACITY.endswith("over-capacity")


async def test_handwritten_endpoints_are_mirrored(stage: Stage) -> None:
    api = stage.api
    api.put(SERVICES, service("ext"))
    subset = {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    endpoints = {"metadata": meta("ext", "default", labels={"a": "b"}, annotations={"k": "v"}), "subsets": [subset]}
    api.put(ENDPOINTS, endpoints)
    await api.until(lambda: ready(stage, "ext") == ["192.0.2.1"])
    (one,) = api.of(ENDPOINT_SLICES)
    assert labels_of(one) == {
        "a": "b", SERVICE_NAME: "ext", MANAGED_BY: "endpointslicemirroring-controller.k8s.io",
    }  # fmt: skip
    assert annotations_of(one) == {"k": "v"}
    assert one["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"
    api.edit(ENDPOINTS, "ext", "default", subsets=[subset | {"addresses": [{"ip": "192.0.2.2"}]}])
    await api.until(lambda: ready(stage, "ext") == ["192.0.2.2"])
    api.edit(ENDPOINTS, "ext", "default", subsets=[subset | {"addresses": [{"ip": "2001:DB8::1"}]}])
    await api.until(lambda: ready(stage, "ext") == ["2001:db8::1"])
    api.edit(ENDPOINTS, "ext", "default", metadata={"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}})
    await api.until(lambda: not api.of(ENDPOINT_SLICES))
