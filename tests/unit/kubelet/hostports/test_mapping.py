"""Which mappings a pod asks for."""

import pytest

from pybernetes.kubelet.hostports import PodPorts, PortMapping, mappings_of
from pybernetes.kubelet.runtime import RuntimeFailure
from support.kubelet import container, pod


def test_mappings_of_a_pod():
    web = container("web", ports=[{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}])
    dns = container("dns", ports=[{"containerPort": 53, "hostPort": 53, "hostIP": "FD00::0:1", "protocol": "UDP"}])
    side = container("side", restartPolicy="Always", ports=[{"containerPort": 9, "hostPort": 9, "protocol": "SCTP"}])
    init = container("init", ports=[{"containerPort": 7, "hostPort": 7}])
    assert mappings_of(pod("p", web, dns, initContainers=[init, side])) == (
        PortMapping(host_port=8080, container_port=80),
        PortMapping(protocol="UDP", host_ip="fd00::1", host_port=53, container_port=53),
        PortMapping(protocol="SCTP", host_port=9, container_port=9),
    )


def test_nothing_is_mapped_for_a_host_network_pod():
    web = container("web", ports=[{"containerPort": 80, "hostPort": 80}])
    assert mappings_of(pod("p", web, hostNetwork=True)) == ()


def test_a_host_ip_that_is_no_address():
    web = container("web", ports=[{"containerPort": 80, "hostPort": 8080, "hostIP": "here"}])
    with pytest.raises(RuntimeFailure, match="hostIP 'here' of hostPort 8080 is not an IP address"):
        mappings_of(pod("p", web))


@pytest.mark.parametrize(
    ("host_ip", "versions", "address", "loopback"),
    [
        ("", {4, 6}, "", True),
        ("0.0.0.0", {4}, "", True),
        ("::", {6}, "", False),
        ("127.0.0.1", {4}, "127.0.0.1", True),
        ("127.0.0.9", {4}, "127.0.0.9", True),
        ("192.0.2.1", {4}, "192.0.2.1", False),
        ("::1", {6}, "::1", False),
    ],
)
def test_where_a_mapping_is_open(host_ip, versions, address, loopback):
    one = PortMapping(host_ip=host_ip, host_port=1, container_port=1)
    assert {version for version in (4, 6) if one.is_for(version)} == versions
    assert (one.address, one.is_on_loopback) == (address, loopback)
    assert PodPorts(addresses=("10.0.0.1",), link="v", mappings=(one,)).is_on_loopback == loopback
    assert not PodPorts(addresses=("fd00::1",), link="v", mappings=(one,)).is_on_loopback
