"""Parts that rules of several tables are made of: where a packet's addresses lie, what connection tracking says of it,
and who stands before 127.0.0.0/8 where the kernel no longer does.
"""

import sys
from typing import Literal

from pybernetes.netlink.expressions import (
    ADDRESS_LOCAL,
    CT_STATE_NEW,
    CT_STATUS_DNAT,
    DROP,
    LOOPBACK_INDEX,
    AddressType,
    Bitwise,
    Compare,
    Ct,
    Decide,
    Expression,
    Meta,
    Payload,
    Rule,
)
from pybernetes.netlink.nft import IP

BYTE_ORDER = sys.byteorder
"""Of the kernel's own numbers: mark, numgen, fib, ct."""


class Header:
    """The header of one family; registers are counted in 32-bit words, `words` to an address."""

    def __init__(self, family: int) -> None:
        self.words = 1 if family == IP else 4
        self.kind = "ipv4_addr" if family == IP else "ipv6_addr"

    def source(self, register: int) -> Expression:
        return Payload(register, "network", 12 if self.words == 1 else 8, self.words * 4)

    def destination(self, register: int) -> Expression:
        return Payload(register, "network", 16 if self.words == 1 else 24, self.words * 4)

    def target(self, register: int) -> tuple[Expression, ...]:
        """Destination address, protocol, port: what the packet asks for."""
        return (self.destination(register), *target_port(register + self.words))


def target_port(register: int) -> tuple[Expression, ...]:
    """Protocol and destination port; TCP, UDP and SCTP have it in the same place."""
    return (Meta(register, "l4proto"), Payload(register + 1, "transport", 2, 2))


def is_new() -> Rule:
    """The connection's first packet."""
    return _has("state", CT_STATE_NEW)


def is_translated() -> Rule:
    """The connection goes to another destination than its first packet asked for."""
    return _has("status", CT_STATUS_DNAT)


def _has(key: Literal["state", "status"], bit: int) -> Rule:
    return (Ct(0, key), Bitwise(0, bit.to_bytes(4, BYTE_ORDER), bytes(4)), Compare(0, bytes(4), inverted=True))


def is_to_this_node() -> Rule:
    """The destination is an address of this namespace."""
    return (AddressType(0, "destination"), Compare(0, ADDRESS_LOCAL.to_bytes(4, BYTE_ORDER)))


LOOPBACK_RANGE: Rule = (Bitwise(0, b"\xff\0\0\0", bytes(4)), Compare(0, b"\x7f\0\0\0"))
"""The IPv4 address in register 0 is loopback's."""


def martians() -> tuple[Rule, ...]:
    """Nobody reaches loopback from a link, nor speaks for it (CVE-2020-8558). For IPv4, in prerouting, at a priority
    before connection tracking: replies are translated back later. It stands in for the kernel's own check, which
    net.ipv4.conf.*.route_localnet switches off.
    """
    header = Header(IP)
    outside: Rule = (Meta(0, "iif"), Compare(0, LOOPBACK_INDEX.to_bytes(4, BYTE_ORDER), inverted=True))
    ends = (header.destination(0), header.source(0))
    return tuple((*outside, end, *LOOPBACK_RANGE, Decide(DROP)) for end in ends)
