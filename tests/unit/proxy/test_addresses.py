"""Which addresses of a node have its node ports."""

import pytest

from pybernetes.proxy import BadAddresses, ProxyConfig
from pybernetes.proxy.addresses import checked, primary_addresses, selected
from pybernetes.proxy.tracker import slim_node

OWN = ("172.30.0.11", "10.9.0.1", "fd00:30::11")


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ((), OWN),
        (("172.30.0.0/24",), OWN[:1]),
        (("172.30.0.7/24", "fd00::/8"), (OWN[0], OWN[2])),
        (("0.0.0.0/0",), OWN[:2]),
        (("192.0.2.0/24",), ()),
    ],
)
def test_ranges_select_own_addresses(ranges: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert selected(ranges, own=OWN) == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("primary", "10.0.0.0/8"), "exclude each other"),
        (("10.0.0.0",), "'10.0.0.0' is neither a CIDR"),
        (("10.0.0.0/33",), "neither a CIDR"),
        (("Primary",), "neither a CIDR"),
    ],
)
def test_what_selects_nothing_sensible_is_refused(wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadAddresses, match=message):
        checked(wanted)
    with pytest.raises(BadAddresses, match=message):
        ProxyConfig(node_name="n", node_port_addresses=wanted)


def test_primary_addresses_are_the_first_internal_ones_of_each_family() -> None:
    listed = [
        ("Hostname", "n"),
        ("ExternalIP", "203.0.113.1"),
        ("ExternalIP", "2001:db8::0:1"),
        ("InternalIP", "not an address"),
        ("InternalIP", "172.30.0.11"),
        ("InternalIP", "172.30.0.12"),
    ]
    addresses = [{"type": kind, "address": address} for kind, address in listed]
    node = slim_node({"metadata": {"name": "n"}, "status": {"addresses": addresses}})
    assert primary_addresses(node) == ("172.30.0.11", "2001:db8::1")
    assert primary_addresses(slim_node({"metadata": {"name": "n"}})) == ()
    assert primary_addresses(None) == ()
