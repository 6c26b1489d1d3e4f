"""The addresses of cluster DNS as this node's own while it answers, and another node's when it does not.

The Service `kube-dns` has the same addresses, with the other nodes' instances behind it: the service proxy leads there.
While this node answers, its claim in a table of its own keeps packets to the addresses out of connection tracking, and
so out of translation; they reach the loopback link (which is how NodeLocal DNSCache does it, KEP-1024).

    raw prerouting:           to   @claimed, a socket there    notrack    -> lo, this node's DNS
    raw output:               to   @claimed  notrack; from @claimed  notrack
    nat prerouting, output:   (the service proxy) kube-dns    -> another node's DNS

So pods lose nothing when the agent is killed: its sockets go with it. And each claim ends by itself if it is not
renewed, `HOLD_SECONDS` later: an agent whose loop hangs has lost its node's questions to the others, with nobody there
to clean up. (What the node itself asks leaves by `output`, where the kernel cannot look for the other end's socket.)
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from pybernetes.aio.thread import Worker
from pybernetes.netlink.expressions import BoundSocket, Compare, Expression, Lookup, Meta, Notrack, Payload, Rule
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import (
    IP,
    IP6,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    DeleteElements,
    DeleteTable,
    FlushChain,
    Hook,
    Nftables,
    Operation,
    Set,
    Transaction,
)

log = logging.getLogger(__name__)

TABLE = "pybernetes-dns"
RENEW_SECONDS = 0.5
HOLD_SECONDS = 2
_BEFORE_TRACKING = -300
_CLAIMED = "claimed"
_PROTOCOLS = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)


class Shape(NamedTuple):
    """What of a packet of one family lies where."""

    family: int
    field: str
    words: int
    source: int
    destination: int


SHAPES = {4: Shape(IP, "ipv4_addr", 1, 12, 16), 6: Shape(IP6, "ipv6_addr", 4, 8, 24)}


def skeleton(shape: Shape, *, sockets: bool = True) -> list[Operation]:
    """The table of one family, made or put right, with nothing claimed; `sockets`: see whether one is there."""
    claimed = Set(name=_CLAIMED, key=(shape.field, "inet_proto", "inet_service"), timeout_seconds=HOLD_SECONDS)
    to, back = _rule(shape, shape.destination, 2), _rule(shape, shape.source, 0)
    bound = (BoundSocket(0), Compare(0, bytes([0]))) if sockets else ()
    chains = {"prerouting": ((*to, *bound, Notrack()),), "output": ((*to, Notrack()), (*back, Notrack()))}
    operations: list[Operation] = [AddTable("pybernetes cluster DNS"), AddSet(claimed)]
    for point, rules in chains.items():
        operations += [AddChain(point, Hook("filter", point, _BEFORE_TRACKING)), FlushChain(point)]  # type: ignore[arg-type]
        operations += [AddRule(point, rule) for rule in rules]
    return operations


def _rule(shape: Shape, address: int, port: int) -> Rule:
    loads: tuple[Expression, ...] = (
        Payload(0, "network", address, shape.words * 4),
        Meta(shape.words, "l4proto"),
        Payload(shape.words + 1, "transport", port, 2),
    )
    return (*loads, Lookup(_CLAIMED, 0))


def keys(addresses: Sequence[str], ports: Sequence[int]) -> frozenset[bytes]:
    """The elements that claim ports of these addresses, over TCP and UDP."""
    tails = [
        bytes([protocol, 0, 0, 0]) + port.to_bytes(2, "big") + bytes(2) for protocol in _PROTOCOLS for port in ports
    ]
    return frozenset(ip_address(address).packed + tail for address in addresses for tail in tails)


class Claim:
    """Holds the addresses for this node from `ready` on; `run` until cancelled, then they are released at once."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        ready: asyncio.Event,
        nft: Nftables,
        namespace: str | None = None,
        ports: Sequence[int] = (53,),
    ) -> None:
        """`nft` is the table's door in the namespace of that path (None: the process's own), and closed at the end."""
        self.addresses = tuple(addresses)
        self.namespace = namespace
        self.ready = ready
        self.nft = nft
        self.ports = tuple(ports)
        self._worker = Worker("dns-claim")

    async def run(self) -> None:
        """Raises OSError where the kernel refuses."""
        try:
            await self._worker.call(self._prepare)
            await self.ready.wait()
            log.info("dns addresses claimed addresses=%s", ",".join(self.addresses))
            while True:
                await self._worker.call(self._renew)
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            await self._worker.call(self._release)
            await self._worker.close()
            self.nft.close()

    # In the thread

    def _prepare(self) -> None:
        with Links(self.namespace) as node:
            for address in self.addresses:
                # (quiet, else pods see it as the caller of what the node masquerades, or sends itself)
                node.add_address("lo", str(ip_network(address)), quiet=True)
        for shape, _ in self._families():
            try:
                self.nft.commit(Transaction(shape.family, TABLE, skeleton(shape)))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                log.info("dns claims of a killed agent last %s s: this kernel has no nft socket match", HOLD_SECONDS)
                self.nft.commit(Transaction(shape.family, TABLE, skeleton(shape, sockets=False)))

    def _renew(self) -> None:
        """Taken out and put in again in one step: older kernels do not renew the time of an element that is there."""
        try:
            self._change(lambda wanted: [DeleteElements(_CLAIMED, list(wanted), missing_ok=True), _add(wanted)])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            log.warning("dns claim renewed: its table was gone")  # somebody flushed the ruleset
            self._prepare()
            self._change(lambda wanted: [_add(wanted)])

    def _release(self) -> None:
        with contextlib.suppress(OSError):  # gone with the table, or it ends by itself
            self._change(lambda wanted: [DeleteElements(_CLAIMED, list(wanted), missing_ok=True)])

    def _change(self, operations: Callable[[frozenset[bytes]], list[Operation]]) -> None:
        for shape, addresses in self._families():
            self.nft.commit(Transaction(shape.family, TABLE, operations(keys(addresses, self.ports))))

    def _families(self) -> Iterator[tuple[Shape, list[str]]]:
        for version, shape in SHAPES.items():
            if addresses := [each for each in self.addresses if ip_address(each).version == version]:
                yield shape, addresses


def _add(wanted: frozenset[bytes]) -> AddElements:
    return AddElements(_CLAIMED, dict.fromkeys(wanted))


def clear(nft: Nftables) -> None:
    """Take the tables of both families away."""
    for shape in SHAPES.values():
        nft.commit(Transaction(shape.family, TABLE, [AddTable(), DeleteTable()]))
