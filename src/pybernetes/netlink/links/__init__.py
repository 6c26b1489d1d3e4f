"""Links, addresses, routes and neighbours of one namespace over rtnetlink: `Links`, and the values it speaks in."""

from .calls import Links
from .model import MAIN, Address, Hop, Link, Neighbour, Route, RouteKind, Scope

__all__ = ["MAIN", "Address", "Hop", "Link", "Links", "Neighbour", "Route", "RouteKind", "Scope"]
