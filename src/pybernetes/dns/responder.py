"""From packet to packet, for both transports: everything past the fast path goes through here."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from .chain import Resolved, Resolver, resolve
from .limit import Limit
from .message import TC, Body, Odd, Query, error, read, reply
from .metrics import Stats, Told
from .odd import Wrong, reread
from .question import IXFR, Rcode
from .transfer import AT_ONCE, Allowed, packets, serial_of, wanted

log = logging.getLogger(__name__)


class Responder:
    """Answers packets. What it counts are all replies but those of the fast path."""

    def __init__(self, resolver: Resolver, stats: Stats, *, size: int, limit: Limit | None = None) -> None:
        self.resolver = resolver
        self.stats = stats
        self.size = size
        self.limit = limit
        """Of the answers over UDP; None answers everybody."""
        self.allowed = Allowed(())
        """Who may have whole zones."""
        self.transfers = 0
        """Under way."""
        self.waiting = 0
        """Replies that wait for somebody else."""

    def respond(self, data: bytes, *, udp: bool, client: str = "") -> bytes | Awaitable[bytes]:
        """The reply to a packet: at once, or to be waited for; b"" for none. `client` is the asker's address."""
        if not _is_question(data):
            return b""  # not a question: to answer an answer would go round and round
        began = time.perf_counter()
        query: Query | None = None
        try:
            query = self._read(data, udp=udp)._replace(client=client)
            found = resolve(self.resolver, query)
        except Wrong as wrong:
            return self._wrong(data, wrong.rcode, udp=udp, client=client, began=began)
        except Exception:  # noqa: BLE001 - one packet must not end the loop
            found = Resolved("", self._panicked(query))
        if query is None:
            return self._wrong(data, Rcode.SERVFAIL, udp=udp, client=client, began=began)
        if isinstance(found.result, Body):
            return self._done(query, found.result, found.plugin, began, len(data))
        return self._later(query, found.result, found.plugin, began, len(data))

    async def transfer(self, data: bytes, *, client: str, send: Callable[[bytes], Awaitable[None]]) -> bool:
        """Send a whole zone over TCP, message by message; False when that is not what is asked, or not allowed."""
        if not self.allowed.allows(client) or not _is_question(data):
            return False
        try:
            query = self._read(data, udp=False)
        except Wrong:
            return False
        if not wanted(query):
            return False
        began = time.perf_counter()
        possible = self.resolver.ready and self.transfers < AT_ONCE
        size = await self._transferred(query, data, send) if possible else 0
        rcode = Rcode.NOERROR if size else Rcode.REFUSED if possible else Rcode.SERVFAIL
        if not size:
            await send(reply(query, Body(rcode, flags=0), size=self.size))
        self._count(query._replace(client=client), rcode, "transfer", sent=size, asked=len(data), began=began)
        return True

    async def _transferred(self, query: Query, data: bytes, send: Callable[[bytes], Awaitable[None]]) -> int:
        """Bytes sent; none for a name that is no zone."""
        table = self.resolver.table
        serial = serial_of(data) if query.question.type == IXFR else None
        size = 0
        self.transfers += 1
        try:
            for packet in packets(query, table.snapshot.frozen(), table.rules, serial=serial, size=self.size):
                await send(packet)
                size += len(packet)
                await asyncio.sleep(0)  # (a peer that keeps up would have the loop for itself)
        finally:
            self.transfers -= 1
        return size

    def turn_away(self, data: bytes) -> bytes:
        """What a client over its limit gets: in turns nothing, and an empty answer that asks for TCP."""
        self.stats.limited += 1
        if not _is_question(data) or self.stats.limited % 2:
            return b""
        try:
            query = read(data)
        except Odd:
            return b""
        self.stats.limited_truncated += 1
        return reply(query, Body(Rcode.NOERROR, flags=TC), size=self.size)

    def _read(self, data: bytes, *, udp: bool) -> Query:
        try:
            return read(data, udp=udp)
        except Odd:
            return reread(data, udp=udp)

    def _wrong(self, data: bytes, rcode: Rcode, *, udp: bool, client: str, began: float) -> bytes:
        packet = error(data, rcode)
        told = Told(None, rcode, udp=udp, six=":" in client, asked=len(data), sent=len(packet))
        self.stats.count(told, time.perf_counter() - began)
        return packet

    async def _later(self, query: Query, result: Awaitable[Body], plugin: str, began: float, asked: int) -> bytes:
        self.waiting += 1
        try:
            body = await result
        except Exception:  # noqa: BLE001
            body, plugin = self._panicked(query), ""
        finally:
            self.waiting -= 1
        return self._done(query, body, plugin, began, asked)

    def _done(self, query: Query, body: Body, plugin: str, began: float, asked: int) -> bytes:
        packet = reply(query, body, size=self.size)
        self._count(query, body.rcode, plugin, sent=len(packet), asked=asked, began=began)
        return packet

    def _count(self, query: Query, rcode: int, plugin: str, *, sent: int, asked: int, began: float) -> None:
        told = Told(
            query.question.type,
            rcode,
            plugin=plugin,
            udp=query.udp,
            six=":" in query.client,
            asked=asked,
            sent=sent,
            dnssec=bool(query.edns and query.edns.dnssec),
        )
        self.stats.count(told, time.perf_counter() - began)

    def _panicked(self, query: Query | None) -> Body:
        """A bug of ours must not take the names of a node away."""
        self.resolver.panics += 1
        log.exception("question failed question=%s", query.question if query else None)
        return Body(Rcode.SERVFAIL, flags=0)


def _is_question(data: bytes) -> bool:
    """By its length and its QR bit."""
    return len(data) >= 12 and not data[2] & 0x80
