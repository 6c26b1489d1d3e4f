"""Domain names as tuples of lower-case labels, their wire form, and the names of addresses in reverse zones.

Labels are latin-1 text, so that any byte survives; a label never contains what the wire would not let through.
"""

import ipaddress
import socket
from typing import NamedTuple

Name = tuple[str, ...]

IP4_ARPA: Name = ("in-addr", "arpa")
IP6_ARPA: Name = ("ip6", "arpa")


class BadName(ValueError):
    """Bytes that are not an uncompressed domain name within the limits of RFC 1035."""


class Parsed(NamedTuple):
    name: Name
    end: int


def name_of(text: str) -> Name:
    """Labels of a dotted name; the trailing dot is optional."""
    return tuple(label for label in text.lower().rstrip(".").split(".") if label)


def text_of(name: Name) -> str:
    return ".".join(name) + "."


def wire_of(name: Name) -> bytes:
    """The uncompressed wire form; raises BadName past 63 bytes a label or 255 in all, and for text beyond latin-1."""
    parts = []
    for label in name:
        if not 0 < len(label) < 64:
            raise BadName(f"label of {len(label)} bytes")
        try:
            parts.append(bytes([len(label)]) + label.encode("latin-1"))
        except UnicodeEncodeError as error:
            raise BadName(str(error)) from None
    wire = b"".join(parts) + b"\0"
    if len(wire) > 255:
        raise BadName(f"name of {len(wire)} bytes")
    return wire


def fits(name: Name) -> bool:
    """Whether it has a wire form."""
    try:
        wire_of(name)
    except BadName:
        return False
    return True


def read_name(data: bytes, at: int) -> Parsed:
    """The name at an offset, lower-cased. Raises BadName, also for compression: a question has nothing to point at."""
    labels: list[str] = []
    start = at
    try:
        while length := data[at]:
            if length > 63:
                raise BadName("compressed or extended label")
            at += 1
            label = data[at : at + length]
            if len(label) < length:
                raise BadName("label cut off")
            labels.append(label.lower().decode("latin-1"))
            at += length
    except IndexError:
        raise BadName("name cut off") from None
    if at + 1 - start > 255:
        raise BadName("name too long")
    return Parsed(tuple(labels), at + 1)


def packed(address: str) -> bytes | None:
    """4 or 16 bytes of an address, None when the text is none."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        return None


def unpacked(address: bytes) -> str:
    """The text of a packed address, as sockets tell it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def reverse_name(address: bytes) -> Name:
    """The PTR name of an address: 1.0.0.10.in-addr.arpa."""
    if len(address) == 4:
        return (*(str(byte) for byte in reversed(address)), *IP4_ARPA)
    return (*reversed(address.hex()), *IP6_ARPA)


def reversed_address(name: Name) -> bytes | None:
    """The address a PTR name stands for, None for any other name."""
    if name[-2:] == IP4_ARPA and len(name) == 6:
        return packed(".".join(reversed(name[:4])))
    if name[-2:] == IP6_ARPA and len(name) == 34 and all(len(label) == 1 for label in name[:32]):
        try:
            return bytes.fromhex("".join(reversed(name[:32])))
        except ValueError:
            return None
    return None


def reverse_zones(cidr: str) -> list[Name]:
    """The reverse zones that cover a range, cut at whole octets (IPv4) or nibbles (IPv6): 10.96.0.0/12 is 16 zones."""
    network = ipaddress.ip_network(cidr, strict=False)
    step = 8 if network.version == 4 else 4
    bits = -(-network.prefixlen // step) * step
    keep = bits // step + 2
    return [
        reverse_name(subnet.network_address.packed)[-keep:]
        for subnet in network.subnets(new_prefix=max(bits, network.prefixlen))
    ]
