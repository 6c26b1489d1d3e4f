"""Cluster IPs and node ports: given, chosen, refused, given back."""

import random
from typing import Any

import pytest

from pybernetes.api.errors import InternalError, Invalid
from pybernetes.apiserver.allocate import Allocator


def allocator(*ranges: str, ports: tuple[int, int] = (30000, 30010)) -> Allocator:
    return Allocator(ranges or ("10.96.0.0/24",), ports, rng=random.Random(1))


def service(kind: str = "ClusterIP", *ports: int, **spec: Any) -> dict[str, Any]:
    found = [{"port": 80 + index, "protocol": "TCP"} | ({"nodePort": n} if n else {}) for index, n in enumerate(ports)]
    return {"metadata": {"name": "s"}, "spec": {"type": kind, "ports": found, **spec}}


def test_an_address_is_chosen_above_the_part_kept_for_hands() -> None:
    found = service()
    allocator().claim("a", found, None)
    spec = found["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ipFamilies"] == ["IPv4"]
    assert spec["ipFamilyPolicy"] == "SingleStack"
    assert int(spec["clusterIP"].rpartition(".")[2]) > 16


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("10.96.0.9", "failed to allocate IP 10.96.0.9: provided IP is already allocated"),
        (
            "10.97.0.1",
            "the provided IP \\(10.97.0.1\\) is not in the valid range. The range of valid IPs is 10.96.0.0/24",
        ),
        ("10.96.0.0", "is not in the valid range"),
        ("10.96.0.255", "is not in the valid range"),
    ],
)
def test_addresses_that_cannot_be_had(address: str, text: str) -> None:
    pool = allocator()
    pool.claim("a", service(clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"]), None)
    with pytest.raises(Invalid, match=text):
        pool.claim("b", service(clusterIP=address, clusterIPs=[address]), None)


def test_what_a_failed_write_took_is_given_back() -> None:
    pool = allocator()
    found = service("NodePort", 30001)
    pool.claim("a", found, None)
    pool.settle("a", None)
    pool.claim("b", service("NodePort", 30001, clusterIP=found["spec"]["clusterIP"]), None)


def test_a_refused_claim_takes_nothing() -> None:
    pool = allocator()
    with pytest.raises(Invalid):
        pool.claim("a", service("NodePort", 30001, 80), None)
    pool.claim("b", service("NodePort", 30001), None)


def test_node_ports() -> None:
    pool = allocator()
    found = service("NodePort", 0, 0)
    pool.claim("a", found, None)
    chosen = [port["nodePort"] for port in found["spec"]["ports"]]
    assert len(set(chosen)) == 2
    assert all(30000 <= port <= 30010 for port in chosen)
    with pytest.raises(Invalid, match="provided port is already allocated"):
        pool.claim("b", service("NodePort", chosen[0]), None)
    with pytest.raises(Invalid, match="The range of valid ports is 30000-30010"):
        pool.claim("b", service("NodePort", 80), None)


def test_one_port_for_both_protocols() -> None:
    found = service("NodePort", 30005)
    found["spec"]["ports"].append({"port": 80, "protocol": "UDP"})
    allocator().claim("a", found, None)
    assert [port["nodePort"] for port in found["spec"]["ports"]] == [30005, 30005]


def test_all_can_be_had_and_then_none() -> None:
    pool = allocator("10.96.0.0/29", ports=(30000, 30002))
    for number in range(6):
        pool.claim(str(number), service(), None)
    with pytest.raises(InternalError, match="range is full"):
        pool.claim("x", service(), None)
    for number in range(3):
        pool.claim(str(number), service("NodePort", 0, clusterIP="None", clusterIPs=["None"]), None)
    with pytest.raises(InternalError, match="range is full"):
        pool.claim("y", service("NodePort", 0, clusterIP="None", clusterIPs=["None"]), None)


def test_dual_stack() -> None:
    found = service(ipFamilyPolicy="PreferDualStack")
    allocator("10.96.0.0/24", "fd00::/112").claim("a", found, None)
    assert found["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert found["spec"]["clusterIPs"][1].startswith("fd00::")


def test_no_address_for_headless_and_external_names() -> None:
    headless = service(clusterIP="None", selector={"a": "b"})
    allocator().claim("a", headless, None)
    assert headless["spec"]["clusterIPs"] == ["None"]
    name = service("ExternalName")
    allocator().claim("b", name, None)
    assert "clusterIP" not in name["spec"]


def test_health_check_port() -> None:
    found = service("LoadBalancer", 0, externalTrafficPolicy="Local")
    allocator().claim("a", found, None)
    assert found["spec"]["healthCheckNodePort"] != found["spec"]["ports"][0]["nodePort"]


def test_a_second_family_comes_later() -> None:
    pool = allocator("10.96.0.0/24", "fd00::/112")
    found = service()
    pool.claim("a", found, None)
    first = found["spec"]["clusterIP"]
    wanted = service(**{key: value for key, value in found["spec"].items() if key not in ("type", "ports")})
    wanted["spec"]["ipFamilyPolicy"] = "RequireDualStack"
    pool.claim("a", wanted, found)
    assert wanted["spec"]["clusterIPs"][0] == first
    assert len(wanted["spec"]["clusterIPs"]) == 2


def test_a_family_without_a_range() -> None:
    with pytest.raises(Invalid, match=r"spec.ipFamilies\[0\]: Invalid value: \"IPv6\": not configured on this cluster"):
        allocator().claim("a", service(ipFamilies=["IPv6"]), None)
