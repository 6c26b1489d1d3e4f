"""Answers as ready-made bytes, by question: what makes most replies one dictionary look-up and one join.

An entry is made when its question is first asked, and forgotten when something it was made of changes, so the table is
never staler than the snapshot, costs nothing at start, and holds only what is asked for. Names that do not exist are
kept too (search lists ask for many), but only a bounded number, since anybody can make them up.
"""

from collections.abc import Iterable, Iterator
from itertools import cycle

from pybernetes.api.objects import Key

from .message import AA, AD, CD, HEADER, QR, RA, RD, Body, Query, body_of, soa, zone_offset
from .question import AAAA, IN, PTR, SRV, TXT, A, Answer, Question, Rcode, Rules
from .records import answer
from .snapshot import Snapshot, Token

KEPT_TYPES = frozenset({A, AAAA, SRV, PTR, TXT, 64, 65})
"""Other types (there are 65,536) are answered without being kept."""
_ROTATIONS = 8
_NEGATIVES = 20_000
"""Denials kept; then all of them are forgotten at once and made anew."""
_LONGEST_ROTATED = 4096


Heads = dict[bytes, bytes]
"""The header of a reply after its id, by that of the plain query (ten bytes each)."""


class Entry:
    """One answer. `tails` turns through the rotations of the addresses; None stands for the SOA at `zone_at`."""

    __slots__ = ("ends", "heads", "rcode", "searched", "sections", "tails", "tally", "zone_at")

    def __init__(self, rcode: int, sections: tuple[int, int, int], *, heads: Heads) -> None:
        self.rcode = rcode
        self.sections = sections
        self.heads = heads
        self.tails: Iterator[bytes] | None = None
        self.ends: tuple[int, ...] = ()
        self.zone_at = 0
        self.searched = ""
        """The namespace whose pods ask this first of their search list; "" for answers that end a search."""
        self.tally: list[int] = [0, 0]


class SoaTails(dict[int, bytes]):
    """The authority section of denials, by the offset of the zone: the same bytes for all of them."""

    def __init__(self, ttl: int) -> None:
        super().__init__()
        self.ttl = ttl
        self.serial = 1

    def __missing__(self, zone_at: int) -> bytes:
        made = self[zone_at] = soa(zone_at, ttl=self.ttl, serial=self.serial)
        return made

    def renew(self, serial: int) -> None:
        self.serial = serial
        self.clear()


def heads(rcode: int, sections: tuple[int, int, int], *, recursion: bool) -> Heads:
    """Replies to all plain queries: RD and CD come back, AD does not; one OPT record is answered with one."""
    table = {}
    answers, authority, additional = sections
    for bits in range(16):
        opt = bits >> 3
        asked = (RD if bits & 1 else 0) | (CD if bits & 2 else 0) | (AD if bits & 4 else 0)
        given = QR | AA | asked & (RD | CD) | (RA if recursion else 0) | rcode
        query = HEADER.pack(0, asked, 1, 0, 0, opt)[2:]
        table[query] = HEADER.pack(0, given, 1, answers, authority, additional + opt)[2:]
    return table


class Table:
    """The answers of the cluster's zones."""

    def __init__(
        self,
        snapshot: Snapshot,
        rules: Rules,
        *,
        recursion: bool = True,
        tallies: dict[tuple[int, int], list[int]] | None = None,
    ) -> None:
        """`tallies` are those of a table before this one, to be counted on."""
        self.snapshot = snapshot
        self.rules = rules
        self.entries: dict[bytes, Entry] = {}
        """By the question section, lower-cased as bytes (type and class too, by both writer and reader)."""
        self.soa = SoaTails(rules.ttl)
        self.tallies = {} if tallies is None else tallies
        """Questions answered over IPv4 and over IPv6, by type and rcode: entries hold the lists, the fast path counts.
        """
        self._owned: dict[Token, list[bytes]] = {}
        self._denials = 0
        self._recursion = recursion
        self._heads: dict[tuple[int, tuple[int, int, int]], Heads] = {}
        """Shared by the entries with as many records: there are few different ones."""

    def find(self, query: Query) -> Entry | Answer | None:
        """The entry for a question of the cluster's; an Answer to chase a CNAME for; None when it is not ours."""
        key = query.wire.lower()
        entry = self.entries.get(key)
        if entry is not None:
            return entry
        found = answer(self.snapshot, self.rules, query.question)
        if found is None or found.chase is not None:
            return found
        entry = self._make(query.question, found, len(query.wire))
        keep = query.question.cls == IN and query.question.type in KEPT_TYPES
        if keep and (found.owner is not None or found.fixed):
            self._keep(key, entry, found)
        return entry

    def body(self, entry: Entry) -> Body:
        """An entry for the general reply writer; turns its rotation on."""
        tail = self.soa[entry.zone_at] if entry.tails is None else next(entry.tails)
        flags = 0 if entry.rcode == Rcode.REFUSED else AA
        return Body(entry.rcode, tail, entry.ends or (len(tail),), entry.sections, flags)

    def forget(self, touched: Iterable[Token]) -> None:
        """Drop the answers that a change may have altered."""
        for token in touched:
            if isinstance(token, str):
                self._forget_namespace(token)
            for key in self._owned.pop(token, ()):
                self._drop(key)

    def changed(self, serial: int) -> None:
        """The zone's serial, after a change."""
        if serial != self.soa.serial:
            self.soa.renew(serial)

    def _forget_namespace(self, namespace: str) -> None:
        """All that lies below it, and all addresses: a PTR has its name only while its namespace exists."""
        below = [
            token
            for token in self._owned
            if isinstance(token, bytes) or (isinstance(token, Key) and token.namespace == namespace)
        ]
        for token in below:
            for key in self._owned.pop(token):
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None and entry.rcode == Rcode.NXDOMAIN:
            self._denials -= 1

    def _keep(self, key: bytes, entry: Entry, found: Answer) -> None:
        if entry.rcode == Rcode.NXDOMAIN:
            if self._denials >= _NEGATIVES:
                self._forget_denials()
            self._denials += 1
        self.entries[key] = entry
        if found.owner is not None:
            self._owned.setdefault(found.owner, []).append(key)

    def _forget_denials(self) -> None:
        for key in [key for key, entry in self.entries.items() if entry.rcode == Rcode.NXDOMAIN]:
            del self.entries[key]
        owned = {token: [key for key in keys if key in self.entries] for token, keys in self._owned.items()}
        self._owned = {token: keys for token, keys in owned.items() if keys}
        self._denials = 0

    def _make(self, question: Question, found: Answer, wire_length: int) -> Entry:
        tally = self.tallies.setdefault((question.type, found.rcode), [0, 0])
        if found.rcode != Rcode.REFUSED and not found.records and not found.soa:
            entry = self._entry(found.rcode, (0, 1, 0))
            entry.zone_at = zone_offset(question.name, found.zone)
            if found.rcode == Rcode.NXDOMAIN:
                entry.searched = self._searched(question)
        else:
            bodies = [self._body(question, turned, wire_length) for turned in rotations(found)]
            entry = self._entry(found.rcode, bodies[0].counts)
            entry.ends = bodies[0].ends
            if len(bodies[0].tail) > _LONGEST_ROTATED:
                del bodies[2:]
            entry.tails = cycle([body.tail for body in bodies])
        entry.tally = tally
        return entry

    def _searched(self, question: Question) -> str:
        base = question.name[: -len(self.rules.domain)]
        ours = question.name[len(base) :] == self.rules.domain and question.type in (A, AAAA)
        return base[-2] if ours and len(base) > 2 and base[-1] == "svc" else ""

    def _entry(self, rcode: int, sections: tuple[int, int, int]) -> Entry:
        found = self._heads.get((rcode, sections))
        if found is None:
            found = self._heads[rcode, sections] = heads(rcode, sections, recursion=self._recursion)
        return Entry(rcode, sections, heads=found)

    def _body(self, question: Question, found: Answer, wire_length: int) -> Body:
        return body_of(question, found, wire_length=wire_length, ttl=self.rules.ttl, serial=self.soa.serial)


def rotations(found: Answer) -> list[Answer]:
    """The same answer with its addresses turned, each first once (the first eight); CNAMEs stay in front."""
    names = [record for record in found.records if record.type not in (A, AAAA)]
    addresses = [record for record in found.records if record.type in (A, AAAA)]
    if len(addresses) < 2:
        return [found]
    step = max(1, len(addresses) // _ROTATIONS)
    starts = range(0, len(addresses), step)[:_ROTATIONS]
    return [found._replace(records=(*names, *addresses[at:], *addresses[:at])) for at in starts]
