"""The kernel's side of host ports: pods in, one small transaction for each change, and the rules kept true.

The rules outlive the agent, as pods do; the next one finds what it needs to know in files, one for each pod that has
host ports. Nothing is asked of the kernel while no pod of the node has any.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from pybernetes.aio.backoff import Backoff
from pybernetes.aio.thread import Worker
from pybernetes.netlink import sysctl
from pybernetes.netlink.conntrack import Conntrack, Match
from pybernetes.netlink.nft import AddTable, DeleteTable, KernelNftables, Nftables, Refused, Transaction

from .layout import FAMILIES, TABLE, Layout, is_owned
from .mapping import PodPorts
from .plan import NONE, Elements, changes, elements, is_empty, replacement, stale

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How often to look whether somebody else has changed the rules."""

_UNKNOWN = -1

R = TypeVar("R")


class Connections(Protocol):
    """The tracked connections: netlink.conntrack.Conntrack."""

    def delete(self, match: Match) -> None: ...

    def close(self) -> None: ...


def route_localnet(link: str, on: bool) -> None:
    """Whether packets of a link may bear an address of 127.0.0.0/8. Raises OSError; FileNotFoundError for no link."""
    sysctl.write(f"net/ipv4/conf/{link}/route_localnet", int(on))


class HostPorts:
    """Those of one node, in the caller's network namespace.

    `pods` is what is wanted, and changes at once; the kernel follows in a thread of its own, in order. Doors are opened
    for each piece of work: nothing is held between two.
    """

    def __init__(
        self,
        *,
        versions: Collection[int],
        records: Path,
        owner: str,
        exempt: Collection[str] = (),
        nft: Callable[[], Nftables] = KernelNftables,
        connections: Callable[[], Connections] = Conntrack,
        localnet: Callable[[str, bool], None] = route_localnet,
    ) -> None:
        """`versions` are the IP versions that pods have addresses of. `records` is the directory of the files. `exempt`
        are addresses of this namespace that are not the node's own and that no host port is open at.
        """
        self.records = records
        self.pods: dict[str, PodPorts] = {}
        layouts = [Layout(each, owner=owner, exempt=exempt) for each in sorted(versions)]
        self._kernel = _Kernel(layouts, nft, connections, localnet)
        self._worker = Worker("hostports")
        self._failed = False
        """The kernel does not have what is wanted."""

    def __contains__(self, uid: str) -> bool:
        """Whether the pod has host ports."""
        return uid in self.pods

    async def restore(self, alive: Callable[[str], bool]) -> None:
        """Take over what an earlier agent left: the ports of the pods that are alive, and no others. Raises OSError
        when that cannot be, which is no matter on a node where there are none.
        """
        self.pods = self._read(alive)
        try:
            await self._sync()
        except OSError as error:
            if self.pods:
                raise
            self._failed = False
            log.info("host ports cannot be had here error=%s", error)

    async def open(self, uid: str, ports: PodPorts) -> None:
        """The pod's ports lead to it from now on. Raises OSError; they stay wanted, and the next call tries again."""
        if self.pods.get(uid) != ports:
            self.pods.pop(uid, None)  # of two pods with one port the one that came last has it
            self.pods[uid] = ports
            self._write(uid, ports)
        await self._sync()  # also of what is known already: the pod's link may be another

    async def close(self, uid: str) -> None:
        """They do not any more. Raises OSError; it is not wanted then all the same."""
        self.pods.pop(uid, None)
        try:
            await self._sync()
        finally:
            (self.records / uid).unlink(missing_ok=True)

    async def run(self, drifted: Callable[[int], None]) -> None:
        """Put right what others change, until cancelled; `drifted` hears of it."""
        backoff = Backoff(first=CHECK_SECONDS, limit=30.0)
        wait = CHECK_SECONDS
        while True:
            await asyncio.sleep(wait)
            try:
                found = await self.check()
            except OSError as error:
                log.error("host ports not in the kernel error=%s", error)
                wait = backoff.next()
                continue
            backoff.reset()
            wait = CHECK_SECONDS
            if found:
                log.warning("host ports had been changed by others repaired=%d", found)
                drifted(found)

    async def check(self) -> int:
        """How many tables somebody else had changed; they are put right. Raises OSError."""
        if not self.pods and not self._failed:
            return 0
        return await self._do(self._kernel.check)

    async def _sync(self) -> None:
        await self._do(self._kernel.sync)

    async def _do(self, work: Callable[[Sequence[PodPorts]], R]) -> R:
        self._failed = True
        found = await self._worker.call(work, tuple(self.pods.values()))
        self._failed = False
        return found

    # Files

    def _read(self, alive: Callable[[str], bool]) -> dict[str, PodPorts]:
        found = {}
        for path in sorted(_files(self.records), key=lambda path: path.stat().st_mtime_ns):
            with contextlib.suppress(msgspec.DecodeError):  # half a file that a crash left: the pod writes it anew
                if alive(path.name):
                    found[path.name] = msgspec.json.decode(path.read_bytes(), type=PodPorts)
                    continue
            path.unlink()
        return found

    def _write(self, uid: str, ports: PodPorts) -> None:
        self.records.mkdir(parents=True, exist_ok=True)
        temporary = self.records / f".{uid}"
        temporary.write_bytes(msgspec.json.encode(ports))
        os.replace(temporary, self.records / uid)


def _files(directory: Path) -> list[Path]:
    return [each for each in directory.iterdir() if not each.name.startswith(".")] if directory.is_dir() else []


class _Kernel:
    """What is done in the thread. Knows what the tables hold, or that it does not know."""

    def __init__(
        self,
        layouts: Sequence[Layout],
        nft: Callable[[], Nftables],
        connections: Callable[[], Connections],
        localnet: Callable[[str, bool], None],
    ) -> None:
        self.layouts = layouts
        self.nft = nft
        self.connections = connections
        self.localnet = localnet
        self._held: dict[int, Elements] = {}
        self._routed: set[str] = set()
        """Links to which loopback is routed."""
        self._owed: list[Match] = []
        """Connections to delete; they survive a failure, after which nothing would tell of them."""
        self._generation = _UNKNOWN

    @property
    def is_known(self) -> bool:
        return len(self._held) == len(self.layouts)

    def sync(self, pods: Sequence[PodPorts]) -> None:
        """The whole truth: each table is compared and changed in one transaction. Loopback is routed to links only
        while the rules that protect it are there.
        """
        links = {pod.link for pod in pods if pod.is_on_loopback}
        for link in self._routed - links:
            self._route(link, False)
        self._routed &= links
        with closing(self.nft()) as nft:
            for layout in self.layouts:
                self._owed += self._bring(nft, layout, elements(pods, layout.version))
        self._forget()
        for link in links:
            self._routed.add(link)
            self._route(link, True)

    def check(self, pods: Sequence[PodPorts]) -> int:
        """Read what there is unless nobody has changed anything since; how many tables were not as they were left."""
        with closing(self.nft()) as nft:
            generation = nft.generation()
            if self.is_known and generation == self._generation:
                return 0
            drifted = 0
            for layout in self.layouts:
                wanted = self._held.get(layout.version)
                if wanted is not None and _read(nft, layout) != wanted:
                    drifted += 1
                    del self._held[layout.version]
        self.sync(pods)
        self._generation = generation
        return drifted

    def _route(self, link: str, on: bool) -> None:
        """A link that is not there is no other pod's trouble: when its pod is set up again, so is it."""
        with contextlib.suppress(FileNotFoundError):
            self.localnet(link, on)

    def _bring(self, nft: Nftables, layout: Layout, wanted: Elements) -> Iterable[Match]:
        before = self._held.pop(layout.version, None)
        if before is None or is_empty(before) != is_empty(wanted) or not self._changed(nft, layout, before, wanted):
            before = self._replaced(nft, layout, wanted)
        self._held[layout.version] = wanted
        return stale(before, wanted, layout.version)

    def _changed(self, nft: Nftables, layout: Layout, before: Elements, wanted: Elements) -> bool:
        """From one content of the table to another; False if somebody has changed it since."""
        operations = changes(before, wanted)
        try:
            if operations:
                nft.commit(Transaction(layout.family, TABLE, operations))
        except Refused as refused:
            log.info("table of host ports is not as it was left error=%s", refused)
            return False
        return True

    def _replaced(self, nft: Nftables, layout: Layout, wanted: Elements) -> Elements:
        """The table anew unless it is as it should be; returns what it held."""
        before = _read(nft, layout)
        others = is_empty(wanted) and not is_owned(nft.comment(layout.family, TABLE), layout.owner)
        if before != wanted and not others:
            nft.commit(Transaction(layout.family, TABLE, replacement(layout, wanted)))
        return before or NONE

    def _forget(self) -> None:
        """After the rules, the connections: one that is made anew must meet the new rules."""
        owed, self._owed = dict.fromkeys(self._owed), []
        if not owed:
            return
        try:
            with closing(self.connections()) as connections:
                for match in owed:
                    connections.delete(match)
        except OSError as error:
            log.warning("stale connections to host ports kept error=%s", error)


def _read(nft: Nftables, layout: Layout) -> Elements | None:
    """What a table holds: NONE for no table, None for one that is not as this layout makes it."""
    comment = nft.comment(layout.family, TABLE)
    if comment is None:
        return NONE
    names = {each.name for each in layout.sets()}
    if comment != layout.comment or dict(nft.chains(layout.family, TABLE)) != layout.chains():
        return None
    if nft.sets(layout.family, TABLE) != names:
        return None
    return {name: dict(nft.elements(layout.family, TABLE, name)) for name in NONE}


def remove_tables(owner: str, *, nft: Callable[[], Nftables] = KernelNftables) -> None:
    """Take away the owner's tables in the caller's network namespace; those of others stay. Raises OSError."""
    with closing(nft()) as door:
        for family in FAMILIES.values():
            if is_owned(door.comment(family, TABLE), owner):
                door.commit(Transaction(family, TABLE, [AddTable(), DeleteTable()]))
