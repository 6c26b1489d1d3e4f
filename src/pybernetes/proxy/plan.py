"""Services into the table's elements, and from one truth to the next: what to change. Pure.

A `Placement` is a Service port with its endpoints in slots; `elements` says what that is in the table; a `Book` holds
all placements and turns changes into operations. Slots are kept over changes: an endpoint stays where it was, a new one
fills the hole of one that went, and only when there are fewer does the last one move. So a change costs what changed.
"""

import math
import socket
import struct
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from pybernetes.netlink.conntrack import TCP, Match
from pybernetes.netlink.expressions import DROP, goto, jump
from pybernetes.netlink.nft import IP, AddElements, Data, DeleteElements, Operation

from .layout import LOCAL_SLOTS, REJECT, Class, Layout, Made, Sources
from .model import FULL_WEIGHT, PROTOCOLS, Backend, Front, ServicePort

Elements = dict[str, dict[bytes, Data]]
"""By set: key to data."""

MOST_SLOTS = 2000
"""For an endpoint group with weights that have no common divisor: a share is then exact to a twentieth of a percent."""

_SLOT = struct.Struct("=I")
_FRONT_TAIL = struct.Struct(">B3xH2x")
_PORT = struct.Struct(">H2x")

ELEMENT_SETS = (
    "services",
    "firewall",
    "external-local",
    "no-endpoints",
    "targets",
    "endpoints",
    "members",
    "local-members",
    "hairpin",
)
"""The sets that follow the Services."""


class Address(NamedTuple):
    """Where a Service port answers: a cluster IP, or an external address or node port."""

    address: str
    port: int
    external: bool
    balancer: bool = False
    """One of the load balancer's, for which source ranges hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A front of one family: its addresses (the cluster IP first), and its endpoints by slot."""

    front: Front
    addresses: tuple[Address, ...]
    cluster: tuple[Backend, ...] = ()
    local: tuple[Backend, ...] = ()
    sources: tuple[str, ...] = ()
    """The ranges that may call the load balancer's addresses, () for all."""


def _elsewhere(front: Front) -> Front:
    """Only its endpoints on other nodes."""
    backends = tuple(backend for backend in front.backends if not backend.local)
    return replace(front, backends=backends, local_backends=())


def assign(previous: Sequence[Backend], wanted: Iterable[Backend]) -> tuple[Backend, ...]:
    """Slots for the wanted endpoints, so many each as its weight asks for: whoever had one keeps it, newcomers fill
    the holes, the last ones the rest.
    """
    remaining = shares(list(wanted))
    if not previous:
        return tuple([backend for backend, count in remaining.items() for _ in range(count)])
    slots: list[Backend | None] = []
    for backend in previous:
        left = remaining.get(backend, 0)
        slots.append(backend if left else None)
        if left == 1:
            del remaining[backend]
        elif left:
            remaining[backend] = left - 1
    newcomers = iter([backend for backend, count in remaining.items() for _ in range(count)])
    filled = [backend if backend is not None else next(newcomers, None) for backend in slots]
    return tuple(_compacted([*filled, *newcomers]))


def shares(backends: Sequence[Backend]) -> dict[Backend, int]:
    """How many slots each endpoint gets, in proportion to the weights; none with weight 0. In the keys all weigh alike,
    for a slot does not tell weights apart.

    The smallest numbers that are exact, or at most some MOST_SLOTS for all, by largest remainder, at least one each.
    """
    if all(backend.weight == FULL_WEIGHT for backend in backends):
        return dict.fromkeys(backends, 1)
    weights = {each._replace(weight=FULL_WEIGHT): each.weight for each in backends if each.weight > 0}
    divisor = math.gcd(*weights.values()) or 1
    counts = {backend: weight // divisor for backend, weight in weights.items()}
    total, most = sum(counts.values()), max(MOST_SLOTS, len(counts))
    if total <= most:
        return counts
    scaled = {backend: max(1, count * most // total) for backend, count in counts.items()}
    by_remainder = sorted(counts, key=lambda backend: scaled[backend] * total - counts[backend] * most)
    for backend in by_remainder[: max(0, most - sum(scaled.values()))]:
        scaled[backend] += 1
    return scaled


def _compacted(slots: list[Backend | None]) -> list[Backend]:
    """Holes filled from the end."""
    kept: list[Backend] = []
    remaining = deque(slots)
    while remaining:
        backend = remaining.popleft()
        while backend is None and remaining:
            backend = remaining.pop()
        if backend is not None:
            kept.append(backend)
    return kept


class Planner:
    """What the placements of one family are in the table; `node_addresses` is where node ports are open."""

    def __init__(self, layout: Layout, *, node_addresses: Sequence[str] = ()) -> None:
        self.layout = layout
        self.version = 4 if layout.family == IP else 6
        self.node_addresses: tuple[str, ...] = ()
        self.open_at(node_addresses)
        self._answered_here = frozenset(layout.ranges.ours)
        self._family = socket.AF_INET if layout.family == IP else socket.AF_INET6

    def open_at(self, node_addresses: Sequence[str]) -> bool:
        """Node ports are open at those of this family from now on: for what is placed anew. True: a change."""
        ours = tuple(address for address in node_addresses if self._ours(address))
        was, self.node_addresses = self.node_addresses, ours
        return was != ours

    def house(self, pods: Sequence[str]) -> bool:
        """The node's own pods are in those ranges of this family; () for any. True: the layout is another now."""
        ranges = replace(self.layout.ranges, here=tuple(each for each in pods if self._ours(each)))
        if ranges == self.layout.ranges:
            return False
        self.layout = type(self.layout)(self.layout.family, ranges)
        return True

    def _ours(self, address: str) -> bool:
        return (":" in address) == (self.version == 6)

    def _of_family(self, backends: Sequence[Backend]) -> list[Backend]:
        six = self.version == 6
        return [each for each in backends if (":" in each.address) == six]

    def place(self, front: Front, was: Placement | None = None) -> Placement | None:
        """The placement of a front; None when it has no cluster IP in this family."""
        vips = [vip for vip in front.vips if self._ours(vip)]
        if not vips:
            return None
        if not self._answered_here.isdisjoint(vips):
            front = _elsewhere(front)
        addresses = [Address(vips[0], front.port, external=False)]
        addresses += [Address(other, front.port, external=True) for other in front.externals if self._ours(other)]
        balancers = [each for each in front.balancers if self._ours(each)]
        addresses += [Address(each, front.port, external=True, balancer=True) for each in balancers]
        if front.node_port:
            open_at = (*self.node_addresses, *self.layout.ranges.loopback)
            addresses += [Address(node, front.node_port, external=True) for node in open_at]
        external = len(addresses) > 1
        cluster = front.backends if external or not front.internal_local else ()
        local = front.local_backends if front.internal_local or (external and front.external_local) else ()
        return Placement(
            front=front,
            addresses=tuple(addresses),
            cluster=assign(was.cluster if was else (), self._of_family(cluster)),
            local=assign(was.local if was else (), self._of_family(local)),
            sources=self._sources(front, balancers),
        )

    def _sources(self, front: Front, balancers: Sequence[str]) -> tuple[str, ...]:
        """Who may call the load balancer's addresses. Where those addresses are the node's own as well, a call of the
        node comes from one of them: whoever lets the node in means these too.
        """
        ranges = [each for each in front.sources if self._ours(each)]
        networks = [ip_network(each) for each in ranges]
        if any(ip_address(node) in network for node in self.node_addresses for network in networks):
            ranges += [str(ip_network(each)) for each in balancers]
        return tuple(sorted(set(ranges)))

    def key(self, address: Address, protocol: str) -> bytes:
        """The element key under which packets to an address are found."""
        return self._packed(address.address) + _FRONT_TAIL.pack(PROTOCOLS[protocol], address.port)

    def endpoint(self, backend: Backend) -> bytes:
        """An endpoint as element data."""
        return self._packed(backend.address) + _PORT.pack(backend.port)

    @property
    def address_bytes(self) -> int:
        return 4 if self.version == 4 else 16

    def _packed(self, address: str) -> bytes:
        return socket.inet_pton(self._family, address)

    def elements(self, placement: Placement, denied: frozenset[bytes] = frozenset()) -> tuple[Elements, set[Made]]:
        """All elements of a placement but those under `denied` keys (another Service has them), and its classes."""
        found: Elements = defaultdict(dict)
        classes: set[Made] = set()
        protocol = placement.front.protocol
        home = self.key(placement.addresses[0], protocol)
        if home in denied:
            return found, classes
        for address in placement.addresses:
            key = self.key(address, protocol)
            if key in denied:
                continue
            if address.external:
                found["targets"][key] = home
            if address.balancer and placement.sources:
                allowed = Sources(placement.sources)
                classes.add(allowed)
                found["firewall"][key] = jump(allowed.chain)
            self._entrance(placement, address, key, found, classes)
        if placement.cluster or placement.local:
            self._endpoints(placement, home, found)
        return found, classes

    def _entrance(
        self, placement: Placement, address: Address, key: bytes, found: Elements, classes: set[Made]
    ) -> None:
        """What becomes of a packet to this address."""
        front, cluster, local = placement.front, len(placement.cluster), len(placement.local)

        def enter(name: str, wanted: Class) -> None:
            classes.add(wanted)
            found[name][key] = goto(wanted.chain)

        if not address.external and front.internal_local:
            if local:
                enter("services", Class(local, local=True, affinity_seconds=front.affinity_seconds))
            else:
                found["no-endpoints"][key] = DROP if self._served(front) else REJECT
        elif not cluster:
            found["no-endpoints"][key] = REJECT
        elif not address.external:
            enter("services", Class(cluster, affinity_seconds=front.affinity_seconds))
        else:
            masquerade = not front.external_local
            affinity = front.affinity_seconds
            enter("services", Class(cluster, external=True, masquerade=masquerade, affinity_seconds=affinity))
            if front.external_local and local:
                enter("external-local", Class(local, local=True, external=True, affinity_seconds=affinity))
            elif front.external_local:
                found["external-local"][key] = DROP

    def _served(self, front: Front) -> bool:
        return any(self._ours(each.address) for each in front.backends)

    def _endpoints(self, placement: Placement, home: bytes, found: Elements) -> None:
        pack_slot, pack_port = _SLOT.pack, _PORT.pack
        groups = ((placement.cluster, 0, "members"), (placement.local, LOCAL_SLOTS, "local-members"))
        endpoints, family, packed_address = found["endpoints"], self._family, socket.inet_pton
        for group, offset, members in groups:
            for slot, (address, port, local, _) in enumerate(group, offset):
                packed = packed_address(family, address)
                endpoint = packed + pack_port(port)
                endpoints[home + pack_slot(slot)] = endpoint
                if placement.front.affinity_seconds:
                    found[members][home + endpoint] = None
                if local:
                    found["hairpin"][packed + packed] = None

    def flows(self, placement: Placement) -> dict[Address, frozenset[Backend]]:
        """Which endpoints may have connections to each address: those in slots, and those that take nothing new."""
        front = placement.front
        everybody = (*front.backends, *front.local_backends, *front.resting)
        backends = frozenset(Backend(each.address, each.port) for each in everybody if self._ours(each.address))
        return dict.fromkeys(placement.addresses, backends)

    def stale(self, was: Placement | None, now: Placement | None) -> Iterator[Match]:
        """The tracked connections that a change leaves wrong: those of protocols that would never notice by themselves.

        Sent to an endpoint that is no longer there; or not translated at all, from before there was an endpoint. Of TCP
        the first only, and only if the Service wants it: the next packet then meets an endpoint that does not know the
        connection, or none, and is answered by a reset.
        """
        placement = now or was
        if placement is None:
            return
        protocol = PROTOCOLS[placement.front.protocol]
        if protocol == TCP and placement.front.drain_seconds is None:
            return
        before = self.flows(was) if was else {}
        after = self.flows(now) if now else {}
        for address, backends in before.items():
            for gone in backends - after.get(address, frozenset()):
                yield Match(
                    protocol=protocol,
                    destination=address.address,
                    port=address.port,
                    backend=gone.address,
                    backend_port=gone.port,
                )
        for address, backends in after.items():
            if backends and not before.get(address) and protocol != TCP:
                to = address.address
                yield Match(protocol=protocol, destination=to, port=address.port, backend=to)


class Change(NamedTuple):
    """What to do: `chains` in a transaction of their own, then `elements`, and afterwards connections to forget.

    A packet follows the rules of the moment it came to the hook, but looks into sets as they are now. Were a chain made
    in the transaction that first leads to it, a packet under way would find the way there, and the chain still empty.
    """

    chains: list[Operation]
    elements: list[Operation]
    stale: list[Match]
    difference: "Difference"
    """All elements that it was about, those that stay as they were as well."""


@dataclass(slots=True)
class Difference:
    """Elements that go and elements that come; what goes and comes back the same is neither."""

    removed: Elements = field(default_factory=lambda: defaultdict(dict))
    added: Elements = field(default_factory=lambda: defaultdict(dict))

    def operations(self) -> Iterator[Operation]:
        """First all that goes, then all that comes: an element with new data is both."""
        for name in ELEMENT_SETS:
            removed, added = self.removed.get(name, {}), self.added.get(name, {})
            keys = [key for key, data in removed.items() if key not in added or added[key] != data]
            if keys:
                yield DeleteElements(name, keys)
        for name in ELEMENT_SETS:
            removed, added = self.removed.get(name, {}), self.added.get(name, {})
            fresh = added
            if removed:
                fresh = {key: data for key, data in added.items() if key not in removed or removed[key] != data}
            if fresh:
                yield AddElements(name, fresh)


class Book:
    """All placements of one family, and who has which address.

    An address that two Services claim (contradictory objects, or one that goes while the other comes) stays with the
    first; the other gets it when it is free. Hairpin pairs are shared by all Services of a pod, and counted.

    A hairpin pair goes one update after its endpoint: a packet that was just sent to its own pod must still be
    masqueraded, or the pod drops it as coming from itself, and the connection keeps that translation for its life.
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.placements: dict[ServicePort, Placement] = {}
        self.owners: dict[bytes, ServicePort] = {}
        self.denied: dict[ServicePort, frozenset[bytes]] = {}
        self.chains: set[Made] = set()
        self._hairpins: Counter[bytes] = Counter()
        self._leaving: set[bytes] = set()
        """Hairpin pairs that nobody has any more, and that the next update removes."""

    def update(self, updates: Mapping[ServicePort, Front | None]) -> Change:
        """Take in what changed; the operations lead from the table before to the table after."""
        updates = {**updates, **self._waiting(updates)}
        difference = Difference()
        before = {key: self.placements.get(key) for key in updates}
        for key in updates:
            self._remove(key, difference)
        classes: set[Made] = set()
        for key in sorted(updates, key=lambda each: (before[each] is None, each)):
            front = updates[key]
            placement = self.planner.place(front, before[key]) if front is not None else None
            if placement is not None:
                classes |= self._put(key, placement, difference)
        chains: list[Operation] = []
        for wanted in sorted(classes - self.chains, key=lambda each: each.chain):
            chains += self.planner.layout.class_chain(wanted)
        self.chains |= classes
        self._linger(difference)
        stale = [match for key in updates for match in self.planner.stale(before[key], self.placements.get(key))]
        return Change(chains, list(difference.operations()), stale, difference)

    def elements_of(self, key: ServicePort) -> Elements:
        """The elements of one Service port as they should be; none for one that is not there."""
        placement = self.placements.get(key)
        elements = self._elements(key, placement)[0] if placement is not None else {}
        return {name: held for name, held in elements.items() if name != "hairpin"}

    @property
    def hairpins(self) -> Set[bytes]:
        """The hairpin pairs that should be in the table."""
        return self._hairpins.keys() | self._leaving

    def wanted(self) -> Elements:
        """All elements as they should be in the table."""
        found: Elements = {name: {} for name in ELEMENT_SETS}
        for key, placement in self.placements.items():
            for name, elements in self._elements(key, placement)[0].items():
                found[name].update(elements)
        found["hairpin"].update(dict.fromkeys(self._leaving))
        return found

    def repair(self, observed: Elements) -> list[Operation]:
        """From what was found in the table to what should be there."""
        wanted = self.wanted()
        return list(Difference(removed=observed, added=wanted).operations())

    def _linger(self, difference: Difference) -> None:
        """Hold this update's hairpin removals back, and make those of the last one."""
        removed, added = difference.removed["hairpin"], difference.added["hairpin"]
        still_there = self._leaving & added.keys()
        due = self._leaving - added.keys()
        self._leaving = removed.keys() - added.keys()
        difference.removed["hairpin"] = dict.fromkeys(due)
        difference.added["hairpin"] = {
            pair: data for pair, data in added.items() if pair not in removed and pair not in still_there
        }

    def _waiting(self, updates: Mapping[ServicePort, Front | None]) -> dict[ServicePort, Front | None]:
        """Those who were denied an address that an updated one has: it may become free."""
        if not self.denied:
            return {}
        owned = {key for key, owner in self.owners.items() if owner in updates}
        waiting = [each for each, keys in self.denied.items() if keys & owned and each not in updates]
        return {each: self.placements[each].front for each in waiting}

    def _elements(self, key: ServicePort, placement: Placement) -> tuple[Elements, set[Made]]:
        return self.planner.elements(placement, self.denied.get(key, frozenset()))

    def _remove(self, key: ServicePort, difference: Difference) -> None:
        placement = self.placements.pop(key, None)
        if placement is None:
            return
        elements, _ = self._elements(key, placement)
        for pair in elements.pop("hairpin", ()):
            self._hairpins[pair] -= 1
            if not self._hairpins[pair]:
                del self._hairpins[pair]
                difference.removed["hairpin"][pair] = None
        for name, held in elements.items():
            difference.removed[name].update(held)
        for address in self._keys(placement):
            if self.owners.get(address) == key:
                del self.owners[address]
        self.denied.pop(key, None)

    def _put(self, key: ServicePort, placement: Placement, difference: Difference) -> set[Made]:
        denied = frozenset(each for each in self._keys(placement) if self.owners.setdefault(each, key) != key)
        if denied:
            self.denied[key] = denied
        self.placements[key] = placement
        elements, classes = self._elements(key, placement)
        for pair in elements.pop("hairpin", ()):
            self._hairpins[pair] += 1
            if self._hairpins[pair] == 1:
                difference.added["hairpin"][pair] = None
        for name, held in elements.items():
            difference.added[name].update(held)
        return classes

    def _keys(self, placement: Placement) -> list[bytes]:
        return [self.planner.key(address, placement.front.protocol) for address in placement.addresses]
