"""A working model of nftables: it holds tables as the kernel would, and refuses what the kernel refuses.

The contract suite runs the same cases over this and over the kernel. What the model leaves out: handles, generations,
rule positions, expiry of elements by time (a tracer that changes dynamic sets says when), hardware offload.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pybernetes.netlink.expressions import (
    Decide,
    Dnat,
    Dynset,
    Lookup,
    Masquerade,
    Reject,
    Rule,
    Verdict,
    VerdictLookup,
)
from pybernetes.netlink.nft import (
    VERDICT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Data,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    Hook,
    Operation,
    Refused,
    Set,
    Transaction,
    describe,
)

PIECE = 3
"""So many elements come at a time: few, that tests meet what happens between two pieces."""


@dataclass(slots=True)
class Chain:
    hook: Hook | None
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Elements:
    """A set and its content; `ends` are the keys that close a range."""

    shape: Set
    content: dict[bytes, Data] = field(default_factory=dict)
    ends: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Table:
    comment: str = ""
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, Elements] = field(default_factory=dict)

    def copied(self) -> "Table":
        chains = {name: Chain(chain.hook, list(chain.rules)) for name, chain in self.chains.items()}
        sets = {name: Elements(held.shape, dict(held.content), set(held.ends)) for name, held in self.sets.items()}
        return Table(self.comment, chains, sets)


class FakeNftables:
    """See nft.Nftables. `tables` is open to tests and tracers; `commits` counts transactions that were applied."""

    def __init__(self) -> None:
        self.tables: dict[tuple[int, str], Table] = {}
        self.commits = 0

    def commit(self, transaction: Transaction) -> None:
        key = (transaction.family, transaction.table)
        before = self.tables.get(key)
        draft: Table | None = before.copied() if before else None
        for operation in transaction.operations:
            try:
                draft = _apply(draft, operation, transaction.family)
            except _Error as error:
                raise Refused(error.code, f"{describe(operation)}: {os.strerror(error.code)}", operation) from None
        if draft is None:
            self.tables.pop(key, None)
        else:
            self.tables[key] = draft
        self.commits += bool(transaction)

    def generation(self) -> int:
        return self.commits

    def comment(self, family: int, table: str) -> str | None:
        found = self.tables.get((family, table))
        return found.comment if found else None

    def chains(self, family: int, table: str) -> Mapping[str, int]:
        found = self.tables.get((family, table))
        return {name: len(chain.rules) for name, chain in found.chains.items()} if found else {}

    def sets(self, family: int, table: str) -> frozenset[str]:
        found = self.tables.get((family, table))
        return frozenset(found.sets) if found else frozenset()

    def elements(self, family: int, table: str, name: str) -> Mapping[bytes, Data]:
        found = self.tables.get((family, table))
        if found is None or name not in found.sets:
            raise OSError(errno.ENOENT, f"list elements of {table} {name}: {os.strerror(errno.ENOENT)}")
        return dict(found.sets[name].content)

    def pieces(self, family: int, table: str, name: str) -> Iterator[Mapping[bytes, Data]]:
        keys = list(self.elements(family, table, name))
        for start in range(0, len(keys), PIECE):
            found = self.tables.get((family, table))
            now = found.sets[name].content if found else {}
            yield {key: now[key] for key in keys[start : start + PIECE] if key in now}

    def lookup(self, family: int, table: str, name: str, keys: Iterable[bytes]) -> Mapping[bytes, Data]:
        found = self.elements(family, table, name)
        return {key: found[key] for key in keys if key in found}

    def close(self) -> None:
        return


class _Error(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


def _require(holds: bool, code: int) -> None:
    if not holds:
        raise _Error(code)


def _apply(table: Table | None, operation: Operation, family: int) -> Table | None:
    """The table after the operation; None when there is none. Changes `table` in place."""
    match operation:
        case AddTable(comment):
            return table or Table(comment)
        case DeleteTable(missing_ok):
            _require(table is not None or missing_ok, errno.ENOENT)
            return None
    if table is None:
        raise _Error(errno.ENOENT)
    match operation:
        case AddChain(name, hook):
            present = table.chains.setdefault(name, Chain(hook))
            _require(hook is None or present.hook == hook, errno.EEXIST)
        case DeleteChain(name):
            _require(name in table.chains, errno.ENOENT)
            chain = table.chains.pop(name)
            _require(not _chain_used(table, name), errno.EBUSY)
            del chain
        case AddRule(name, rule):
            _require(name in table.chains, errno.ENOENT)
            _check_rule(table, rule, family)
            table.chains[name].rules.append(rule)
            _check_hooks(table)
        case FlushChain(name):
            _require(name in table.chains, errno.ENOENT)
            table.chains[name].rules.clear()
        case _:
            _apply_set(table, operation)
    return table


def _apply_set(table: Table, operation: Operation) -> None:
    match operation:
        case AddSet(new):
            present = table.sets.setdefault(new.name, Elements(new))
            _require(present.shape == new, errno.EEXIST)
        case DeleteSet(name):
            _require(name in table.sets, errno.ENOENT)
            _require(not _set_used(table, name), errno.EBUSY)
            del table.sets[name]
        case FlushSet(name):
            _require(name in table.sets, errno.ENOENT)
            table.sets[name].content.clear()
            table.sets[name].ends.clear()
        case AddElements(name, elements, ends):
            _require(name in table.sets, errno.ENOENT)
            for key, data in elements.items():
                _add_element(table, table.sets[name], key, data)
            table.sets[name].ends |= ends
        case DeleteElements(name, keys, missing_ok):
            _require(name in table.sets, errno.ENOENT)
            held = table.sets[name]
            for key in keys:
                _require(len(key) == held.shape.key_length, errno.EINVAL)
                _require(key in held.content or missing_ok, errno.ENOENT)
                held.content.pop(key, None)
                held.ends.discard(key)


def _add_element(table: Table, held: Elements, key: bytes, data: Data) -> None:
    _require(len(key) == held.shape.key_length, errno.EINVAL)
    if not held.shape.is_map:
        _require(data is None, errno.EINVAL)
    elif held.shape.data == VERDICT:
        _require(isinstance(data, Verdict), errno.EINVAL)
        _require(not data.chain or data.chain in table.chains, errno.ENOENT)  # type: ignore[union-attr]
    else:
        _require(isinstance(data, bytes) and len(data) == held.shape.data_length, errno.EINVAL)
    _require(key not in held.content or held.content[key] == data, errno.EEXIST)
    if held.shape.size and key not in held.content:
        _require(len(held.content) < held.shape.size, errno.ENFILE)
    held.content[key] = data


def _check_rule(table: Table, rule: Rule, family: int) -> None:
    for expression in rule:
        match expression:
            case Decide(verdict):
                _require(not verdict.chain or verdict.chain in table.chains, errno.ENOENT)
            case Lookup(name, _, into):
                _require(name in table.sets, errno.ENOENT)
                _require(into is None or (table.sets[name].shape.is_map and not expression.inverted), errno.EINVAL)
            case VerdictLookup(name):
                _require(name in table.sets, errno.ENOENT)
                _require(table.sets[name].shape.data == VERDICT, errno.EINVAL)
            case Dynset(name, _, _, data):
                _require(name in table.sets, errno.ENOENT)
                _require((data is not None) == table.sets[name].shape.is_map, errno.EINVAL)
            case Dnat():
                _require(expression.family == family, errno.EOPNOTSUPP)


def _targets(table: Table, rule: Rule) -> frozenset[str]:
    """The chains that a rule may lead to."""
    found = {step.verdict.chain for step in rule if isinstance(step, Decide)}
    for step in rule:
        if isinstance(step, VerdictLookup):
            found |= {data.chain for data in table.sets[step.set].content.values() if isinstance(data, Verdict)}
    return frozenset(found - {""})


def _chain_used(table: Table, name: str) -> bool:
    if any(isinstance(step, Decide) and step.verdict.chain == name for rule in _rules(table) for step in rule):
        return True
    contents = (held.content.values() for held in table.sets.values() if held.shape.data == VERDICT)
    return any(isinstance(data, Verdict) and data.chain == name for content in contents for data in content)


def _set_used(table: Table, name: str) -> bool:
    return any(getattr(step, "set", None) == name for rule in _rules(table) for step in rule)


def _rules(table: Table) -> list[Rule]:
    return [rule for chain in table.chains.values() for rule in chain.rules]


_ALLOWED = {
    Dnat: ("nat", ("prerouting", "output")),
    Masquerade: ("nat", ("postrouting",)),
    Reject: (None, ("prerouting", "input", "forward", "output")),
}


def _check_hooks(table: Table) -> None:
    """Translation only where it can be done: whatever a base chain can reach is bound to its hook. No loops."""
    for chain in table.chains.values():
        if chain.hook is not None:
            _walk(table, chain, chain.hook, ())


def _walk(table: Table, chain: Chain, hook: Hook, path: tuple[str, ...]) -> None:
    for rule in chain.rules:
        for step in rule:
            if type(step) in _ALLOWED:
                kind, points = _ALLOWED[type(step)]
                _require(kind in (None, hook.type) and hook.point in points, errno.EOPNOTSUPP)
        for name in _targets(table, rule):
            _require(name not in path, errno.ELOOP)
            _walk(table, table.chains[name], hook, (*path, name))
