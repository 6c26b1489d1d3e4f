"""Links, addresses, routes and neighbours of one namespace over rtnetlink: `Links`, and the values it speaks in.

`AddressWatch` tells when addresses change.
"""

from .calls import Links
from .model import MAIN, Address, Hop, Link, Neighbour, Route, RouteKind, Scope
from .watch import AddressWatch

__all__ = ["MAIN", "Address", "AddressWatch", "Hop", "Link", "Links", "Neighbour", "Route", "RouteKind", "Scope"]
