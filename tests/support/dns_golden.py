"""The golden table of cluster DNS (dns_golden.yaml) as values, the servers it is asked of, and the comparison.

Whoever asks (dnspython, dig) tells what came back as `Seen`; `Case.differences` says where it is not what is written.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import yaml

from pybernetes.api.objects import Obj
from pybernetes.dns import DnsConfig
from support.dns_cluster import REVERSE, Z

_TABLE: Obj = yaml.safe_load(Path(__file__).with_name("dns_golden.yaml").read_text())
_ZONE = re.compile(r"(?<![\w-])Z(?![\w-])")
SERVERS: tuple[str, ...] = tuple(_TABLE["servers"])
WORLD: tuple[str, ...] = tuple(_TABLE["world"])
"""Records of the upstream of the server `world`: "owner TYPE data"."""


class Seen(NamedTuple):
    """A reply. Records are (owner, TTL, "TYPE data"); the serial of an SOA is *."""

    rcode: str
    aa: bool
    tc: bool
    question: str
    answer: Sequence[tuple[str, int, str]]
    authority: Sequence[tuple[str, int, str]]
    extra: Sequence[tuple[str, int, str]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table; the fields are explained there."""

    name: str
    type: str
    cls: str = "IN"
    rcode: str = "NOERROR"
    answer: tuple[str, ...] = ()
    count: int = 0
    extra: tuple[str, ...] = ()
    ttl: int = 5
    aa: bool = True
    soa: bool = True
    edns: int = 0
    bufsize: int = 1232
    tcp: bool = False
    tc: bool = False
    plain: bool = False
    server: str = "default"

    def __str__(self) -> str:
        how = "".join(f"-{word}" for word in ("tcp", "plain") if getattr(self, word))
        return f"{self.server}-{self.name}-{self.type}-{self.cls}{how}-{self.bufsize}-{self.edns}"

    @property
    def usual(self) -> bool:
        """Whether a resolver of a libc can be told to ask this."""
        return self.cls == "IN" and not (self.edns or self.plain or self.tc or self.bufsize != 1232)

    def at(self, address: str) -> "Case":
        """The case for a server at an address."""
        extra = tuple(line.replace("SELF", address) for line in self.extra)
        return replace(self, answer=tuple(line.replace("SELF", address) for line in self.answer), extra=extra)

    def differences(self, seen: Seen) -> Iterator[str]:
        """What is not as the table says; nothing when all is."""
        wanted = {"rcode": self.rcode, "aa": self.aa, "tc": self.tc, "question": f"{self.name.rstrip('.')}.".lower()}
        for field, value in wanted.items():
            got = getattr(seen, field)
            if (got.lower() if field == "question" else got) != value:
                yield f"{field}: {got}, not {value}"
        if self.tc:
            return
        if self.count and len(seen.answer) != self.count:
            yield f"{len(seen.answer)} answers, not {self.count}"
        yield from self._different_records(seen)

    def _different_records(self, seen: Seen) -> Iterator[str]:
        answer = sorted(data for _, _, data in seen.answer)
        if not self.count and answer != sorted(self.answer):
            yield f"answer: {answer}, not {sorted(self.answer)}"
        extra = sorted(f"{owner} {data}" for owner, _, data in seen.extra)
        if extra != sorted(self.extra):
            yield f"extra: {extra}, not {sorted(self.extra)}"
        if seen.answer and seen.answer[0][0] != seen.question:
            yield f"owner: {seen.answer[0][0]}, not {seen.question} as it was asked"
        for owner, ttl, data in (*seen.answer, *seen.extra):
            if ttl != self.ttl and not (self.server == "world" and 0 < ttl <= 60):  # (kept, and aged)
                yield f"TTL of {owner} {data}: {ttl}, not {self.ttl}"
        yield from self._different_authority(seen)

    def _different_authority(self, seen: Seen) -> Iterator[str]:
        denial = not self.answer and not self.count
        if not (self.soa and denial):
            if seen.authority and self.aa:
                yield f"authority: {seen.authority}, not empty"
            return
        owners = [owner for owner, _, data in seen.authority if data.startswith("SOA ns.dns.")]
        if len(owners) != 1 or len(seen.authority) != 1 or not seen.question.endswith(owners[0]):
            yield f"authority: {seen.authority}, not the SOA of the zone"


def _cases() -> Iterator[Case]:
    for rule in _TABLE["rules"]:
        for row in rule["cases"]:
            name, kind, *cls = _ZONE.sub(Z, row.pop("ask")).split()
            lists = {key: tuple(_ZONE.sub(Z, line) for line in row.pop(key, ())) for key in ("answer", "extra")}
            yield Case(name=name, type=kind, cls=cls[0] if cls else "IN", **lists, **row)


GOLDEN: tuple[Case, ...] = tuple(_cases())


def config(server: str, *, listen: Sequence[str], port: int, world: str) -> DnsConfig:
    """The configuration of one of the table's servers; `world` is the upstream's ADDRESS:PORT."""
    given: dict[str, Any] = {"upstreams": (), **_TABLE["servers"][server]}
    given["upstreams"] = tuple(world for _ in given["upstreams"])
    given["namespaces"] = frozenset(given.get("namespaces", ()))
    return DnsConfig(listen=tuple(listen), port=port, reverse_ranges=REVERSE, lameduck_seconds=0.0, **given)


def query_of(case: Case) -> dns.message.QueryMessage:
    """The question of a case for dnspython."""
    edns: int | bool = False if case.plain else case.edns
    return dns.message.make_query(case.name, case.type, case.cls, use_edns=edns, payload=case.bufsize)


def seen_by_dnspython(message: dns.message.Message) -> Seen:
    """A message as dnspython parses it."""
    sections = [
        [
            (str(s.name), s.ttl, _serialless(f"{dns.rdatatype.to_text(s.rdtype)} {record}"))
            for s in section
            for record in s
        ]
        for section in (message.answer, message.authority, message.additional)
    ]
    rcode = dns.rcode.to_text(message.rcode()).replace("BADSIG", "BADVERS")
    flags = message.flags
    question = str(message.question[0].name)
    return Seen(rcode, bool(flags & dns.flags.AA), bool(flags & dns.flags.TC), question, *sections)


def seen_by_dig(document: Obj) -> Seen:
    """A message as `dig +yaml` prints it."""
    data = document["message"]["response_message_data"]
    lines = [[_record(line) for line in data.get(f"{word}_SECTION", ())] for word in ("ANSWER", "AUTHORITY")]
    extra = [_record(line) for line in data.get("ADDITIONAL_SECTION", ())]
    flags = data["flags"].split()
    return Seen(data["status"], "aa" in flags, "tc" in flags, data["QUESTION_SECTION"][0].split()[0], *lines, extra)


def _record(line: str) -> tuple[str, int, str]:
    owner, ttl, _, kind, data = line.split(maxsplit=4)
    if kind == "AAAA":
        data = str(ip_address(data))  # dig has a spelling of its own for the last zeros
    return owner, int(ttl), _serialless(f"{kind} {data}")


def _serialless(data: str) -> str:
    return re.sub(r"^(SOA \S+ \S+) \d+", r"\1 *", data)


SEARCH = f"default.svc.{Z} svc.{Z} {Z}"


def searched(address: str) -> dict[str, list[str]]:
    """What getaddrinfo finds for the names of the table with SEARCH; an empty list is nothing."""
    found = _TABLE["searched"].items()
    return {_ZONE.sub(Z, name): [text.replace("SELF", address) for text in texts] for name, texts in found}
