"""What is asked and what is answered, as values: types, response codes, questions, records, and the zones of a node."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from .config import DnsConfig, PodMode
from .names import IP4_ARPA, IP6_ARPA, Name, name_of, packed, reverse_zones
from .snapshot import Token

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, IXFR, AXFR, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 251, 252, 255
IN = 1
SCHEMA_VERSION = b"1.1.0"
SCHEMA_TTL = 28800


class Rcode(IntEnum):
    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Question(NamedTuple):
    name: Name
    """Lower case."""
    type: int
    cls: int = IN


class Srv(NamedTuple):
    priority: int
    weight: int
    port: int
    target: Name


class Record(NamedTuple):
    """`owner` None is the question's own name. `data`: packed address, Name (CNAME, PTR, NS), Srv, or a TXT string."""

    owner: Name | None
    type: int
    ttl: int
    data: bytes | Name | Srv


class Answer(NamedTuple):
    """`zone` is the zone's length in labels, for the SOA of a negative answer."""

    rcode: Rcode
    records: tuple[Record, ...] = ()
    extra: tuple[Record, ...] = ()
    zone: int = 0
    soa: bool = False
    """The SOA is the answer."""
    chase: Name | None = None
    """The last CNAME leads here, outside the cluster: its addresses are to be appended, or the answer is NODATA."""
    owner: Token | None = None
    """Whose change may alter this answer; None: not to be kept."""
    fixed: bool = False
    """No change alters it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The configuration as the rules need it."""

    domain: Name
    reverse: frozenset[Name] = frozenset()
    ttl: int = 5
    pods: PodMode = "insecure"
    namespaces: frozenset[str] = frozenset()
    listen: tuple[bytes, ...] = ()
    """Our own addresses: the Services that have them are the cluster DNS."""

    @classmethod
    def of(cls, config: DnsConfig) -> "Rules":
        reverse = frozenset(zone for cidr in config.reverse_ranges for zone in reverse_zones(cidr))
        return cls(
            domain=name_of(config.cluster_domain),
            reverse=reverse,
            ttl=config.ttl,
            pods=config.pods,
            namespaces=config.namespaces,
            listen=tuple(found for text in config.listen if (found := packed(text)) is not None),
        )

    def zone_of(self, name: Name) -> Name | None:
        """The zone of ours that a name is in: the cluster domain or a reverse range."""
        size = len(self.domain)
        if name[-size:] == self.domain:
            return self.domain
        if self.reverse and name[-2:] in (IP4_ARPA, IP6_ARPA):
            for cut in range(len(name) - 2):
                if name[cut:] in self.reverse:
                    return name[cut:]
        return None
