"""The data plane in the kernel: one table per address family, kept true by small transactions.

All netlink work is done in a thread of its own, in order: a full sync of many Services takes hundreds of milliseconds,
and the event loop shall not notice.
"""

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Protocol

from pybernetes.aio.thread import Worker
from pybernetes.netlink.conntrack import Match
from pybernetes.netlink.nft import AddTable, DeleteTable, Nftables, Operation, Transaction

from .drift import differences
from .layout import MARTIANS, TABLE, Made
from .model import Desired, Front, ServicePort
from .plan import ELEMENT_SETS, Book, Change, Difference, Elements, Planner
from .takeover import left_behind

log = logging.getLogger(__name__)

_UNKNOWN = -1

Updates = Mapping[ServicePort, Front | None]


class Connections(Protocol):
    """The tracked connections: netlink.conntrack.Conntrack."""

    def delete(self, match: Match) -> None: ...

    def close(self) -> None: ...


class NftDataplane:
    """See model.Dataplane. Both doors are closed with it."""

    def __init__(
        self,
        nft: Nftables,
        connections: Connections,
        planners: Sequence[Planner],
        *,
        route_localnet: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.nft = nft
        self.connections = connections
        self.planners = planners
        self.route_localnet = route_localnet
        """Switches the kernel's own protection of 127.0.0.0/8 off (True) and on."""
        self.operations = 0
        """How many operations the kernel has been sent; a sync that changes nothing adds none."""
        self._worker = Worker("proxy")
        self._books: list[Book] = []
        self._owed: list[Match] = []
        self._known = False
        self._generation = _UNKNOWN
        self._meanwhile: dict[Book, list[Difference]] | None = None
        """What changed since a check began that is under way."""

    async def sync(self, desired: Desired, *, changed: frozenset[ServicePort] | None = None) -> None:
        if changed is None or not self._known:
            await self._worker.call(self._replace, dict(desired))
        else:
            updates = {key: desired.get(key) for key in changed}
            await self._worker.call(self._update, updates)

    async def open_at(self, node_addresses: Sequence[str]) -> None:
        await self._worker.call(self._move, tuple(node_addresses))

    async def house(self, pods: Sequence[str]) -> None:
        await self._worker.call(self._house, tuple(pods))

    async def check(self, desired: Desired) -> int:
        """In small steps, between which changes have their turn."""
        steps = self._check()
        found = 0
        try:
            while (step := await self._worker.call(next, steps, None)) is not None:
                found += step
        finally:
            self._worker.submit(steps.close)
        return found

    async def clear(self) -> None:
        await self._worker.call(self._clear)

    async def close(self) -> None:
        await self._worker.close()
        self.nft.close()
        self.connections.close()

    # In the thread

    def _update(self, updates: Updates) -> None:
        self._known = False
        for book in self._books:
            change = book.update(updates)
            self._owed += change.stale
            if self._meanwhile is not None:
                self._meanwhile[book].append(change.difference)
            self._commit(book.planner, change.chains)
            self._commit(book.planner, change.elements)
        self._known = True
        self._forget()

    def _move(self, node_addresses: Sequence[str]) -> None:
        """Who has a node port, or source ranges that may mean the node itself, is placed anew where that is a change;
        endpoints keep their slots.
        """
        moved = [planner.open_at(node_addresses) for planner in self.planners]
        if not any(moved) or not self._known:
            return
        self._update({key: front for key, front in self._fronts().items() if front.node_port or front.sources})

    def _house(self, pods: Sequence[str]) -> None:
        """A fixed set of the table: it is replaced as a whole, which happens when a node is given its range."""
        housed = [planner.house(pods) for planner in self.planners]
        if any(housed) and self._known:
            self._replace(self._fronts())

    def _fronts(self) -> Desired:
        return {key: each.front for book in self._books for key, each in book.placements.items()}

    def _replace(self, desired: Desired) -> None:
        """The whole truth, whatever the kernel holds: an older run's table is brought up to date in place if it has
        the same layout, else replaced, in one transaction either way: there is no moment without rules.
        """
        self._known = False
        before = {book.planner: book for book in self._books}
        self._generation = self.nft.generation()
        books = []
        for planner in self.planners:
            if not planner.layout.ranges.loopback:
                self._protect_loopback(planner.layout.family)
            book = Book(planner)
            fresh = book.update(desired)
            held: Elements = {}
            if planner in before:
                self._owed += _stale(before[planner], book)
            else:
                held = self._held(planner.layout.family)
                self._owed += left_behind(book, held)
            for operations in self._repairs(book, fresh, held=held):
                self._commit(planner, operations)
            books.append(book)
            if planner.layout.ranges.loopback:
                self.route_localnet(True)  # after the rules that protect loopback
        self._books = books
        self._known = True
        self._forget()

    def _held(self, family: int) -> Elements:
        """What an older run's table tells of its connections."""
        present = self.nft.sets(family, TABLE)
        names = [name for name in ("endpoints", "targets") if name in present]
        return {name: dict(self.nft.elements(family, TABLE, name)) for name in names}

    def _check(self) -> Generator[int, None, None]:
        """How many operations each step needed. Nothing to read while nobody else has changed anything: the kernel
        counts transactions. It ends early when the whole truth is synced meanwhile, which compares as well.
        """
        if not self._known or self.nft.generation() == self._generation:
            return
        self._generation = self.nft.generation()
        books = self._books
        meanwhile = self._meanwhile = {book: [] for book in books}
        try:
            for book in books:
                yield self._repair_chains(book)
                steps = differences(book, self.nft, meanwhile[book])
                while self._known and self._books is books:
                    try:
                        next(steps)
                    except StopIteration as end:
                        yield self._repair(book, list(end.value.operations()))
                        break
                    yield 0
        finally:
            if self._meanwhile is meanwhile:
                self._meanwhile = None

    def _repair_chains(self, book: Book) -> int:
        """All of the table if its fixed part is not as it should be, else the class chains."""
        present = self.nft.chains(book.planner.layout.family, TABLE)
        operations = self._replacement(book, present)
        return self._repair(book, operations if operations is not None else _lost_chains(book, present))

    def _repair(self, book: Book, operations: list[Operation]) -> int:
        self._commit(book.planner, operations)
        return len(operations)

    def _repairs(self, book: Book, fresh: Change, *, held: Elements) -> list[list[Operation]]:
        """From what is in the kernel to what the book says, transaction by transaction (see plan.Change); `fresh` is
        all of the book, `held` the elements of the sets that have been read already.
        """
        family = book.planner.layout.family
        present = self.nft.chains(family, TABLE)
        whole = self._replacement(book, present, content=[*fresh.chains, *fresh.elements])
        if whole is not None:
            return [whole]
        return [_lost_chains(book, present), book.repair(self._observed(family, held))]

    def _replacement(
        self, book: Book, present: Mapping[str, int], *, content: list[Operation] | None = None
    ) -> list[Operation] | None:
        """The table anew with this content (None: the book's), unless its fixed part is as it should be."""
        layout = book.planner.layout
        skeleton = layout.skeleton()
        comment = skeleton[0].comment if isinstance(skeleton[0], AddTable) else ""
        if self.nft.comment(layout.family, TABLE) == comment and self._intact(book, present):
            return None
        if content is None:
            content = [*_chains(book, book.chains), *book.repair({})]
        return [AddTable(), DeleteTable(), *skeleton, *content]

    def _intact(self, book: Book, present: Mapping[str, int]) -> bool:
        layout = book.planner.layout
        if any(present.get(name) != rules for name, rules in layout.fixed_chains().items()):
            return False
        if not {each.name for each in layout.sets()} <= self.nft.sets(layout.family, TABLE):
            return False
        fixed = layout.fixed_elements()
        return all(set(self.nft.elements(layout.family, TABLE, name)) == set(keys) for name, keys in fixed.items())

    def _observed(self, family: int, held: Elements) -> Elements:
        return {
            name: held[name] if name in held else dict(self.nft.elements(family, TABLE, name)) for name in ELEMENT_SETS
        }

    def _commit(self, planner: Planner, operations: list[Operation]) -> None:
        """Apply, and notice whether anybody else has changed something since we looked last."""
        if not operations:
            return
        before = self.nft.generation()
        self.nft.commit(Transaction(planner.layout.family, TABLE, operations))
        self.operations += len(operations)
        after = self.nft.generation()
        self._generation = after if before == self._generation and after == before + 1 else _UNKNOWN

    def _forget(self) -> None:
        """After the rules, the connections: one that is made anew must meet the new rules. Owed ones survive a failed
        commit, for the next try finds no difference that would tell of them.
        """
        owed, self._owed = dict.fromkeys(self._owed), []
        for match in owed:
            try:
                self.connections.delete(match)
            except OSError as error:
                log.warning("stale connections kept match=%s error=%s", match, error)

    def _clear(self) -> None:
        self._known = False
        self._books = []
        for planner in self.planners:
            self._protect_loopback(planner.layout.family)
            with contextlib.suppress(FileNotFoundError):
                self.nft.commit(Transaction(planner.layout.family, TABLE, [AddTable(), DeleteTable()]))

    def _protect_loopback(self, family: int) -> None:
        """A table with rules that protect loopback is about to go: the kernel is to do it again, and before that."""
        if MARTIANS in self.nft.chains(family, TABLE):
            self.route_localnet(False)


def _lost_chains(book: Book, present: Mapping[str, int]) -> list[Operation]:
    """`present` are the chains of the table, with the number of rules in each."""
    layout = book.planner.layout
    return _chains(book, (each for each in book.chains if present.get(each.chain) != layout.class_size(each)))


def _chains(book: Book, wanted: Iterable[Made]) -> list[Operation]:
    return [
        operation
        for each in sorted(wanted, key=lambda each: each.chain)
        for operation in book.planner.layout.class_chain(each)
    ]


def _stale(before: Book, after: Book) -> Iterable[Match]:
    for key, was in before.placements.items():
        yield from after.planner.stale(was, after.placements.get(key))
