"""Connection tracking in a kernel namespace: entries are found and deleted by what they match, others stay."""

import socket
from collections.abc import Iterator

import pytest

from pybernetes.netlink import namespaces
from pybernetes.netlink.conntrack import UDP, Conntrack, Match
from pybernetes.netlink.expressions import ACCEPT, CT_STATE_NEW, Compare, Ct, Decide
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import IP, IP6, AddChain, AddRule, AddTable, Hook, KernelNftables, Transaction
from support import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]


@pytest.fixture
def path() -> Iterator[str]:
    """A namespace that tracks connections (it does once a rule asks for their state)."""
    with kernel.namespace() as made:
        with Links(made) as links:
            links.up("lo")
            for address in ("10.9.0.1/32", "10.9.0.2/32", "fd00:9::1/128", "fd00:9::2/128"):
                links.add_address("lo", address)
        nft = KernelNftables(made)
        rule = (Ct(0, "state"), Compare(0, CT_STATE_NEW.to_bytes(4, "little")), Decide(ACCEPT))
        for family in (IP, IP6):
            hook = Hook("filter", "output", 0)
            nft.commit(Transaction(family, "track", [AddTable(), AddChain("c", hook), AddRule("c", rule)]))
        nft.close()
        yield made


def send(path: str, *targets: tuple[str, int]) -> None:
    def body() -> None:
        for address, port in targets:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (address, port))

    namespaces.run_in(path, body)


def ports(conntrack: Conntrack, match: Match) -> list[int]:
    return sorted(entry.port for entry in conntrack.entries(match))


def test_delete_by_destination_and_backend(path: str) -> None:
    send(path, ("10.9.0.1", 53), ("10.9.0.1", 54), ("10.9.0.2", 53))
    with Conntrack(path) as conntrack:
        everything = Match(protocol=UDP, destination="10.9.0.1")
        assert ports(conntrack, everything) == [53, 54]
        conntrack.delete(Match(protocol=UDP, destination="10.9.0.1", port=53, backend="10.9.0.2"))
        assert ports(conntrack, everything) == [53, 54]
        conntrack.delete(Match(protocol=UDP, destination="10.9.0.1", port=53, backend="10.9.0.1", backend_port=53))
        assert ports(conntrack, everything) == [54]
        assert ports(conntrack, Match(protocol=UDP, destination="10.9.0.2")) == [53]


def test_delete_by_port_and_backend_only(path: str) -> None:
    send(path, ("10.9.0.1", 53), ("10.9.0.2", 53), ("10.9.0.1", 54))
    with Conntrack(path) as conntrack:
        conntrack.delete(Match(protocol=UDP, port=53, backend="10.9.0.2"))
        assert ports(conntrack, Match(protocol=UDP, backend="10.9.0.2")) == []
        assert ports(conntrack, Match(protocol=UDP, backend="10.9.0.1")) == [53, 54]


def test_ipv6(path: str) -> None:
    """The kernel's own address filter is inverted for IPv6: entries of other addresses must survive."""
    send(path, ("fd00:9::1", 53), ("fd00:9::1", 54), ("fd00:9::2", 53))
    with Conntrack(path) as conntrack:
        conntrack.delete(Match(protocol=UDP, destination="fd00:9::1", port=53))
        assert ports(conntrack, Match(protocol=UDP, destination="fd00:9::1")) == [54]
        conntrack.delete(Match(protocol=UDP, port=53, backend="fd00:9::1"))
        assert ports(conntrack, Match(protocol=UDP, destination="fd00:9::2")) == [53]


def test_delete_by_port_in_one_family(path: str) -> None:
    send(path, ("10.9.0.1", 53), ("10.9.0.2", 53), ("10.9.0.1", 54), ("fd00:9::1", 53), ("fd00:9::1", 54))
    with Conntrack(path) as conntrack:
        conntrack.delete(Match(protocol=UDP, family=4, port=53))
        assert ports(conntrack, Match(protocol=UDP, family=4)) == [54]
        assert ports(conntrack, Match(protocol=UDP, family=6)) == [53, 54]
        conntrack.delete(Match(protocol=UDP, family=6, port=53))
        assert ports(conntrack, Match(protocol=UDP, family=6)) == [54]


def test_nothing_to_delete_is_no_error(path: str) -> None:
    with Conntrack(path) as conntrack:
        conntrack.delete(Match(protocol=UDP, destination="10.9.0.77", port=53))


def test_kernels_without_filters_for_deletion_are_asked_entry_by_entry(path: str) -> None:
    send(path, ("10.9.0.1", 53), ("10.9.0.1", 54))
    with Conntrack(path) as conntrack:
        match = Match(protocol=UDP, destination="10.9.0.1", port=53)
        conntrack.delete_each(match)
        assert ports(conntrack, Match(protocol=UDP, destination="10.9.0.1")) == [54]
