"""Whole zones for those who may have them: AXFR (RFC 5936), and IXFR (RFC 1995) as CoreDNS answers it.

What is sent is what would be answered: each name of the zone is asked of the rules once, on a copy of the snapshot, so
that the zone is of one moment however long the other side takes. Names of pods are not listed, as with CoreDNS: most of
them stand for any address; nor are the addresses that port names have beside their SRV records.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from pybernetes.api.objects import Key

from .message import AA, Body, Encoder, Query, reply
from .names import Name, fits, reverse_name
from .question import AAAA, AXFR, CNAME, IN, IXFR, NS, PTR, SRV, TXT, A, Question, Rcode, Record, Rules
from .records import answer
from .rows import Service
from .snapshot import Snapshot

AT_ONCE = 4
"""Transfers under way; one more gets SERVFAIL, and comes again."""
_LONG = 16_000
"""A message is closed once its records take so many bytes: past that, names are not compressed any more."""
EVERYBODY = "*"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Allowed:
    """Who may have zones: addresses, ranges, or everybody."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises ValueError for what is none of these."""
        texts = list(texts)
        self.everybody = EVERYBODY in texts
        self.networks: list[Network] = [ipaddress.ip_network(text) for text in texts if text != EVERYBODY]

    def __bool__(self) -> bool:
        return self.everybody or bool(self.networks)

    def allows(self, client: str) -> bool:
        if self.everybody:
            return bool(client)
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def wanted(query: Query) -> bool:
    """Whether it asks for a transfer."""
    return query.question.type in (AXFR, IXFR) and query.question.cls == IN


def packets(query: Query, snapshot: Snapshot, rules: Rules, *, serial: int | None, size: int) -> Iterator[bytes]:
    """The messages of a transfer, one by one; nothing when the name is not a zone of ours.

    `serial` is what an IXFR says the asker has: when that is current, the SOA is all.
    """
    name = query.question.name
    if rules.zone_of(name) != name:
        return
    page = _Page(query, rules, snapshot.serial).with_soa()
    if query.question.type == IXFR and serial == snapshot.serial:
        yield _message(query, page, size)
        return
    for record in records(snapshot, rules, name):
        if page.full:
            yield _message(query, page, size)
            page = _Page(query, rules, snapshot.serial)
        page.add(record)
    yield _message(query, page.with_soa(), size)


class _Page:
    """The records of one message."""

    def __init__(self, query: Query, rules: Rules, serial: int) -> None:
        self.encoder = Encoder(query.question.name, len(query.wire))
        self.zone, self.ttl, self.serial = len(query.question.name), rules.ttl, serial
        self.count = 0

    @property
    def full(self) -> bool:
        return len(self.encoder) >= _LONG

    def add(self, record: Record) -> None:
        self.encoder.add(record)
        self.count += 1

    def with_soa(self) -> "_Page":
        self.encoder.soa(self.zone, ttl=self.ttl, serial=self.serial)
        self.count += 1
        return self

    def body(self) -> Body:
        return self.encoder.body(Rcode.NOERROR, (self.count, 0, 0), flags=AA)


def _message(query: Query, page: _Page, size: int) -> bytes:
    return reply(query, page.body(), size=size, recursion=False)


def records(snapshot: Snapshot, rules: Rules, zone: Name) -> Iterator[Record]:
    """The records of a zone but for its SOA, owners written out, each once where the rules repeat none."""
    found = _names(snapshot, rules) if zone == rules.domain else _reversed(snapshot, zone)
    for name, kinds in chain([(zone, (NS,))], found):
        for kind in kinds:
            said = answer(snapshot, rules, Question(name, kind))
            for record in said.records if said is not None else ():
                if record.owner is None:
                    yield record._replace(owner=name)


def _names(snapshot: Snapshot, rules: Rules) -> Iterator[tuple[Name, Sequence[int]]]:
    """Each name below the cluster domain with the types that it may have."""
    domain = rules.domain
    yield ("dns-version", *domain), (TXT,)
    if not snapshot.dns_services(rules.listen):
        yield ("ns", "dns", *domain), (A, AAAA)
    for key, service in snapshot.services.items():
        base = (key.name.lower(), key.namespace.lower(), "svc", *domain)
        if service.external:
            yield base, (CNAME,)
            continue
        yield base, (A, AAAA, SRV)
        for name in dict.fromkeys(chain(_ports(snapshot, service, base), _endpoints(snapshot, key, base))):
            if fits(name):
                # (name servers that check names take no address below an underscore)
                yield name, (SRV,) if name[0].startswith("_") else (A, AAAA, SRV)


def _ports(snapshot: Snapshot, service: Service, base: Name) -> Iterator[Name]:
    own = service.ports if not service.headless else ()
    theirs = (port for _, ports in snapshot.endpoints(service.key) for port in ports) if service.headless else ()
    for port in chain(own, theirs):
        if port.name:
            yield (f"_{port.name}", f"_{port.protocol}", *base)


def _endpoints(snapshot: Snapshot, service: Key, base: Name) -> Iterator[Name]:
    for endpoint, _ in snapshot.endpoints(service):
        yield (endpoint.name, *base)


def _reversed(snapshot: Snapshot, zone: Name) -> Iterator[tuple[Name, Sequence[int]]]:
    for address in dict.fromkeys(chain(snapshot.cluster_ips, snapshot.endpoint_ips)):
        name = reverse_name(address)
        if name[-len(zone) :] == zone:
            yield name, (PTR,)


def serial_of(data: bytes) -> int | None:
    """The serial that an IXFR says the asker has; None when it says none."""
    import dns.exception
    import dns.message
    import dns.rdatatype

    try:
        message = dns.message.from_wire(data, keyring=False, ignore_trailing=True)
        return next((int(one[0].serial) for one in message.authority if one.rdtype == dns.rdatatype.SOA), None)
    except (dns.exception.DNSException, ValueError):
        return None
