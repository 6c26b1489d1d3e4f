"""What a namespace's network is made of, as values: links, addresses, routes, neighbours. No I/O."""

from dataclasses import dataclass
from typing import Literal

RouteKind = Literal["unicast", "local", "blackhole", "unreachable", "prohibit"]
Scope = Literal["global", "link", "host"]

MAIN = 254
"""The routing table in use unless rules say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel shows it. `master` is the index of the bridge it is a port of, 0 for none."""

    index: int
    name: str
    kind: str = ""
    """"veth", "bridge", ...; "" for plain devices and loopback."""
    up: bool = False
    carrier: bool = False
    master: int = 0
    mtu: int = 0
    mac: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address with its prefix ("10.244.0.1/24") and the name of the link that has it."""

    address: str
    link: str
    quiet: bool = False
    """Never chosen by the kernel for what is sent, unless there is no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One next hop of a multipath route; `weight` is its share."""

    via: str = ""
    link: str = ""
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. `destination` is a network ("10.244.1.0/24") or "default"; `via` and `link`, or `hops`, lead there."""

    destination: str
    via: str = ""
    link: str = ""
    kind: RouteKind = "unicast"
    scope: Scope = "global"
    source: str = ""
    """The address to speak from, "" for the kernel's choice."""
    hops: tuple[Hop, ...] = ()
    metric: int = 0
    table: int = MAIN
    onlink: bool = False
    """The gateway is on the link although no address says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A neighbour entry; `permanent` ones are never asked for or forgotten."""

    link: str
    address: str
    mac: str
    permanent: bool = True
