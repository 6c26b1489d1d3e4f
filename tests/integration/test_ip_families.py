"""Clusters of both IP families and of IPv6 alone: pods, Services, names; and names when a node's agent is gone."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import pytest

from pybernetes import local
from pybernetes.netlink import namespaces
from support.local import BIN, Local, leftovers

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: web}}
      containers:
      - {name: web, image: host, command: [python3, -m, http.server, "8000", --bind, "BIND"]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ipFamilyPolicy: PreferDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
"""
FETCH = """
import json, socket, urllib.request
found = {entry[4][0] for entry in socket.getaddrinfo("web", 80, type=socket.SOCK_STREAM)}
urls = [f"http://[{each}]/" if ":" in each else f"http://{each}/" for each in sorted(found)]
print(json.dumps([[url, urllib.request.urlopen(url, timeout=30).status] for url in urls]))
"""


@contextmanager
def cluster(name: str, root: Path, family: str) -> Iterator[Local]:
    made = Local(name, root)
    try:
        made.pybernetes("up", "--nodes", "2", "--ip-family", family)
        made.kubectl("apply", "-f", "-", text=WEB.replace("BIND", "::"))
        made.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
        yield made
    finally:
        layout = local.find(name, state_root=f"{root}/state")
        made.pybernetes("down", check=False)
    assert layout is not None
    assert leftovers(layout, root) == []


@pytest.fixture(scope="module")
def dual(tmp_path_factory) -> Iterator[Local]:
    with cluster("test-dual", tmp_path_factory.mktemp("dual"), "dual") as made:
        yield made


def versions(addresses) -> list[int]:
    return [6 if ":" in address else 4 for address in addresses]


def test_nodes_pods_and_services_have_addresses_of_both_families(dual):
    (first, _) = dual.get("nodes")["items"]
    assert versions(a["address"] for a in first["status"]["addresses"] if a["type"] == "InternalIP") == [4, 6]
    assert versions(first["spec"]["podCIDRs"]) == [4, 6]
    (pod, _) = dual.get("pods")["items"]
    assert versions(entry["ip"] for entry in pod["status"]["podIPs"]) == [4, 6]
    assert versions(entry["ip"] for entry in pod["status"]["hostIPs"]) == [4, 6]
    assert versions(dual.get("service", "web")["spec"]["clusterIPs"]) == [4, 6]
    slices = dual.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    assert sorted(each["addressType"] for each in slices) == ["IPv4", "IPv6"]


def test_a_service_answers_by_name_in_both_families(dual):
    addresses = dual.get("service", "web")["spec"]["clusterIPs"]
    assert len(addresses) == 2
    answering(dual, *addresses)


def answering(made: Local, *addresses: str) -> None:
    """Wait until the Service answers at each of these addresses, which a pod has found by its name."""
    argv = (str(BIN / "kubectl"), "exec", "deploy/web", "--", "python3", "-c", FETCH)
    wanted = [f'"http://[{each}]/", 200' if ":" in each else f'"http://{each}/", 200' for each in addresses]
    made.until(lambda: all(each in made.run(*argv, check=False).stdout for each in wanted), what=f"{addresses} answer")


def test_cluster_dns_is_a_service_of_both_families(dual):
    spec = dual.get("service", "kube-dns", "-n", "kube-system")["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")
    resolv = dual.kubectl("exec", "deploy/web", "--", "cat", "/etc/resolv.conf")
    assert [line.split()[1] for line in resolv.splitlines() if line.startswith("nameserver")] == spec["clusterIPs"]


def ask(server: str, *, tcp: bool = False) -> bool:
    question = dns.message.make_query("web.default.svc.cluster.local", "AAAA")
    try:
        return bool((dns.query.tcp if tcp else dns.query.udp)(question, server, timeout=0.5).answer)
    except (OSError, dns.exception.DNSException):
        return False


def inside(made: Local, node: str) -> str:
    """The network namespace of a pod on that node."""
    (pod,) = (each for each in made.get("pods", "-l", "app=web")["items"] if each["spec"]["nodeName"] == node)
    (path,) = Path(f"{made.root}/run/{made.name}/nodes/{node}/netns").glob(pod["metadata"]["uid"])
    return str(path)


def until_all(namespace: str, servers: list[str], seconds: float = 90) -> None:
    """Until every server answers, over UDP and TCP, in that namespace."""
    ways = [(server, tcp) for server in servers for tcp in (False, True)]
    deadline = time.monotonic() + seconds
    while not all(namespaces.run_in(namespace, lambda way=way: ask(way[0], tcp=way[1])) for way in ways):
        assert time.monotonic() < deadline, f"not answered within {seconds} s: {servers}"


def test_names_are_answered_by_another_node_when_the_agent_is_killed_or_hangs(dual):
    servers = dual.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIPs"]
    namespace, node = inside(dual, "node-1"), f"{dual.root}/run/{dual.name}/netns/node-1"
    agent = dual.processes()["node-1"]
    until_all(namespace, servers)
    os.kill(agent, signal.SIGSTOP)
    try:
        until_all(namespace, servers)
        until_all(node, servers)  # what the node itself asks
    finally:
        os.kill(agent, signal.SIGCONT)
    until_all(namespace, servers)
    os.kill(agent, signal.SIGKILL)
    try:
        until_all(namespace, servers)
        until_all(node, servers)
    finally:
        dual.pybernetes("up")
    until_all(namespace, servers)
    until_all(node, servers)


def test_a_cluster_of_ipv6_alone(tmp_path_factory):
    with cluster("test-ipv6", tmp_path_factory.mktemp("ipv6"), "ipv6") as made:
        for kind in ("nodes", "pods"):
            assert "172.30" not in made.kubectl("get", kind, "-o", "wide")
        spec = made.get("service", "web")["spec"]
        assert (spec["ipFamilies"], versions(spec["clusterIPs"])) == (["IPv6"], [6])
        answering(made, spec["clusterIP"])
        assert made.kubectl("logs", "deploy/web") is not None
        api = made.kubectl(
            "exec", "deploy/web", "--", "python3", "-c", "import os; print(os.environ['KUBERNETES_SERVICE_HOST'])"
        )
        assert versions([api]) == [6]
