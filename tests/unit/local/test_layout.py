from ipaddress import ip_network

import pytest

from pybernetes.local.layout import SLOTS, Wanted, conflicts, layout_at, problems

WANTED = Wanted(name="demo")


def test_the_first_slot_has_the_usual_ranges():
    layout = layout_at(WANTED, 0)
    assert (layout.pod_range, layout.service_range) == ("10.244.0.0/16", "10.96.0.0/16")
    assert (layout.dns_addresses, layout.gateways, layout.api_port) == (("10.96.0.10",), ("172.30.0.1",), 6443)


def test_of_both_families_ipv4_is_the_primary_one():
    layout = layout_at(Wanted(name="demo", ip_family="dual"), 1)
    assert layout.pod_range == "10.245.0.0/16,fd00:10:245::/56"
    assert layout.service_range == "10.97.0.0/16,fd00:10:97::/112"
    assert layout.dns_addresses == ("10.97.0.10", "fd00:10:97::a")
    assert layout.server_address == "172.30.1.1:6443"
    assert [layout.with_prefix(address) for address in layout.gateways] == ["172.30.1.1/24", "fd00:172:30:1::1/64"]
    node = layout.node("node-2")
    assert node.addresses == ("172.30.1.12", "fd00:172:30:1::c")
    assert node.pod_ranges == ("10.245.2.0/24", "fd00:10:245:2::/64")


def test_of_ipv6_alone():
    layout = layout_at(Wanted(name="demo", ip_family="ipv6"), 0)
    assert layout.ranges == ("fd00:172:30:0::/64", "fd00:10:244::/56", "fd00:10:96::/112")
    assert layout.server_address == "[fd00:172:30::1]:6443"
    assert layout.node("node-1").address == "fd00:172:30::b"


def test_nodes_have_addresses_and_pod_ranges_of_their_own():
    nodes = list(layout_at(WANTED, 1).nodes())
    assert [node.name for node in nodes] == ["node-1", "node-2", "node-3"]
    assert [node.address for node in nodes] == ["172.30.1.11", "172.30.1.12", "172.30.1.13"]
    assert [node.pod_ranges for node in nodes] == [("10.245.1.0/24",), ("10.245.2.0/24",), ("10.245.3.0/24",)]


def test_the_ranges_of_all_slots_are_disjoint():
    both = Wanted(name="demo", ip_family="dual")
    networks = [ip_network(r) for slot in range(SLOTS) for r in layout_at(both, slot).ranges]
    pairs = [(a, b) for i, a in enumerate(networks) for b in networks[i + 1 :] if a.version == b.version]
    assert not [(a, b) for a, b in pairs if a.overlaps(b)]


def test_links_of_all_slots_differ_and_fit_the_kernel():
    names = {layout_at(WANTED, slot).host_link for slot in range(SLOTS)}
    assert len(names) == SLOTS
    assert max(map(len, names)) <= 15


@pytest.mark.parametrize(
    ("used", "links", "found"),
    [
        ([("192.168.1.0/24", "link eth0")], ["eth0"], []),
        ([("0.0.0.0/0", "a route by eth0"), ("::/0", "a route by eth0")], [], []),
        ([("fd00::/64", "link eth0")], [], []),
        ([("10.244.7.0/24", "a route by cni0")], [],
         ["range 10.244.0.0/16 is in use: a route by cni0 has 10.244.7.0/24"]),
        ([("10.0.0.1/8", "link eth1")], [], [
            "range 10.244.0.0/16 is in use: link eth1 has 10.0.0.1/8",
            "range 10.96.0.0/16 is in use: link eth1 has 10.0.0.1/8",
        ]),
        ([], ["pyb0"], ["link pyb0 exists"]),
    ],
)  # fmt: skip
def test_conflicts_with_what_the_host_has(used, links, found):
    assert conflicts(layout_at(WANTED, 0), used, links) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (WANTED, []),
        (Wanted(name="x", size=0), ["--nodes: 0 is not between 1 and 200"]),
        (Wanted(name="x", pod_range="10.1.0.0/24"),
         ["--pod-range: 10.1.0.0/24 is too small, a /16 or wider is needed"]),
        (Wanted(name="x", pod_range="10.1.0.0/16", service_range="10.1.9.0/24"),
         ["--pod-range 10.1.0.0/16 and --service-range 10.1.9.0/24 overlap"]),
        (Wanted(name="x", ip_family="dual", pod_range="10.1.0.0/16,fd01::/56"), []),
        (Wanted(name="x", ip_family="dual", pod_range="10.1.0.0/16"),
         ["--pod-range: 10.1.0.0/16 is not one range of IPv4 and IPv6, in this order, separated by a comma"]),
        (Wanted(name="x", ip_family="ipv6", service_range="10.1.0.0/16"),
         ["--service-range: 10.1.0.0/16 is not one range of IPv6, in this order, separated by a comma"]),
        (Wanted(name="x", ip_family="ipv6", pod_range="fd01::/64"),
         ["--pod-range: fd01::/64 is too small, a /56 or wider is needed"]),
        (Wanted(name="x", ip_family="dual", pod_range="10.1.0.0/16,fd01::/56", service_range="10.2.0.0/16,fd01::/112"),
         ["--pod-range fd01::/56 and --service-range fd01::/112 overlap"]),
        (Wanted(name="x", ip_family="six"), ["--ip-family: 'six' is not one of ipv4, ipv6, dual"]),
    ],
)  # fmt: skip
def test_problems_of_the_wishes(wanted, found):
    assert problems(wanted) == found


def test_a_range_that_is_none_is_named():
    (text,) = problems(Wanted(name="x", pod_range="10.244.0.1/16"))
    assert text.startswith("--pod-range: ")


def test_unknown_nodes_are_refused_with_the_names_there_are():
    with pytest.raises(LookupError, match="node-1, node-2, node-3"):
        layout_at(WANTED, 0).node("node-9")
