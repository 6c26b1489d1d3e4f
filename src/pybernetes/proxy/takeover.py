"""What an older run left behind: tracked connections to endpoints that went while nobody was looking. Pure.

The older run's table says where its connections may have gone; what is not so any more is theirs to leave. So nobody
needs to list all connections.
"""

import socket
from collections import defaultdict
from collections.abc import Iterator

from pybernetes.netlink.conntrack import TCP, Match

from .model import PROTOCOLS
from .plan import Book, Elements, Planner

Flows = dict[bytes, set[bytes]]
"""By the key of an address (see Planner.key): the endpoints, address and port, that connections to it may have."""

_SLOT_BYTES = 4


def left_behind(book: Book, observed: Elements) -> Iterator[Match]:
    """The connections that the observed table may have made and that the book's would not; TCP ends by itself."""
    wanted = _wanted(book)
    for key, endpoints in _observed(book.planner, observed).items():
        for gone in endpoints - wanted.get(key, set()):
            yield _match(book.planner, key, gone)


def _observed(planner: Planner, observed: Elements) -> Flows:
    by_home: Flows = defaultdict(set)
    at = planner.address_bytes
    for key, endpoint in observed.get("endpoints", {}).items():
        if key[at] != TCP and isinstance(endpoint, bytes):
            by_home[key[:-_SLOT_BYTES]].add(endpoint)
    flows: Flows = dict(by_home)
    for key, home in observed.get("targets", {}).items():
        if isinstance(home, bytes) and home in by_home:
            flows[key] = by_home[home]
    return flows


def _wanted(book: Book) -> Flows:
    planner = book.planner
    found: Flows = defaultdict(set)
    for placement in book.placements.values():
        protocol = placement.front.protocol
        if PROTOCOLS[protocol] == TCP:
            continue
        for address, backends in planner.flows(placement).items():
            found[planner.key(address, protocol)] |= {planner.endpoint(each) for each in backends}
    return found


def _match(planner: Planner, key: bytes, endpoint: bytes) -> Match:
    at = planner.address_bytes
    family = socket.AF_INET if planner.version == 4 else socket.AF_INET6
    return Match(
        protocol=key[at],
        destination=socket.inet_ntop(family, key[:at]),
        port=int.from_bytes(key[at + 4 : at + 6], "big"),
        backend=socket.inet_ntop(family, endpoint[:at]),
        backend_port=int.from_bytes(endpoint[at : at + 2], "big"),
    )
