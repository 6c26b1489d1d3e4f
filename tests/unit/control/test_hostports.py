"""Which ports of the node pods take, and when two want the same one."""

from itertools import combinations

import pytest

from pybernetes.control.hostports import HostPort, clashes, host_ports, taken


def test_ports_of_main_containers_and_sidecars_only():
    sidecar = {
        "name": "s",
        "restartPolicy": "Always",
        "ports": [{"containerPort": 2, "hostPort": 20, "protocol": "UDP"}],
    }
    init = {"name": "i", "ports": [{"containerPort": 3, "hostPort": 30}]}
    main = {"name": "m", "ports": [{"containerPort": 1, "hostPort": 10, "hostIP": "10.0.0.1"}, {"containerPort": 4}]}
    found = list(host_ports({"spec": {"initContainers": [init, sidecar], "containers": [main]}}))
    assert found == [HostPort("10.0.0.1", "TCP", 10), HostPort("0.0.0.0", "UDP", 20)]


def test_container_ports_of_a_host_network_pod_are_host_ports():
    pod = {"spec": {"hostNetwork": True, "containers": [{"name": "m", "ports": [{"containerPort": 80}]}]}}
    assert list(host_ports(pod)) == [HostPort("0.0.0.0", "TCP", 80)]


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_all_addresses_clash_with_each(everywhere):
    for other in ("0.0.0.0", "::", "127.0.0.1", "fd00::1"):
        assert clashes(HostPort(everywhere, "TCP", 80), HostPort(other, "TCP", 80))
        assert clashes(HostPort(other, "TCP", 80), HostPort(everywhere, "TCP", 80))


def test_another_address_protocol_or_port_does_not():
    ports = [
        HostPort("127.0.0.1", "TCP", 80),
        HostPort("10.0.0.1", "TCP", 80),
        HostPort("10.0.0.1", "UDP", 80),
        HostPort("10.0.0.1", "SCTP", 80),
        HostPort("0.0.0.0", "TCP", 81),
    ]
    for one, other in combinations(ports, 2):
        assert not clashes(one, other)
        assert clashes(one, one)
    assert not taken(ports[:2], ports[2:])
    assert taken(ports[:2], ports[1:])
