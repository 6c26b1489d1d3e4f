"""How many connections are open, in all and from each address, and whether one more may come in. No I/O."""

import ipaddress


class Entry:
    """One connection's place; `leave` gives it back, once."""

    __slots__ = ("_door", "_group")

    def __init__(self, door: "Door", group: str) -> None:
        self._door: Door | None = door
        self._group = group

    def leave(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            door.left(self._group)


class Door:
    """Counts; the bounds are inclusive."""

    def __init__(self, *, total: int, each: int) -> None:
        self.total = total
        self.open = 0
        self.accepted = 0
        self.refused = {"total": 0, "address": 0}
        """Connections that were not let in, by the bound that they met."""
        self._each = each
        self._groups: dict[str, int] = {}

    def enter(self, address: str) -> Entry | None:
        """A place for a connection from this address; None (and it is counted) when there is none."""
        group = group_of(address)
        mine = self._groups.get(group, 0)
        if self.open >= self.total or mine >= self._each:
            self.refused["address" if mine >= self._each else "total"] += 1
            return None
        self.open += 1
        self.accepted += 1
        self._groups[group] = mine + 1
        return Entry(self, group)

    def left(self, group: str) -> None:
        self.open -= 1
        rest = self._groups[group] - 1
        if rest:
            self._groups[group] = rest
        else:
            del self._groups[group]


def group_of(address: str) -> str:
    """Who counts as one: an IPv4 address, also a mapped one; of IPv6 the /64, which one host has to itself."""
    if ":" not in address:
        return address
    found = ipaddress.IPv6Address(address.partition("%")[0])
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
