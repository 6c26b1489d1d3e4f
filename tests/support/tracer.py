"""Follows the first packet of a connection through nftables as FakeNftables holds them: what becomes of it, and how.

It interprets the same expressions the kernel gets, register by register, and visits the hooks in the kernel's order:
in:    prerouting (filter, nat) -> input (filter), or forward (filter) -> postrouting (nat)
local: output (nat) -> output (filter) -> postrouting (nat)
"""

import random
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from pybernetes.netlink.expressions import (
    ACCEPT,
    CT_STATE_NEW,
    CT_STATUS_DNAT,
    DROP,
    AddressType,
    Bitwise,
    Compare,
    Ct,
    Decide,
    Dnat,
    Dynset,
    Expression,
    Immediate,
    Lookup,
    Masquerade,
    Meta,
    Numgen,
    Payload,
    Reject,
    Rule,
    SetMark,
    Verdict,
    VerdictLookup,
)
from pybernetes.netlink.fake import Elements, FakeNftables, Table
from pybernetes.netlink.nft import IP

ORDER = "little"
BREAK = Verdict("continue")


@dataclass(slots=True)
class Packet:
    """The first packet of a connection."""

    source: str
    destination: str
    port: int
    protocol: int = 6
    source_port: int = 40000
    mark: int = 0
    link: int = 2
    """The index of the link it came in by."""


@dataclass(slots=True)
class Outcome:
    """`kind` is forward (sent on), local (for this node itself), refused or dropped; then where to, and from whom."""

    kind: Literal["forward", "local", "refused", "dropped"]
    destination: str = ""
    port: int = 0
    translated: bool = False
    masqueraded: bool = False
    path: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Flow:
    """A packet on its way, and what rules have done to it."""

    packet: Packet
    translated: bool = False
    masqueraded: bool = False
    refused: bool = False
    path: list[str] = field(default_factory=list)


class Tracer:
    """One node: its tables, its own addresses, and a source of chance."""

    def __init__(
        self, nft: FakeNftables, *, family: int = IP, own: frozenset[str] = frozenset(), seed: int = 1
    ) -> None:
        self.nft = nft
        self.family = family
        self.own = own
        self.random = random.Random(seed)

    def receive(self, packet: Packet) -> Outcome:
        """A packet that comes in by a link."""
        flow = Flow(packet)
        for kind in ("filter", "nat"):
            if (end := self._hook(flow, kind, "prerouting")) is not None:
                return end
        local = self._is_own(flow.packet.destination)
        if (end := self._hook(flow, "filter", "input" if local else "forward")) is not None:
            return end
        if not local and (end := self._hook(flow, "nat", "postrouting")) is not None:
            return end
        return self._arrived(flow)

    def send(self, packet: Packet) -> Outcome:
        """A packet that a process of the node itself sends."""
        flow = Flow(packet)
        for kind, point in (("nat", "output"), ("filter", "output"), ("nat", "postrouting")):
            if (end := self._hook(flow, kind, point)) is not None:
                return end
        return self._arrived(flow)

    def _is_own(self, address: str) -> bool:
        return address in self.own or ip_address(address).is_loopback

    def _arrived(self, flow: Flow) -> Outcome:
        packet = flow.packet
        kind: Literal["local", "forward"] = "local" if self._is_own(packet.destination) else "forward"
        return Outcome(kind, packet.destination, packet.port, flow.translated, flow.masqueraded, flow.path)

    def _hook(self, flow: Flow, kind: str, point: str) -> Outcome | None:
        """All base chains of a hook, by priority; an outcome when the packet ends there. What has been translated is
        not seen by later chains that translate.
        """
        bases = [
            (chain.hook.priority, name, table)
            for (family, _), table in self.nft.tables.items()
            for name, chain in table.chains.items()
            if family == self.family and chain.hook and (chain.hook.type, chain.hook.point) == (kind, point)
        ]
        for _, name, table in sorted(bases, key=lambda base: base[0]):
            verdict = self._chain(flow, table, name)
            if flow.refused:
                return Outcome("refused", path=flow.path)
            if verdict == DROP:
                return Outcome("dropped", path=flow.path)
            if kind == "nat" and (flow.masqueraded if point == "postrouting" else flow.translated):
                break
        return None

    def _chain(self, flow: Flow, table: Table, name: str) -> Verdict | None:
        """The verdict of a chain; None when its end is reached, or it returns."""
        flow.path.append(name)
        for rule in table.chains[name].rules:
            verdict = self._rule(flow, table, rule)
            if verdict is None or verdict == BREAK:
                continue
            if verdict.code == "jump":
                verdict = self._chain(flow, table, verdict.chain)
                if verdict is None:
                    continue
            elif verdict.code == "goto":
                return self._chain(flow, table, verdict.chain)
            elif verdict.code == "return":
                return None
            return verdict
        return None

    def _rule(self, flow: Flow, table: Table, rule: Rule) -> Verdict | None:
        registers = bytearray(64)
        for step in rule:
            verdict = self._step(flow, table, registers, step)
            if verdict is not None:
                return verdict
        return None

    def _step(self, flow: Flow, table: Table, registers: bytearray, step: Expression) -> Verdict | None:
        """BREAK ends the rule, None goes on."""
        packet = flow.packet

        def load(register: int, value: bytes) -> None:
            padded = value + bytes(-len(value) % 4)
            registers[register * 4 : register * 4 + len(padded)] = padded

        def read(register: int, length: int) -> bytes:
            return bytes(registers[register * 4 : register * 4 + length])

        match step:
            case Payload():
                load(step.register, self._payload(packet, step))
            case Meta(register, key):
                numbers = {"mark": packet.mark, "iif": packet.link}
                load(register, numbers[key].to_bytes(4, ORDER) if key in numbers else bytes([packet.protocol]))
            case SetMark(register):
                packet.mark = int.from_bytes(read(register, 4), ORDER)
            case Ct(register, key):
                status = CT_STATUS_DNAT if flow.translated else 0
                load(register, (CT_STATE_NEW if key == "state" else status).to_bytes(4, ORDER))
            case AddressType(register, side):
                address = packet.source if side == "source" else packet.destination
                load(register, (2 if self._is_own(address) else 1).to_bytes(4, ORDER))
            case Compare(register, value, inverted):
                return BREAK if (read(register, len(value)) == value) == inverted else None
            case Bitwise(register, mask, xor):
                value = read(register, len(mask))
                load(register, bytes((v & m) ^ x for v, m, x in zip(value, mask, xor, strict=True)))
            case Immediate(register, value):
                load(register, value)
            case Decide(verdict):
                return verdict
            case Numgen(register, modulus, offset):
                load(register, (self.random.randrange(modulus) + offset).to_bytes(4, ORDER))
            case Lookup(name, register, into, inverted):
                held = table.sets[name]
                key = read(register, held.shape.key_length)
                if self._holds(held, key) == inverted:
                    return BREAK
                if into is not None:
                    data = held.content[key]
                    assert isinstance(data, bytes)
                    load(into, data)
            case VerdictLookup(name, register):
                held = table.sets[name]
                data = held.content.get(read(register, held.shape.key_length))
                assert data is None or isinstance(data, Verdict)
                return data if data is not None else BREAK
            case Dynset(name, operation, key_register, data_register):
                return self._dynset(table.sets[name], operation, read, key_register, data_register)
            case Dnat(_, address, port):
                family, length = (socket.AF_INET, 4) if self.family == IP else (socket.AF_INET6, 16)
                packet.destination = socket.inet_ntop(family, read(address, length))
                packet.port = int.from_bytes(read(port, 2), "big")
                flow.translated = True
                return ACCEPT
            case Masquerade():
                flow.masqueraded = True
                return ACCEPT
            case Reject():
                flow.refused = True
                return DROP
            case _:
                raise NotImplementedError(step)
        return None

    def _payload(self, packet: Packet, step: Payload) -> bytes:
        if step.base == "transport":
            header = packet.source_port.to_bytes(2, "big") + packet.port.to_bytes(2, "big")
        elif self.family == IP:
            header = bytes(12) + socket.inet_pton(socket.AF_INET, packet.source)
            header += socket.inet_pton(socket.AF_INET, packet.destination)
        else:
            header = bytes(8) + socket.inet_pton(socket.AF_INET6, packet.source)
            header += socket.inet_pton(socket.AF_INET6, packet.destination)
        return header[step.offset : step.offset + step.length]

    def _holds(self, held: Elements, key: bytes) -> bool:
        if not held.shape.interval:
            return key in held.content
        below = [each for each in held.content if each <= key]
        return bool(below) and max(below) not in held.ends

    def _dynset(self, held: Elements, operation: str, read: object, key: int, data: int | None) -> Verdict | None:
        assert callable(read)
        name = read(key, held.shape.key_length)
        if operation == "delete":
            held.content.pop(name, None)
            return None
        if name not in held.content:
            if held.shape.size and len(held.content) >= held.shape.size:
                return BREAK
            held.content[name] = read(data, held.shape.data_length) if data is not None else None
        return None
