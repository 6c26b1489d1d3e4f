"""Question to answer, purely: the Kubernetes DNS specification 1.1.0, and CoreDNS where it is silent.

`answer` reads a Snapshot and nothing else. It says NoError with records, NoError without (NODATA), or NXDOMAIN; what is
not of the cluster is None, and a CNAME that leads out of the cluster names where to ask on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pybernetes.api.objects import Key

from .names import IP4_ARPA, Name, fits, name_of, packed, reversed_address
from .question import (
    AAAA,
    AXFR,
    CNAME,
    IN,
    IXFR,
    NS,
    PTR,
    SCHEMA_TTL,
    SCHEMA_VERSION,
    SOA,
    SRV,
    TXT,
    A,
    Answer,
    Question,
    Rcode,
    Record,
    Rules,
    Srv,
)  # fmt: skip
from .rows import Port, Service
from .snapshot import Snapshot, Token

_CHAIN = 10
"""CNAMEs in a row inside the cluster."""


class Asked(NamedTuple):
    """What a name below the cluster domain asks for; empty fields were not given."""

    kind: str
    """svc, pod, or "" for the apex and its two children."""
    namespace: str = ""
    service: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


class Found(NamedTuple):
    """One address and port under a name: what both address and SRV answers are made of."""

    host: Name
    address: bytes
    port: int


def answer(index: Snapshot, rules: Rules, question: Question) -> Answer | None:
    """The cluster's answer; None when the name is not the cluster's, to be asked elsewhere."""
    name, kind, cls = question
    zone = rules.zone_of(name)
    if zone is None:
        return _outside(index, rules, question)
    if cls != IN:
        return Answer(Rcode.REFUSED)
    if kind in (AXFR, IXFR):
        return Answer(Rcode.REFUSED)
    base = name[: len(name) - len(zone)]
    if not base and kind in (SOA, NS):
        return _apex(index, rules, kind, zone)
    if kind == SOA:
        return Answer(Rcode.NOERROR, zone=len(zone))
    if zone != rules.domain:
        return _reverse(index, rules, question, zone)
    special = _special(index, rules, base, kind)
    return special if special is not None else _below(index, rules, question, base)


def _outside(index: Snapshot, rules: Rules, question: Question) -> Answer | None:
    """Reverse names beyond the configured ranges: what we know we answer, the rest is asked upstream."""
    address = reversed_address(question.name) if question.cls == IN and question.name[-1:] == ("arpa",) else None
    if address is None or not (targets := _pointers(index, rules, address)):
        return None
    if question.type != PTR:
        return None
    return Answer(Rcode.NOERROR, _ptr(rules, targets), zone=2, owner=address)


def _reverse(index: Snapshot, rules: Rules, question: Question, zone: Name) -> Answer:
    address = reversed_address(question.name)
    if address is None:
        rcode = Rcode.NOERROR if question.name == zone or _is_stem(question.name) else Rcode.NXDOMAIN
        return Answer(rcode, zone=len(zone))
    targets = _pointers(index, rules, address)
    if not targets:
        return Answer(Rcode.NXDOMAIN, zone=len(zone), owner=address)
    records = _ptr(rules, targets) if question.type == PTR else ()
    return Answer(Rcode.NOERROR, records, zone=len(zone), owner=address)


def _is_stem(name: Name) -> bool:
    """A name between a reverse zone and an address: it has names below it, so it is no NXDOMAIN."""
    labels, octets = (name[:-2], True) if name[-2:] == IP4_ARPA else (name[:-2], False)
    if octets:
        return all(label.isdecimal() and str(int(label)) == label and int(label) < 256 for label in labels)
    return all(len(label) == 1 and label in "0123456789abcdef" for label in labels)


def _ptr(rules: Rules, targets: Iterable[Name]) -> tuple[Record, ...]:
    return tuple(Record(None, PTR, rules.ttl, target) for target in targets)


def _pointers(index: Snapshot, rules: Rules, address: bytes) -> list[Name]:
    """A cluster address has exactly one name and wins; an endpoint has one below each service that selects it."""
    for key in index.cluster_ips.get(address, ()):
        if _exposed(index, rules, key.namespace):
            return [_service_name(rules, key)]
    names: dict[Name, None] = {}
    for key in index.endpoint_ips.get(address, ()):
        if _exposed(index, rules, key.namespace):
            for endpoint, _ in index.endpoints(key):
                if endpoint.address == address:
                    names[endpoint.name, *_service_name(rules, key)] = None
    return [name for name in names if fits(name)]


def _apex(index: Snapshot, rules: Rules, kind: int, zone: Name) -> Answer:
    if kind == SOA:
        return Answer(Rcode.NOERROR, zone=len(zone), soa=True)
    services = index.dns_services(rules.listen)
    servers: list[tuple[Name, Sequence[bytes]]] = [
        (_service_name(rules, service.key), service.addresses) for service in services
    ]
    if not servers:
        servers = [(("ns", "dns", *zone), rules.listen)]
    return Answer(
        Rcode.NOERROR,
        tuple(Record(None, NS, rules.ttl, name) for name, _ in servers),
        tuple(_address(name, address, rules.ttl) for name, addresses in servers for address in addresses),
        zone=len(zone),
    )


def _special(index: Snapshot, rules: Rules, base: Name, kind: int) -> Answer | None:
    """The two names of the zone itself: dns-version and the SOA's ns.dns."""
    zone = len(rules.domain)
    if base == ("dns-version",):
        records = (Record(None, TXT, SCHEMA_TTL, SCHEMA_VERSION),) if kind == TXT else ()
        return Answer(Rcode.NOERROR, records, zone=zone, fixed=True)
    if base == ("ns", "dns"):
        addresses = [a for service in index.dns_services(rules.listen) for a in service.addresses] or rules.listen
        return Answer(Rcode.NOERROR, tuple(_addresses(addresses, kind, rules.ttl)), zone=zone)
    return None


def _below(index: Snapshot, rules: Rules, question: Question, base: Name) -> Answer:
    """Everything under svc and pod."""
    zone = len(rules.domain)
    asked = parse(base)
    if asked is None:
        return Answer(Rcode.NXDOMAIN, zone=zone, fixed=True)
    if not asked.kind:
        return Answer(Rcode.NOERROR, zone=zone, fixed=True)
    if asked.kind == "pod":
        return _pod(index, rules, asked, question.type)
    owner: Token = Key(asked.namespace, asked.service) if asked.service else asked.namespace
    if not _exposed(index, rules, asked.namespace):
        return Answer(Rcode.NXDOMAIN, zone=zone, owner=owner)
    if not asked.service:
        return Answer(Rcode.NOERROR, zone=zone, owner=owner)
    service = index.services.get(Key(asked.namespace, asked.service))
    if service is not None and service.external:
        return _external(index, rules, question, asked)
    found = list(_find(index, rules, asked, service)) if service is not None else None
    if not found and not (service is not None and _port_exists(service, asked)):
        return Answer(Rcode.NXDOMAIN, zone=zone, owner=owner)
    if question.type == SRV:
        records, extra = _srv(found or (), rules.ttl)
        return Answer(Rcode.NOERROR, records, extra, zone=zone, owner=owner)
    addresses = (one.address for one in found or ())
    return Answer(Rcode.NOERROR, tuple(_addresses(addresses, question.type, rules.ttl)), zone=zone, owner=owner)


def parse(base: Name) -> Asked | None:
    """The labels left of the zone by CoreDNS' grammar; None for a name that can never exist."""
    if base in ((), ("svc",), ("pod",)):
        return Asked("")
    rest, kind = base[:-1], base[-1]
    if kind not in ("svc", "pod"):
        return None
    match rest:
        case (namespace,):
            return Asked(kind, namespace)
        case (service, namespace):
            return Asked(kind, namespace, service)
        case (endpoint, service, namespace):
            return Asked(kind, namespace, service, endpoint)
        case (port, protocol, service, namespace):
            return Asked(kind, namespace, service, "", _bare(port), _bare(protocol))
    return None


def _bare(label: str) -> str:
    return label[1:] if label.startswith("_") else label


def _exposed(index: Snapshot, rules: Rules, namespace: str) -> bool:
    return namespace in index.namespaces and (not rules.namespaces or namespace in rules.namespaces)


def _find(index: Snapshot, rules: Rules, asked: Asked, service: Service) -> Iterator[Found]:
    """All addresses and ports under the name asked for."""
    base = _service_name(rules, service.key)
    if service.headless or asked.endpoint:
        for endpoint, ports in index.endpoints(service.key):
            if asked.endpoint in ("", endpoint.name):
                for port in ports:
                    if _matches(port, asked):
                        yield Found((endpoint.name, *base), endpoint.address, port.number)
        return
    for port in service.ports:
        if _matches(port, asked):
            for address in service.addresses:
                yield Found(base, address, port.number)


def _port_exists(service: Service, asked: Asked) -> bool:
    """A cluster Service without an address yet has its name (and its ports' names) all the same."""
    return not service.headless and not asked.endpoint and any(_matches(port, asked) for port in service.ports)


def _matches(port: Port, asked: Asked) -> bool:
    return asked.port in ("", port.name) and asked.protocol in ("", port.protocol)


def _service_name(rules: Rules, key: Key) -> Name:
    return (key.name.lower(), key.namespace.lower(), "svc", *rules.domain)


def _address(owner: Name | None, address: bytes, ttl: int) -> Record:
    return Record(owner, A if len(address) == 4 else AAAA, ttl, address)


def _addresses(addresses: Iterable[bytes], kind: int, ttl: int) -> Iterator[Record]:
    """Those of the family asked for, each once; none for any type but A and AAAA."""
    size = _SIZES.get(kind)
    for address in dict.fromkeys(addresses):
        if len(address) == size:
            yield Record(None, kind, ttl, address)


_SIZES: Mapping[int, int] = {A: 4, AAAA: 16}


def _srv(found: Sequence[Found], ttl: int) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """SRV records and the addresses of their targets. Weights as CoreDNS reckons them, before duplicates go."""
    weight = max(1, 100 // len(found)) if found else 0
    usable = [one for one in found if one.port != -1 and fits(one.host)]
    targets = dict.fromkeys((one.host, one.port) for one in usable)
    glue = dict.fromkeys((one.host, one.address) for one in usable)
    return (
        tuple(Record(None, SRV, ttl, Srv(0, weight, port, host)) for host, port in targets),
        tuple(_address(host, address, ttl) for host, address in glue),
    )


def _external(index: Snapshot, rules: Rules, question: Question, asked: Asked) -> Answer:
    """A CNAME and what it leads to. Never kept: it depends on other services, or on the world."""
    zone = len(rules.domain)
    service = index.services[Key(asked.namespace, asked.service)]
    target = _cname_target(service.external)
    if asked.endpoint or asked.port or asked.protocol or target is None:
        return Answer(Rcode.NXDOMAIN, zone=zone)
    if question.type == CNAME:
        if target == question.name:
            return Answer(Rcode.NOERROR, zone=zone)
        return Answer(Rcode.NOERROR, (Record(None, CNAME, rules.ttl, target),), zone=zone)
    if question.type not in (A, AAAA):
        return Answer(Rcode.NOERROR, zone=zone)
    return _chased(index, rules, question, target)


def _cname_target(external: str) -> Name | None:
    if packed(external.rstrip(".")) is not None:
        return None
    target = name_of(external)
    return target if target and fits(target) else None


def _chased(index: Snapshot, rules: Rules, question: Question, target: Name) -> Answer:
    """Follow the CNAMEs inside the cluster; NODATA without them when they end nowhere or in a circle."""
    zone = len(rules.domain)
    nothing = Answer(Rcode.NOERROR, zone=zone)
    records: list[Record] = []
    owner: Name | None = None
    seen = {question.name}
    while len(records) < _CHAIN:
        if target in seen:
            return nothing
        seen.add(target)
        records.append(Record(owner, CNAME, rules.ttl, target))
        owner = target
        if rules.zone_of(target) != rules.domain:
            return Answer(Rcode.NOERROR, tuple(records), zone=zone, chase=target)
        asked = parse(target[: len(target) - len(rules.domain)])
        service = index.services.get(Key(asked.namespace, asked.service)) if asked else None
        plain = asked is not None and asked.kind == "svc" and not (asked.endpoint or asked.port or asked.protocol)
        if plain and service and service.external and _exposed(index, rules, service.key.namespace):
            onward = _cname_target(service.external)
            if onward is None:
                return nothing
            target = onward
            continue
        last = answer(index, rules, Question(target, question.type))
        if last is None or not last.records:
            return nothing
        return Answer(Rcode.NOERROR, (*records, *(one._replace(owner=target) for one in last.records)), zone=zone)
    return nothing


def _pod(index: Snapshot, rules: Rules, asked: Asked, kind: int) -> Answer:
    """a-b-c-d.NS.pod: computed, never kept, since any address may be asked for."""
    zone = len(rules.domain)
    missing = Answer(Rcode.NXDOMAIN, zone=zone)
    if rules.pods == "disabled" or not _exposed(index, rules, asked.namespace):
        return missing
    if not asked.service:
        return Answer(Rcode.NOERROR, zone=zone)
    address = pod_address(asked.service)
    if address is None or (rules.pods == "verified" and (asked.namespace, address) not in index.pod_ips):
        return missing
    return Answer(Rcode.NOERROR, tuple(_addresses((address,), kind, rules.ttl)), zone=zone)


def pod_address(label: str) -> bytes | None:
    """10-0-0-1 and 2001-db8--1 as packed addresses; None for anything else."""
    if not set(label) <= _DASHED:
        return None
    separator = "." if label.count("-") == 3 and "--" not in label else ":"
    return packed(label.replace("-", separator))


_DASHED = frozenset("0123456789abcdef-")
