"""The proxy's table: its sets and chains, as values for one address family. Pure.

No chain per service and none per endpoint. A new connection costs two lookups: which size class of service it is for,
then the endpoint under (service, random slot). A chain exists per size class only, made when first needed.

    services   address . protocol . port           -> goto the class chain
    endpoints  address . protocol . port . slot    -> address . port of the endpoint
    targets    external address or node port       -> the cluster IP key under which its endpoints are found
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

from pybernetes.netlink.expressions import (
    DROP,
    RETURN,
    Bitwise,
    Compare,
    Decide,
    Dnat,
    Dynset,
    Expression,
    Lookup,
    Masquerade,
    Meta,
    Numgen,
    Reject,
    Rule,
    SetMark,
    VerdictLookup,
    goto,
    jump,
)
from pybernetes.netlink.fragments import BYTE_ORDER, Header, is_new, is_translated, martians
from pybernetes.netlink.nft import (
    VERDICT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    FlushChain,
    Hook,
    Operation,
    Set,
)

TABLE = "pybernetes"
REJECT = goto("reject")
MARTIANS = "martians"
"""The chain that stands where the kernel's own protection of 127.0.0.0/8 stood; with it, that is off."""

MASQUERADE_MARK = 0x4000
LOCAL_SLOTS = 0x10000
"""Slots from here on are the endpoints on this node, for the Local traffic policies."""

_AFFINITY_SIZE = 65536
_AFFINITY_DEFAULT_SECONDS = 10800


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """What the table has to know of the cluster's addresses, in one family.

    `services`: unknown ones are refused. `pods`: they keep their address towards a cluster IP; all others are
    masqueraded. `here`: the pods of this node, () for all; they go to any endpoint whatever the external policy. A
    pod of another node does not, for an endpoint elsewhere would answer it past this node. `ours`: addresses of the
    service range that this node answers itself while it can (cluster DNS): their packets come here only when it
    cannot, so they are led to other nodes.
    `loopback`: where node ports are open to the node itself; the packets then leave with an address of loopback, which
    takes the sysctl route_localnet.
    """

    services: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    loopback: tuple[str, ...] = ()


class Class(NamedTuple):
    """What a class chain does: how many slots, of which group, for whom."""

    size: int
    local: bool = False
    """Of the endpoints on this node only."""
    external: bool = False
    """Came in by an external address or node port: the cluster IP key is in `targets`."""
    masquerade: bool = False
    affinity_seconds: int = 0

    @property
    def chain(self) -> str:
        words = ["external" if self.external else "cluster"]
        words += ["local"] if self.local else []
        words += ["masquerade"] if self.masquerade else []
        words.append(str(self.size))
        words += [f"affinity-{self.affinity_seconds}"] if self.affinity_seconds else []
        return "-".join(words)


class Sources(NamedTuple):
    """A chain that drops callers who are in none of these ranges."""

    ranges: tuple[str, ...]

    @property
    def chain(self) -> str:
        return f"from-{hashlib.sha256(' '.join(self.ranges).encode()).hexdigest()[:16]}"


Made = Class | Sources
"""A chain that is made when it is first needed."""


class Layout:
    """The table of one family: 32-bit registers are counted in words, `words` to an address."""

    def __init__(self, family: int, ranges: Ranges) -> None:
        self.family = family
        self.ranges = ranges
        self.header = Header(family)
        self.words = self.header.words
        self.address = self.header.kind

    # Sets

    def sets(self) -> tuple[Set, ...]:
        address = self.address
        front = (address, "inet_proto", "inet_service")
        endpoint = (address, "inet_service")
        return (
            Set(name="cluster-ips", key=(address,), interval=True),
            Set(name="pod-cidrs", key=(address,), interval=True),
            Set(name="node-pod-cidrs", key=(address,), interval=True),
            Set(name="hairpin", key=(address, address)),
            Set(name="services", key=front, data=VERDICT),
            Set(name="firewall", key=front, data=VERDICT),
            Set(name="external-local", key=front, data=VERDICT),
            Set(name="no-endpoints", key=front, data=VERDICT),
            Set(name="targets", key=front, data=front),
            Set(name="endpoints", key=(*front, "mark"), data=endpoint),
            Set(name="members", key=(*front, *endpoint)),
            Set(name="local-members", key=(*front, *endpoint)),
            Set(
                name="affinity",
                key=(address, *front),
                data=endpoint,
                dynamic=True,
                timeout_seconds=_AFFINITY_DEFAULT_SECONDS,
                size=_AFFINITY_SIZE,
            ),
        )

    # The fixed part

    def skeleton(self) -> list[Operation]:
        """All that does not depend on Services, from the table down."""
        operations: list[Operation] = [AddSet(each) for each in self.sets()]
        operations += self._fixed_elements()
        chains = self._chains()
        operations += [AddChain(name, hook) for name, (hook, _) in chains.items()]
        for name, (_, rules) in chains.items():
            operations += [AddRule(name, rule) for rule in rules]
        digest = hashlib.sha256(repr(operations).encode()).hexdigest()[:16]
        return [AddTable(f"pybernetes service proxy, layout {digest}"), *operations]

    def fixed_elements(self) -> dict[str, frozenset[bytes]]:
        """The sets that do not follow the Services, and their keys."""
        return {each.set: frozenset(each.elements) for each in self._fixed_elements()}

    def _fixed_elements(self) -> list[AddElements]:
        ranges = self.ranges
        named = {"cluster-ips": ranges.services, "pod-cidrs": ranges.pods, "node-pod-cidrs": ranges.here or ranges.pods}
        return [each for name, networks in named.items() for each in self._range(name, networks)]

    def fixed_chains(self) -> dict[str, int]:
        """The chains of the skeleton and how many rules each has."""
        return {name: len(rules) for name, (_, rules) in self._chains().items()}

    def _chains(self) -> dict[str, tuple[Hook | None, tuple[Rule, ...]]]:
        check: Rule = (*is_new(), Decide(jump("check")))
        guard = {MARTIANS: (Hook("filter", "prerouting", -300), martians())}
        return (guard if self.ranges.loopback else {}) | {
            "reject": (None, (self._tcp(Reject("tcp-reset", self.family)), (Reject("icmp", self.family),))),
            "check": (None, self._check_rules()),
            "dispatch": (None, self._dispatch_rules()),
            "prerouting": (Hook("nat", "prerouting", -100), self._arrival_rules()),
            "output": (Hook("nat", "output", -100), self._departure_rules()),
            "postrouting": (Hook("nat", "postrouting", 100), self._postrouting_rules()),
            "filter-input": (Hook("filter", "input", 0), (check,)),
            "filter-forward": (Hook("filter", "forward", 0), (check,)),
            "filter-output": (Hook("filter", "output", 0), (check,)),
        }

    def _dispatch_rules(self) -> tuple[Rule, ...]:
        """Every new connection passes here, from outside and from this node itself."""
        source, destination = self.header.source(0), self.header.destination(0)
        return (
            (destination, Lookup("cluster-ips", 0), source, Lookup("pod-cidrs", 0, inverted=True), *_mark()),
            (*self.header.target(0), VerdictLookup("services", 0)),
        )

    def _firewall(self) -> Rule:
        return (*self.header.target(0), VerdictLookup("firewall", 0))

    def _arrival_rules(self) -> tuple[Rule, ...]:
        """externalTrafficPolicy Local holds for callers outside; the node's pods and itself go to any endpoint."""
        callers = (self.header.source(0), Lookup("node-pod-cidrs", 0, inverted=True))
        local: Rule = (*callers, *self.header.target(0), VerdictLookup("external-local", 0))
        return (self._firewall(), local, (Decide(jump("dispatch")),))

    def _departure_rules(self) -> tuple[Rule, ...]:
        """The node's own calls to external addresses are masqueraded whatever the policy: the address they come from (a
        load balancer's that the node has, or loopback's) need not be one that an endpoint can answer.
        """
        external: Rule = (*self.header.target(0), Lookup("targets", 0, into=0), *_mark())
        return (self._firewall(), external, (Decide(jump("dispatch")),))

    def _check_rules(self) -> tuple[Rule, ...]:
        """What was not translated and yet goes to a service is refused, at once and audibly."""
        destination = self.header.destination(0)
        return (
            (*self.header.target(0), VerdictLookup("no-endpoints", 0)),
            (destination, Lookup("cluster-ips", 0), Decide(REJECT)),
        )

    def _postrouting_rules(self) -> tuple[Rule, ...]:
        """A pod that reached itself must not see its own address as the caller's, else it answers past the kernel."""
        mark = MASQUERADE_MARK.to_bytes(4, BYTE_ORDER)
        hairpin = (self.header.source(0), self.header.destination(self.words), Lookup("hairpin", 0), Masquerade())
        unmarked = (Meta(0, "mark"), Bitwise(0, mark, bytes(4)), Compare(0, bytes(4)), Decide(RETURN))
        unmark = (Meta(0, "mark"), Bitwise(0, b"\xff" * 4, mark), SetMark(0))
        return ((*is_translated(), *hairpin), unmarked, unmark, (Masquerade(),))

    # The class chains

    def class_chain(self, wanted: Made) -> list[Operation]:
        """The operations that make a chain, or put it right if it is there."""
        rules = (AddRule(wanted.chain, rule) for rule in self._class_rules(wanted))
        return [AddChain(wanted.chain), FlushChain(wanted.chain), *rules]

    def class_size(self, wanted: Made) -> int:
        """How many rules its chain has."""
        return len(list(self._class_rules(wanted)))

    def _class_rules(self, wanted: Made) -> Iterator[Rule]:
        return self._balance_rules(wanted) if isinstance(wanted, Class) else self._source_rules(wanted)

    def _source_rules(self, wanted: Sources) -> Iterator[Rule]:
        for each in map(ip_network, wanted.ranges):
            masked = Bitwise(0, each.netmask.packed, bytes(self.words * 4))
            yield (self.header.source(0), masked, Compare(0, each.network_address.packed), Decide(RETURN))
        yield (Decide(DROP),)

    def _balance_rules(self, wanted: Class) -> Iterator[Rule]:
        """If the slot that chance gave has gone meanwhile (the kernel's two lookups are not one), slot 0 serves: it is
        the last to go.
        """
        if wanted.masquerade:
            yield _mark()
        if wanted.affinity_seconds:
            yield from self._affinity_rules(wanted)
        yield self._pick(wanted, wanted.size)
        if wanted.size > 1:
            yield self._pick(wanted, 1)

    def _pick(self, wanted: Class, size: int) -> Rule:
        words = self.words
        slot = Numgen(words + 2, size, LOCAL_SLOTS if wanted.local else 0)
        return (*self._service(wanted, 0), slot, Lookup("endpoints", 0, into=0), Dnat(self.family, 0, words))

    def _affinity_rules(self, wanted: Class) -> Iterator[Rule]:
        """Words: client, service (address, protocol, port), endpoint (address, port), each behind the other, so that
        client+service is the key of `affinity`, service+endpoint that of `members`, service+slot that of `endpoints`.

        1. a client that is known, and whose endpoint still serves: there, and its time starts anew
        2. one whose endpoint has gone: forgotten
        3. one that is not known: an endpoint by chance, remembered; of two at once the first one's counts
        What is left (the map is full) goes on to the rules without memory.
        """
        service, endpoint = self.words, 2 * self.words + 2
        members = "local-members" if wanted.local else "members"
        timeout_ms = wanted.affinity_seconds * 1000
        client = (self.header.source(0), *self._service(wanted, service))
        known = (*client, Lookup("affinity", 0, into=endpoint))
        remember = Dynset("affinity", "update", 0, data=endpoint, timeout_ms=timeout_ms)
        go = Dnat(self.family, endpoint, endpoint + self.words)
        yield (*known, Lookup(members, service), remember, go)
        yield (*known, Lookup(members, service, inverted=True), Dynset("affinity", "delete", 0, data=endpoint))
        slot = Numgen(endpoint, wanted.size, LOCAL_SLOTS if wanted.local else 0)
        chosen = (slot, Lookup("endpoints", service, into=endpoint))
        yield (*client, *chosen, remember, Lookup("affinity", 0, into=endpoint), go)

    # Pieces of rules

    def _service(self, wanted: Class, register: int) -> tuple[Expression, ...]:
        """The key under which the service's endpoints are found."""
        front = self.header.target(register)
        return (*front, Lookup("targets", register, into=register)) if wanted.external else front

    def _tcp(self, last: Expression) -> Rule:
        return (Meta(0, "l4proto"), Compare(0, b"\x06"), last)

    def _range(self, name: str, ranges: Iterable[str]) -> list[AddElements]:
        """Elements of an interval set: where a range begins, and the first address past it (none at the very end)."""
        starts: list[int] = []
        ends: list[int] = []
        for network in sorted((ip_network(each) for each in ranges), key=lambda each: int(each.network_address)):
            first, past = int(network.network_address), int(network.broadcast_address) + 1
            if ends and first <= ends[-1]:
                ends[-1] = max(ends[-1], past)
            else:
                starts.append(first)
                ends.append(past)
        size = self.words * 4
        closing = frozenset(past.to_bytes(size, "big") for past in ends if past < 1 << size * 8)
        elements = {first.to_bytes(size, "big"): None for first in starts} | dict.fromkeys(closing)
        return [AddElements(name, elements, closing)] if elements else []


def _mark() -> Rule:
    """Mark the packet to be masqueraded when it leaves."""
    bit = MASQUERADE_MARK.to_bytes(4, BYTE_ORDER)
    rest = (0xFFFFFFFF ^ MASQUERADE_MARK).to_bytes(4, BYTE_ORDER)
    return (Meta(0, "mark"), Bitwise(0, rest, bit), SetMark(0))
