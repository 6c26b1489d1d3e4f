import pytest

from support.admitted import accepted, admit


def endpoint_slice(**fields):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    } | fields


def endpoints(*subsets):
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": list(subsets)}


def test_a_port_always_has_a_name_and_a_protocol():
    found = accepted(endpoint_slice())
    assert found["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert found["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {}}]


def test_lists_are_there_even_when_nothing_was_sent():
    found = accepted(endpoint_slice(endpoints=None, ports=None))
    assert found["endpoints"] == found["ports"] == []


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"addressType": ""}, ["addressType"]),
        ({"addressType": "IPX"}, ["addressType"]),
        ({"endpoints": [{"addresses": []}]}, ["endpoints[0].addresses"]),
        ({"endpoints": [{"addresses": ["fd00::1"]}]}, ["endpoints[0].addresses"]),
        ({"endpoints": [{"addresses": ["127.0.0.1"]}]}, ["endpoints[0].addresses[0]"]),
        ({"endpoints": [{"addresses": ["169.254.1.1"]}]}, ["endpoints[0].addresses[0]"]),
        ({"endpoints": [{"addresses": ["10.0.0.1"], "hostname": "A"}]}, ["endpoints[0].hostname"]),
        ({"ports": [{"port": 1}, {"port": 2}]}, ["ports[1].name"]),
        ({"ports": [{"port": 0}]}, ["ports[0].port"]),
        ({"ports": [{"protocol": "X"}]}, ["ports[0].protocol"]),
        ({"ports": [{"name": "A"}]}, ["ports[0].name"]),
        ({"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001}, ["endpoints"]),
    ],
)
def test_slices(fields, wrong):
    assert admit(endpoint_slice(**fields)).fields == wrong


def test_ipv6_slices():
    found = endpoint_slice(addressType="IPv6", endpoints=[{"addresses": ["fd00::1"]}])
    assert admit(found).fields == []


def test_the_family_of_a_slice_stays():
    old = accepted(endpoint_slice())
    new = endpoint_slice(addressType="FQDN", endpoints=[{"addresses": ["a.b"]}])
    assert admit(new, old).fields == ["addressType"]


def test_a_slice_has_a_generation():
    old = accepted(endpoint_slice())
    new = accepted(endpoint_slice(endpoints=[]), old)
    assert (old["metadata"]["generation"], new["metadata"]["generation"]) == (1, 2)


def test_endpoints_default_the_protocol():
    found = accepted(endpoints({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}))
    assert found["subsets"][0]["ports"] == [{"port": 1, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("subset", "wrong"),
    [
        ({}, ["subsets[0]"]),
        ({"addresses": [{"ip": "x"}]}, ["subsets[0].addresses[0].ip"]),
        ({"notReadyAddresses": [{"ip": "127.0.0.1"}]}, ["subsets[0].notReadyAddresses[0].ip"]),
        (
            {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 0}, {"port": 2, "name": "b"}]},
            ["subsets[0].ports[0].name", "subsets[0].ports[0].port"],
        ),
    ],
)
def test_endpoints(subset, wrong):
    assert admit(endpoints(subset)).fields == wrong
