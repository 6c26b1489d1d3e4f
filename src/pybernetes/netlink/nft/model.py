"""The vocabulary of nftables transactions: sets, hooks, operations, and the door that takes them. No I/O.

A `Transaction` collects operations on one table; `Nftables.commit` applies it whole or not at all. Keys and data of
elements are bytes: fields in order, each padded to four bytes, as they lie in the registers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, Protocol

from pybernetes.netlink.expressions import Rule, Verdict

IP, IP6 = 2, 10

VERDICT: Literal["verdict"] = "verdict"

Data = bytes | Verdict | None
"""What a key leads to: bytes, a verdict, or None in a set that is no map."""


class Kind(NamedTuple):
    """A field's type as nft shows it, and its bytes before padding."""

    number: int
    length: int


KINDS = {
    "ipv4_addr": Kind(7, 4),
    "ipv6_addr": Kind(8, 16),
    "inet_proto": Kind(12, 1),
    "inet_service": Kind(13, 2),
    "mark": Kind(19, 4),
}


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain is called from; lower priorities go first."""

    type: Literal["filter", "nat"]
    point: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int


HOOK_POINTS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A set, or with `data` a map. `key` and `data` name their fields' kinds in order; `data` may be VERDICT.

    interval: keys are ranges (elements are Range keys). timeout_seconds: elements go by themselves after that time.
    dynamic: rules may change it; `size` bounds it then.
    """

    name: str
    key: tuple[str, ...]
    data: tuple[str, ...] | Literal["verdict"] = ()
    interval: bool = False
    dynamic: bool = False
    timeout_seconds: int = 0
    size: int = 0

    @property
    def is_map(self) -> bool:
        return bool(self.data)

    @property
    def key_length(self) -> int:
        return _length(self.key)

    @property
    def data_length(self) -> int:
        return 0 if self.data == VERDICT else _length(self.data)


def _length(fields: Iterable[str]) -> int:
    return sum((KINDS[name].length + 3) & ~3 for name in fields)


# Operations: what a transaction is made of. The kernel's and the model's `commit` both read these.


@dataclass(frozen=True, slots=True)
class AddTable:
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DeleteTable:
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class AddChain:
    name: str
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class DeleteChain:
    name: str


@dataclass(frozen=True, slots=True)
class AddRule:
    chain: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class FlushChain:
    name: str


@dataclass(frozen=True, slots=True)
class AddSet:
    set: Set


@dataclass(frozen=True, slots=True)
class DeleteSet:
    name: str


@dataclass(frozen=True, slots=True)
class FlushSet:
    name: str


@dataclass(frozen=True, slots=True)
class AddElements:
    """`ends` are the keys of an interval set that close a range: the first key past it."""

    set: str
    elements: Mapping[bytes, Data]
    ends: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class DeleteElements:
    set: str
    keys: Sequence[bytes]
    missing_ok: bool = False


Operation = (
    AddTable
    | DeleteTable
    | AddChain
    | DeleteChain
    | AddRule
    | FlushChain
    | AddSet
    | DeleteSet
    | FlushSet
    | AddElements
    | DeleteElements
)


@dataclass(slots=True)
class Transaction:
    """Operations on one table, in order. Empty ones may be committed: nothing happens."""

    family: int
    table: str
    operations: list[Operation] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.operations)

    def add(self, *operations: Operation) -> None:
        self.operations.extend(operations)


class Refused(OSError):
    """The kernel refused a transaction, and nothing of it was applied; `operation` is the one it stumbled over."""

    def __init__(self, code: int, words: str, operation: Operation | None = None) -> None:
        super().__init__(code, words)
        self.operation = operation


class Nftables(Protocol):
    """The tables of one namespace."""

    def commit(self, transaction: Transaction) -> None:
        """Apply all of it or nothing.

        Raises Refused: ENOENT for a table, chain, set or element that is not there, EEXIST for an element with other
        data or a set of another kind, EBUSY for a chain or set in use, EINVAL or EOPNOTSUPP for what makes no sense.
        """
        ...

    def generation(self) -> int:
        """A number that grows by one with each transaction that anybody applies in this namespace."""
        ...

    def comment(self, family: int, table: str) -> str | None:
        """The comment the table was added with; None when there is no such table."""
        ...

    def chains(self, family: int, table: str) -> Mapping[str, int]:
        """The names of its chains, with the number of rules in each; none of a table that is not there."""
        ...

    def sets(self, family: int, table: str) -> frozenset[str]:
        """The names of its sets and maps; none of a table that is not there."""
        ...

    def elements(self, family: int, table: str, name: str) -> Mapping[bytes, Data]:
        """All elements of a set or map; raises OSError(ENOENT). A range's end is a key of its own."""
        ...

    def pieces(self, family: int, table: str, name: str) -> Iterator[Mapping[bytes, Data]]:
        """As `elements`, some hundreds at a time, or none; other calls may come between two of them.

        What is there all the while is in one of the pieces; of what changes meanwhile it may be the old, the new, or
        neither. Close it, or read it to the end.
        """
        ...

    def lookup(self, family: int, table: str, name: str, keys: Iterable[bytes]) -> Mapping[bytes, Data]:
        """Those of the keys that are in a set or map (of a map, with their data); raises OSError(ENOENT) for no set."""
        ...

    def close(self) -> None: ...


def describe(operation: Operation | None) -> str:
    """An operation in a few words, for errors."""
    match operation:
        case None:
            return "commit"
        case AddElements(name, elements):
            return f"add {len(elements)} elements to {name} ({_some(elements)})"
        case DeleteElements(name, keys):
            return f"delete {len(keys)} elements of {name} ({_some(keys)})"
        case AddSet(new):
            return f"add set {new.name}"
        case AddRule(chain):
            return f"add rule to {chain}"
    return str(operation)


def _some(keys: Iterable[bytes]) -> str:
    return ", ".join(key.hex() for key in islice(keys, 3))
