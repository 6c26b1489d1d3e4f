"""Addresses and ranges of one or both IP families in one text, "10.96.0.0/16,fd00:10:96::/112", as flags have them.

The first is the primary family: the one that a component with room for a single address uses (KEP-563).
"""

from ipaddress import ip_interface, ip_network


def split(text: str) -> tuple[str, ...]:
    """The parts between the commas, in order."""
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


def version(text: str) -> int:
    """4 or 6, of an address or a range. Raises ValueError."""
    return ip_interface(text).version


def of_version(text: str, wanted: int) -> tuple[str, ...]:
    """The parts of one IP version. Raises ValueError."""
    return tuple(part for part in split(text) if version(part) == wanted)


def nth(text: str, number: int) -> tuple[str, ...]:
    """That address of each range, counted from the range's own. Raises ValueError and IndexError."""
    return tuple(str(ip_network(part)[number]) for part in split(text))


def host_port(address: str, port: int) -> str:
    """As in a URL: an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
