"""The packet table as real connections: kernel namespaces, kernel rules of both families, every protocol."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import IP, FlushChain, KernelNftables, Transaction
from pybernetes.proxy.layout import MARTIANS, TABLE
from pybernetes.proxy.loop import cleanup
from support import kernel
from support.packets import datagram
from support.proxy_cases import FAMILIES, FOUR, NODES, SIX, Addresses, desired
from support.proxy_net import Net, network
from support.proxy_table import CASES, Case, of

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

TRIES = 24
MOST_TRIES = 500
"""Whom of several a call reaches is chance; that one of them is left out of so many is none."""


def sync(net: Net) -> None:
    configs = {node: net.config(FOUR, node, SIX, localhost_node_ports=True) for node in NODES}
    net.sync(configs, {node: desired(node, of(*FAMILIES)) for node in NODES})


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        sync(made)
        yield made


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} by {case.protocol}")
def test_connection(net: Net, case: Case, at: Addresses) -> None:
    address, expected = case.address(at), case.by(at)
    if expected in ("dropped", "alone"):
        assert net.dropped(case.caller, address, case.port, case.protocol)
        return
    found = [net.call(case.caller, address, case.port, case.protocol) for _ in range(TRIES)]
    names = {name for name, _ in found}
    while not case.sticky and names < set(expected) and len(found) < MOST_TRIES:
        found.append(net.call(case.caller, address, case.port, case.protocol))
        names.add(found[-1][0])
    if expected in ("refused", "node"):
        assert names == {expected}
        return
    assert names <= set(expected)
    assert len(names) == 1 if case.sticky else names == set(expected)
    for name, seen in found:
        if not case.is_masked(name):
            assert seen == at.hosts[case.caller]
        elif not case.caller.startswith("node-"):  # of a node any address may be seen: it has several
            assert seen != at.hosts[case.caller]
        assert seen != at.hosts["loopback"]


ROUTE_LOCALNET = "net.ipv4.conf.all.route_localnet"


def test_loopback_is_protected_from_the_link_by_a_rule(net: Net) -> None:
    """Without it the link would reach what listens on loopback only (CVE-2020-8558): shown by flushing it."""
    path, outside = net.paths["node-1"], net.paths["outside"]
    assert sysctl.read(ROUTE_LOCALNET, namespace=path) == "1"
    with Links(path) as links:
        mac = bytes.fromhex(links.get("eth0").mac.replace(":", ""))
    secret = namespaces.run_in(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    raw = namespaces.run_in(outside, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
    with secret, raw:
        secret.bind(("127.0.0.1", 9999))
        secret.settimeout(0.3)

        def arrives() -> bool:
            raw.sendto(datagram(FOUR.hosts["outside"], "127.0.0.1", 9999), ("eth0", 0x0800, 0, 0, mac))
            try:
                return bool(secret.recv(10))
            except TimeoutError:
                return False

        assert not arrives()
        nft = KernelNftables(path)
        nft.commit(Transaction(IP, TABLE, [FlushChain(MARTIANS)]))
        nft.close()
        assert arrives()
        sync(net)
        assert not arrives()


def test_the_kernel_protects_loopback_again_when_the_rules_go(net: Net) -> None:
    config = net.config(FOUR, "node-1", SIX, localhost_node_ports=True)
    asyncio.run(cleanup(config))
    assert sysctl.read(ROUTE_LOCALNET, namespace=net.paths["node-1"]) == "0"
    sync(net)
    assert sysctl.read(ROUTE_LOCALNET, namespace=net.paths["node-1"]) == "1"
    net.sync({"node-1": net.config(FOUR, "node-1", SIX)}, {"node-1": desired("node-1", of(*FAMILIES))})
    assert sysctl.read(ROUTE_LOCALNET, namespace=net.paths["node-1"]) == "0"
    sync(net)
