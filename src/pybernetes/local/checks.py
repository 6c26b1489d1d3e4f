"""Can this machine hold a cluster? Each capability is tried, not guessed, and named when it is missing."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import AddChain, AddTable, Hook, KernelNftables, Transaction


def missing(run_root: Path, *, versions: Sequence[int] = (4,)) -> list[str]:
    """What a cluster of those IP versions lacks here, one sentence each with what to do; empty when all is there."""
    if sys.platform != "linux":
        return [f"pybernetes up needs Linux network namespaces; this is {sys.platform}"]
    if os.geteuid() != 0:
        return ["pybernetes up makes network namespaces, routes and mounts: run it as root (sudo pybernetes up)"]
    run_root.mkdir(parents=True, exist_ok=True)
    probe = run_root / f".probe-{os.getpid()}"
    try:
        namespaces.create(str(probe))
    except OSError as error:
        return [f"no network namespace can be made ({error}): root needs CAP_SYS_ADMIN, and mounts must be allowed"]
    try:
        found = [check(str(probe)) for check in (_links, _nftables)]
        return [text for text in (*found, _ipv6() if 6 in versions else "") if text]
    finally:
        namespaces.delete(str(probe))


def _ipv6() -> str:
    """On the host, whose routes lead to the nodes."""
    try:
        off = sysctl.read("net.ipv6.conf.all.disable_ipv6") != "0"
    except FileNotFoundError:
        return "this kernel has no IPv6: choose --ip-family ipv4"
    return "IPv6 is off: sysctl net.ipv6.conf.all.disable_ipv6=0, or choose --ip-family ipv4" if off else ""


def _links(namespace: str) -> str:
    return _tried("veth pairs and bridges (CONFIG_VETH, CONFIG_BRIDGE, CAP_NET_ADMIN)", lambda: _try_links(namespace))


def _try_links(namespace: str) -> None:
    with Links(namespace) as links:
        links.add_bridge("probe")
        links.add_veth("probe0", "probe1", master="probe")


def _nftables(namespace: str) -> str:
    return _tried("nftables with NAT (CONFIG_NF_TABLES, CONFIG_NFT_NAT)", lambda: _try_nftables(namespace))


def _try_nftables(namespace: str) -> None:
    nft = KernelNftables(namespace)
    try:
        chain = AddChain("probe", Hook("nat", "prerouting", -100))
        nft.commit(Transaction(socket.AF_INET, "probe", [AddTable(), chain]))
    finally:
        nft.close()


def _tried(what: str, attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return f"the kernel cannot do {what}: {error}"
    return ""
