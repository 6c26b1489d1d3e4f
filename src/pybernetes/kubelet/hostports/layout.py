"""The table of host ports: its maps and chains, as values for one address family. Pure.

    addresses  address . protocol . port  -> address . port of the pod      hostIP is one address
    ports      protocol . port            -> address . port of the pod      hostIP is empty, 0.0.0.0, ::
    hairpin    address . address of the pods, twice the same

A connection to an address of this node looks into the first, then the second: two lookups for any number of pods. The
table is there only while a pod on the node has a host port.
"""

import hashlib
from collections.abc import Iterable
from ipaddress import ip_address

from pybernetes.netlink.expressions import RETURN, Compare, Decide, Dnat, Lookup, Masquerade, Rule, jump
from pybernetes.netlink.fragments import (
    LOOPBACK_RANGE,
    Header,
    is_to_this_node,
    is_translated,
    martians,
    target_port,
)
from pybernetes.netlink.nft import IP, IP6, AddChain, AddRule, AddSet, AddTable, Hook, Operation, Set

TABLE = "pybernetes-hostports"
FAMILIES = {4: IP, 6: IP6}

PRIORITY = -101
"""Before the service proxy's -100: a host port goes before a node port of the same number. (Of chains with one priority
the last made goes first: it would depend on who started when.)
"""


class Layout:
    """The table of one IP version. `owner` says whose table it is, so that nobody takes another's away. At addresses
    that are `exempt` (of either version) no host port is open.
    """

    def __init__(self, version: int, *, owner: str, exempt: Iterable[str] = ()) -> None:
        self.version = version
        self.family = FAMILIES[version]
        self.header = Header(self.family)
        self.owner = owner
        self.exempt = sorted(each for each in exempt if ip_address(each).version == version)
        first = self.skeleton()[0]
        assert isinstance(first, AddTable)
        self.comment = first.comment

    def sets(self) -> tuple[Set, ...]:
        address = self.header.kind
        target = (address, "inet_service")
        return (
            Set(name="addresses", key=(address, "inet_proto", "inet_service"), data=target),
            Set(name="ports", key=("inet_proto", "inet_service"), data=target),
            Set(name="hairpin", key=(address, address)),
        )

    def skeleton(self) -> list[Operation]:
        """All that does not depend on pods, from the table down."""
        operations: list[Operation] = [AddSet(each) for each in self.sets()]
        chains = self._chains()
        operations += [AddChain(name, hook) for name, (hook, _) in chains.items()]
        operations += [AddRule(name, rule) for name, (_, rules) in chains.items() for rule in rules]
        digest = hashlib.sha256(repr(operations).encode()).hexdigest()[:16]
        return [AddTable(f"{_comment(self.owner)}, layout {digest}"), *operations]

    def chains(self) -> dict[str, int]:
        """How many rules each chain has."""
        return {name: len(rules) for name, (_, rules) in self._chains().items()}

    def _chains(self) -> dict[str, tuple[Hook | None, tuple[Rule, ...]]]:
        here: Rule = (*is_to_this_node(), Decide(jump("host-ports")))
        guard = {"martians": (Hook("filter", "prerouting", -300), martians())} if self.version == 4 else {}
        return guard | {
            "host-ports": (None, self._dispatch_rules()),
            "prerouting": (Hook("nat", "prerouting", PRIORITY), (here,)),
            "output": (Hook("nat", "output", PRIORITY), (*self._from_loopback(), here)),
            "postrouting": (Hook("nat", "postrouting", 100), self._postrouting_rules()),
        }

    def _from_loopback(self) -> tuple[Rule, ...]:
        """What comes from ::1 cannot leave by a link, whatever source it is given; left alone it is refused at once."""
        own = Compare(0, packed("::1"))
        return ((self.header.source(0), own, Decide(RETURN)),) if self.version == 6 else ()

    def _dispatch_rules(self) -> tuple[Rule, ...]:
        go = Dnat(self.family, 0, self.header.words)
        spared = (Compare(0, packed(each)) for each in self.exempt)
        return (
            *((self.header.destination(0), one, Decide(RETURN)) for one in spared),
            (*self.header.target(0), Lookup("addresses", 0, into=0), go),
            (*target_port(0), Lookup("ports", 0, into=0), go),
        )

    def _postrouting_rules(self) -> tuple[Rule, ...]:
        """Callers keep their address but those whom the pod could not answer: itself, and loopback."""
        source, destination, words = self.header.source(0), self.header.destination, self.header.words
        itself = (source, destination(words), Lookup("hairpin", 0))
        to_pod = (destination(0), destination(words), Lookup("hairpin", 0))
        hairpin = (*is_translated(), *itself, Masquerade())
        loopback = (*is_translated(), *to_pod, source, *LOOPBACK_RANGE, Masquerade())
        return (hairpin, loopback) if self.version == 4 else (hairpin,)


def is_owned(comment: str | None, owner: str) -> bool:
    """Whether a table with that comment (None: no table) is the owner's."""
    return (comment or "").startswith(f"{_comment(owner)},")


def _comment(owner: str) -> str:
    return f"pybernetes host ports of {owner}"


def packed(address: str) -> bytes:
    return ip_address(address).packed


def field(number: int, length: int) -> bytes:
    """A number as it lies in a register: in network order, padded to four bytes."""
    return number.to_bytes(length, "big") + bytes(4 - length)
