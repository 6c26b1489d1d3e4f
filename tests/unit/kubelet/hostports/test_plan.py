"""From pods to elements and operations, and the connections that a change leaves behind."""

from ipaddress import ip_address

from pybernetes.kubelet.hostports.layout import Layout
from pybernetes.kubelet.hostports.mapping import PodPorts, PortMapping
from pybernetes.kubelet.hostports.plan import NONE, changes, elements, is_empty, replacement, stale
from pybernetes.netlink.conntrack import SCTP, UDP, Match
from pybernetes.netlink.nft import AddElements, AddTable, DeleteElements, DeleteTable


def mapping(host_port=80, container_port=8080, **fields):
    return PortMapping(host_port=host_port, container_port=container_port, **fields)


def pod(number, *mappings):
    return PodPorts(addresses=(f"10.244.1.{number}", f"fd00::{number}"), link=f"veth{number}", mappings=mappings)


def target(address, port):
    return ip_address(address).packed + port.to_bytes(2, "big") + b"\0\0"


TCP_80 = b"\x06\0\0\0" + b"\0\x50\0\0"
UDP_53 = b"\x11\0\0\0" + b"\0\x35\0\0"
HERE = bytes((192, 0, 2, 1))


def test_elements_of_both_versions():
    one = pod(2, mapping(), mapping(53, 5353, protocol="UDP", host_ip="192.0.2.1"))
    assert elements([one], 4) == {
        "ports": {TCP_80: target("10.244.1.2", 8080)},
        "addresses": {HERE + UDP_53: target("10.244.1.2", 5353)},
        "hairpin": {bytes((10, 244, 1, 2)) * 2: None},
    }
    assert elements([one], 6) == {
        "ports": {TCP_80: target("fd00::2", 8080)},
        "addresses": {},
        "hairpin": {ip_address("fd00::2").packed * 2: None},
    }


def test_a_pod_with_nothing_in_a_version_is_not_in_its_sets():
    assert is_empty(elements([pod(2, mapping(host_ip="0.0.0.0"))], 6))
    assert is_empty(elements([PodPorts(addresses=("10.0.0.1",), link="v", mappings=(mapping(),))], 6))
    assert elements([], 4) == NONE


def test_of_two_pods_with_one_port_the_later_has_it_and_the_earlier_when_that_goes():
    one, two = pod(2, mapping()), pod(3, mapping())
    assert elements([one, two], 4)["ports"] == {TCP_80: target("10.244.1.3", 8080)}
    assert elements([one], 4)["ports"] == {TCP_80: target("10.244.1.2", 8080)}


def test_changes_name_only_what_differs():
    one, two = elements([pod(2, mapping(), mapping(81))], 4), elements([pod(2, mapping(), mapping(82))], 4)
    keys = {name: b"\x06\0\0\0" + bytes((0, name, 0, 0)) for name in (81, 82)}
    data = target("10.244.1.2", 8080)
    assert changes(one, two) == [DeleteElements("ports", [keys[81]]), AddElements("ports", {keys[82]: data})]
    assert changes(one, one) == []
    three = elements([pod(3, mapping(), mapping(81))], 4)
    assert changes(one, three)[0] == DeleteElements("ports", [TCP_80, keys[81]])  # other data under a key: both


def test_an_empty_table_is_none():
    layout = Layout(4, owner="me")
    assert replacement(layout, NONE) == [AddTable(), DeleteTable()]
    wanted = elements([pod(2, mapping())], 4)
    made = replacement(layout, wanted)
    assert made == [AddTable(), DeleteTable(), *layout.skeleton(), *changes(NONE, wanted)]


def test_stale_connections():
    before = elements([pod(2, mapping(), mapping(53, 5353, protocol="UDP"), mapping(9, 9, protocol="SCTP"))], 4)
    after = elements([pod(3, mapping(), mapping(53, 5353, protocol="UDP", host_ip="192.0.2.1"))], 4)
    assert set(stale(before, after, 4)) == {
        Match(protocol=UDP, family=4, port=53, backend="10.244.1.2", backend_port=5353),
        Match(protocol=SCTP, family=4, port=9, backend="10.244.1.2", backend_port=9),
        Match(protocol=UDP, family=4, destination="192.0.2.1", port=53),  # those that met nothing, or somebody else
    }
    assert list(stale(after, after, 4)) == []
    six = elements([pod(2, mapping(53, 5353, protocol="UDP"))], 6)
    assert list(stale(NONE, six, 6)) == [Match(protocol=UDP, family=6, port=53)]
    assert list(stale(six, NONE, 6)) == [Match(protocol=UDP, family=6, port=53, backend="fd00::2", backend_port=5353)]
