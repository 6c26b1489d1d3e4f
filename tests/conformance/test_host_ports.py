"""Ports of the node that lead to pods, asked of real pods on two nodes."""

import json

import pytest

from support.town import Town, on, pod, server, service

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

PORT = 54323
CALLERS = [
    pod("e2e-host-exec", spec={"nodeName": "node-1", "hostNetwork": True}),
    pod("caller-2", spec=on("node-2")),
]

# As curl --interface: from that address.
FROM = """
import socket, sys
with socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=30, source_address=(sys.argv[1], 0)) as one:
    print(one.recv(2000).decode().split()[0])
"""


@pytest.fixture(scope="module")
def town(cluster, namespace):
    found = Town(cluster, namespace)
    found.apply(*CALLERS)
    found.ready("e2e-host-exec", "caller-2")
    return found


@pytest.fixture(scope="module")
def host_ip(cluster):
    addresses = cluster.get("node", "node-1")["status"]["addresses"]
    return next(each["address"] for each in addresses if each["type"] == "InternalIP")


def with_port(name, number=PORT, *, host_ip="", protocol="TCP", container_port=8080, **spec):
    port = {"containerPort": container_port, "hostPort": number, "protocol": protocol}
    listens = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    made = server(name, "tcp:8080", "udp:8080", labels={"app": name}, spec=spec, readinessProbe=listens)
    made["spec"]["containers"][0]["ports"] = [port | ({"hostIP": host_ip} if host_ip else {})]
    return made


def answers(town, address, number, *, caller, kind="tcp"):
    """Who answers: the pod's name, or the error's."""
    (found,) = town.call(address, number, caller=caller, kind=kind)
    return found.split()[0]


def test_should_have_no_conflict_between_pods_with_same_host_port_but_different_host_ip_and_protocol(town, host_ip):
    pods = [
        with_port("pod1", host_ip="127.0.0.1", nodeName="node-1"),
        with_port("pod2", host_ip=host_ip, nodeName="node-1"),
        with_port("pod3", host_ip=host_ip, protocol="UDP", nodeName="node-1"),
    ]
    town.apply(*pods)
    town.ready("pod1", "pod2", "pod3")
    assert town.python("e2e-host-exec", FROM, host_ip, "127.0.0.1", str(PORT)).strip() == "pod1"
    for caller in ("e2e-host-exec", "caller-2"):
        assert answers(town, host_ip, PORT, caller=caller) == "pod2"
        assert answers(town, host_ip, PORT, caller=caller, kind="udp") == "pod3"
    assert answers(town, "127.0.0.1", PORT, caller="e2e-host-exec") == "pod1"
    assert answers(town, "127.0.0.1", PORT, caller="e2e-host-exec", kind="udp") == "ConnectionRefusedError"
    assert answers(town, host_ip, PORT, caller="pod2") == "pod2"  # a pod reaches itself
    town.kubectl("delete", "pod", "pod1", "pod2", "pod3")
    assert answers(town, host_ip, PORT, caller="caller-2") == "ConnectionRefusedError"
    assert answers(town, "127.0.0.1", PORT, caller="e2e-host-exec") == "ConnectionRefusedError"


def test_a_taken_host_port_is_refused_by_scheduler_and_kubelet(town):
    town.apply(with_port("holder", 54324, **on("node-1")))
    town.ready("holder")
    town.apply(with_port("late", 54324, **on("node-1")), with_port("forced", 54324, nodeName="node-1"))
    town.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/forced", "--timeout=100s")
    words = "node(s) didn't have free ports for the requested pod ports"
    status = town.get("pod", "forced")["status"]
    assert (status["reason"], status["message"]) == (
        "NodePorts",
        f"Pod was rejected: Predicate NodePorts failed: {words}",
    )
    town.kubectl("wait", "--for=condition=PodScheduled=False", "pod/late", "--timeout=100s")
    town.cluster.until(
        lambda: f"1 {words}" in json.dumps(town.get("events", "--field-selector", "involvedObject.name=late")),
        what="the scheduler says why",
    )
    town.kubectl("delete", "pod", "holder", "forced")
    town.ready("late")  # the port is free


def test_a_host_port_goes_before_a_node_port(town, host_ip):
    number = 32123
    ports = {"port": 80, "targetPort": 8080, "nodePort": number}
    town.apply(
        with_port("behind", 54325, **on("node-2")), service("web", ports, selector={"app": "behind"}, type="NodePort")
    )
    town.ready("behind")
    town.cluster.until(
        lambda: answers(town, host_ip, number, caller="caller-2") == "behind", what="the node port is open"
    )
    town.apply(with_port("before", number, **on("node-1")))
    town.ready("before")
    for caller in ("caller-2", "e2e-host-exec"):
        assert answers(town, host_ip, number, caller=caller) == "before"
    town.kubectl("delete", "pod", "before")
    assert answers(town, host_ip, number, caller="caller-2") == "behind"
