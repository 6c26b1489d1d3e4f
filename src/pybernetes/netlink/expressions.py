"""The nftables expressions that rules are made of, as values: what the kernel is told, and what a model can follow.

A rule is a list of expressions over sixteen 32-bit registers (named 0 to 15 here; the kernel numbers them from 8).
Each loads, changes or tests registers, or says what becomes of the packet. One that does not hold ends the rule.
Registers are in network order, but for the kernel's own numbers (mark, numgen, fib, ct), which are the host's.
"""

import struct
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pybernetes.netlink.message import attribute, nested, text

_REGISTER_0 = 8
_VERDICT_REGISTER = 0
REGISTERS = 16


class Verdict(NamedTuple):
    """What becomes of a packet; `chain` for jump and goto."""

    code: Literal["drop", "accept", "continue", "jump", "goto", "return"]
    chain: str = ""


ACCEPT, DROP, RETURN = Verdict("accept"), Verdict("drop"), Verdict("return")
_CODES = {"drop": 0, "accept": 1, "continue": -1, "jump": -3, "goto": -4, "return": -5}
_CODE_NAMES = {number: name for name, number in _CODES.items()}


def jump(chain: str) -> Verdict:
    return Verdict("jump", chain)


def goto(chain: str) -> Verdict:
    return Verdict("goto", chain)


def encode_verdict(verdict: Verdict) -> bytes:
    """The data attribute (NFTA_DATA_VERDICT) of a verdict."""
    chain = text(2, verdict.chain) if verdict.chain else b""
    return nested(2, attribute(1, struct.pack(">i", _CODES[verdict.code])), chain)


def decode_verdict(values: dict[int, bytes]) -> Verdict:
    (number,) = struct.unpack(">i", values[1])
    return Verdict(_CODE_NAMES[number], values.get(2, b"").rstrip(b"\0").decode())  # type: ignore[arg-type]


def number(kind: int, value: int) -> bytes:
    """An unsigned 32-bit attribute in network order."""
    return attribute(kind, struct.pack(">I", value))


def _register(kind: int, register: int) -> bytes:
    return number(kind, register + _REGISTER_0)


def _value(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))


class Expression:
    """One step of a rule."""

    name: ClassVar[str]

    def body(self) -> bytes:
        raise NotImplementedError


def encode_expression(expression: Expression) -> bytes:
    """One element of a rule's expression list."""
    return nested(1, text(1, expression.name), nested(2, expression.body()))


@dataclass(frozen=True, slots=True)
class Payload(Expression):
    """Load bytes of the packet's network or transport header."""

    name: ClassVar[str] = "payload"
    register: int
    base: Literal["network", "transport"]
    offset: int
    length: int

    def body(self) -> bytes:
        base = 1 if self.base == "network" else 2
        return _register(1, self.register) + number(2, base) + number(3, self.offset) + number(4, self.length)


_META = {"mark": 3, "iif": 4, "l4proto": 16}
LOOPBACK_INDEX = 1
"""The index that the loopback link has in every namespace."""


@dataclass(frozen=True, slots=True)
class Meta(Expression):
    """Load the packet's mark, the index of the link it came in by, or its transport protocol's number."""

    name: ClassVar[str] = "meta"
    register: int
    key: Literal["mark", "iif", "l4proto"]

    def body(self) -> bytes:
        return _register(1, self.register) + number(2, _META[self.key])


@dataclass(frozen=True, slots=True)
class SetMark(Expression):
    """Give the packet the mark in a register."""

    name: ClassVar[str] = "meta"
    register: int

    def body(self) -> bytes:
        return number(2, _META["mark"]) + _register(3, self.register)


CT_STATE_NEW = 8
CT_STATUS_DNAT = 0x20


@dataclass(frozen=True, slots=True)
class Ct(Expression):
    """Load the connection's state bits or status bits (host order)."""

    name: ClassVar[str] = "ct"
    register: int
    key: Literal["state", "status"]

    def body(self) -> bytes:
        return _register(1, self.register) + number(2, 0 if self.key == "state" else 2)


ADDRESS_LOCAL = 2


@dataclass(frozen=True, slots=True)
class AddressType(Expression):
    """Load what kind of address (RTN_LOCAL is 2) the routing table takes the packet's source or destination for."""

    name: ClassVar[str] = "fib"
    register: int
    side: Literal["source", "destination"]

    def body(self) -> bytes:
        return _register(1, self.register) + number(2, 3) + number(3, 1 if self.side == "source" else 2)


@dataclass(frozen=True, slots=True)
class Compare(Expression):
    """Go on if a register holds the value (or, inverted, does not)."""

    name: ClassVar[str] = "cmp"
    register: int
    value: bytes
    inverted: bool = False

    def body(self) -> bytes:
        return _register(1, self.register) + number(2, 1 if self.inverted else 0) + _value(3, self.value)


@dataclass(frozen=True, slots=True)
class Bitwise(Expression):
    """register = (register & mask) ^ xor."""

    name: ClassVar[str] = "bitwise"
    register: int
    mask: bytes
    xor: bytes

    def body(self) -> bytes:
        registers = _register(1, self.register) + _register(2, self.register)
        return registers + number(3, len(self.mask)) + _value(4, self.mask) + _value(5, self.xor)


@dataclass(frozen=True, slots=True)
class Immediate(Expression):
    """Load a constant."""

    name: ClassVar[str] = "immediate"
    register: int
    value: bytes

    def body(self) -> bytes:
        return _register(1, self.register) + _value(2, self.value)


@dataclass(frozen=True, slots=True)
class Decide(Expression):
    """The rule's verdict."""

    name: ClassVar[str] = "immediate"
    verdict: Verdict

    def body(self) -> bytes:
        return number(1, _VERDICT_REGISTER) + nested(2, encode_verdict(self.verdict))


@dataclass(frozen=True, slots=True)
class Numgen(Expression):
    """Load a random number: offset <= number < offset + modulus (host order)."""

    name: ClassVar[str] = "numgen"
    register: int
    modulus: int
    offset: int = 0

    def body(self) -> bytes:
        return _register(1, self.register) + number(2, self.modulus) + number(3, 1) + number(4, self.offset)


@dataclass(frozen=True, slots=True)
class Lookup(Expression):
    """Go on if the set holds the key in `register` (inverted: if not); of a map, load its data into `into`."""

    name: ClassVar[str] = "lookup"
    set: str
    register: int
    into: int | None = None
    inverted: bool = False

    def body(self) -> bytes:
        into = _register(3, self.into) if self.into is not None else b""
        return text(1, self.set) + _register(2, self.register) + into + (number(5, 1) if self.inverted else b"")


@dataclass(frozen=True, slots=True)
class VerdictLookup(Expression):
    """The verdict that the map holds for the key; go on if it has none."""

    name: ClassVar[str] = "lookup"
    set: str
    register: int

    def body(self) -> bytes:
        return text(1, self.set) + _register(2, self.register) + number(3, _VERDICT_REGISTER)


_DYNSET = {"add": 0, "update": 1, "delete": 2}


@dataclass(frozen=True, slots=True)
class Dynset(Expression):
    """Change a dynamic set from the packet path; ends the rule when the set is full.

    "add" and "update" put the key in (a map: with the data at `data`) unless it is there; "update" also starts its time
    anew but keeps its data. "delete" takes it out, and of a map wants `data` all the same.
    """

    name: ClassVar[str] = "dynset"
    set: str
    operation: Literal["add", "update", "delete"]
    key: int
    data: int | None = None
    timeout_ms: int = 0

    def body(self) -> bytes:
        body = text(1, self.set) + number(3, _DYNSET[self.operation]) + _register(4, self.key)
        body += _register(5, self.data) if self.data is not None else b""
        return body + (attribute(6, struct.pack(">Q", self.timeout_ms)) if self.timeout_ms else b"")


@dataclass(frozen=True, slots=True)
class Dnat(Expression):
    """Send the connection to the address and port in these registers."""

    name: ClassVar[str] = "nat"
    family: int
    address: int
    port: int

    def body(self) -> bytes:
        body = number(1, 1) + number(2, self.family) + _register(3, self.address) + _register(4, self.address)
        return body + _register(5, self.port) + _register(6, self.port)


RANDOM_PORTS = 0x10


@dataclass(frozen=True, slots=True)
class Masquerade(Expression):
    """Give the connection the outgoing link's address as source."""

    name: ClassVar[str] = "masq"
    flags: int = RANDOM_PORTS

    def body(self) -> bytes:
        return number(1, self.flags)


@dataclass(frozen=True, slots=True)
class BoundSocket(Expression):
    """Go on if a socket of this namespace would take the packet; load 1 if it is transparent (IP_TRANSPARENT), else 0.

    Connections that are being opened or are over count, too (which they do not for any other key). In prerouting and
    input only. A kernel without CONFIG_NFT_SOCKET refuses it with ENOENT.
    """

    name: ClassVar[str] = "socket"
    register: int

    def body(self) -> bytes:
        return number(1, 0) + _register(2, self.register)


@dataclass(frozen=True, slots=True)
class Notrack(Expression):
    """Keep the packet out of connection tracking, and with it out of translation; before priority -200 only."""

    name: ClassVar[str] = "notrack"

    def body(self) -> bytes:
        return b""


_PORT_UNREACHABLE = {2: 3, 10: 4}


@dataclass(frozen=True, slots=True)
class Reject(Expression):
    """Refuse: by a TCP reset, or ICMP port unreachable in the table's family."""

    name: ClassVar[str] = "reject"
    kind: Literal["tcp-reset", "icmp"]
    family: int

    def body(self) -> bytes:
        if self.kind == "tcp-reset":
            return number(1, 1)
        return number(1, 0) + attribute(2, bytes([_PORT_UNREACHABLE[self.family]]))


Rule = tuple[Expression, ...]
