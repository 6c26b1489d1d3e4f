"""Sockets at work: one UDP loop per address that answers most questions from the table, and TCP beside it.

The UDP loop hangs on `add_reader` and drains a batch of datagrams per wake-up, which costs a quarter of what a
DatagramProtocol does and leaves the event loop to others in between (facts/dns.md 1.3).
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .chain import Resolver
from .config import DnsConfig
from .limit import limit_of
from .message import SMALLEST, error, opt
from .metrics import Stats
from .question import Rcode
from .responder import Responder
from .sockets import Pair, bind, leave
from .transfer import Allowed

log = logging.getLogger(__name__)

BATCH = 64
_BACKLOG = 128
_LONGEST_QUERY = 4096
_LEAVE_SECONDS, _LOOKS = 0.05, 5
"""How long what was on its way when we left is still waited for, and how often it is looked for: a loop that is late
has not read what came meanwhile."""
_FIRST_SECONDS = 2.0
"""How long a connection may take to its first question when we leave: who has come in is answered once."""
_OPT_HEAD = b"\0\0\x29"
_OPT_PLAIN = bytes(6)
"""Extended rcode, version, flags and length of an OPT record that asks for nothing special."""


class UdpListener:
    """One UDP socket: the table for plain packets whose answer is ready and fits, the responder for the rest."""

    def __init__(self, sock: socket.socket, responder: Responder, tasks: asyncio.TaskGroup, *, concurrent: int) -> None:
        self.sock = sock
        self.responder = responder
        self.tasks = tasks
        self.concurrent = concurrent
        self.under_way = 0
        self.dropped = 0
        self.six = int(sock.family == socket.AF_INET6)
        self._opt = opt(size=responder.size)

    def drain(self) -> None:
        """Answer what has arrived, a batch at most; the loop calls again for the rest.

        Long because every call in here would be made a hundred thousand times a second.
        """
        recvfrom, sendto = self.sock.recvfrom, self.sock.sendto
        table = self.responder.resolver.table
        entries, soa, our_opt = table.entries, table.soa, self._opt
        most = max(SMALLEST, self.responder.size)
        clients, limit = table.snapshot.clients, self.responder.limit
        stats, six = self.responder.stats, self.six
        asked, sent = stats.udp_asked, stats.udp_sent
        fast = 0
        began = time.perf_counter()
        for _ in range(BATCH):
            try:
                data, peer = recvfrom(_LONGEST_QUERY)
            except OSError as problem:
                if problem.errno in (errno.EAGAIN, errno.EINTR):
                    break
                continue
            if limit is not None and not limit.allows(peer[0], now=began):
                self._send(self.responder.turn_away(data), peer)
                continue
            # a NUL inside a label ends the name early here: then the key is no one's, and the slow path reads on
            end = data.find(0, 12) + 5
            question = data[12:end]
            entry = entries.get(question.lower())
            head = entry.heads.get(data[2:12]) if entry is not None else None
            if entry is None or head is None:
                self._slow(data, peer)
                continue
            if not data[11] and len(data) == end:
                suffix, room = b"", SMALLEST - end
            elif (
                data[11]
                and len(data) == end + 11
                and data[end : end + 3] == _OPT_HEAD
                and data[end + 5 :] == _OPT_PLAIN
            ):
                room = min(most, max(SMALLEST, data[end + 3] << 8 | data[end + 4])) - end - 11
                suffix = our_opt
            else:
                self._slow(data, peer)
                continue
            tails = entry.tails
            if entry.searched and (pod := clients.get(peer[0])) is not None and pod.key.namespace == entry.searched:
                self._slow(data, peer)
                continue
            tail = soa[entry.zone_at] if tails is None else next(tails)
            if len(tail) > room:
                self._slow(data, peer)
                continue
            entry.tally[six] += 1
            fast += 1
            reply = data[:2] + head + question + tail + suffix
            asked[len(data)] += 1
            sent[len(reply)] += 1
            try:
                sendto(reply, peer)
            except OSError:
                self.dropped += 1
        if fast:
            stats.batch(fast, time.perf_counter() - began)

    def _slow(self, data: bytes, peer: Any) -> None:
        result = self.responder.respond(data, udp=True, client=peer[0])
        if isinstance(result, bytes):
            self._send(result, peer)
        elif self.under_way < self.concurrent:
            self.under_way += 1
            self.tasks.create_task(self._wait(result, peer), name="dns-question")
        else:
            result.close()  # type: ignore[attr-defined]
            self._send(error(data, Rcode.SERVFAIL), peer)

    async def _wait(self, result: Awaitable[bytes], peer: Any) -> None:
        try:
            self._send(await result, peer)
        finally:
            self.under_way -= 1

    def _send(self, packet: bytes, peer: Any) -> None:
        if packet:
            try:
                self.sock.sendto(packet, peer)
            except OSError:
                self.dropped += 1


class TcpListener:
    """Length-prefixed messages, several on one connection, in order. Idle and surplus connections are closed."""

    def __init__(self, responder: Responder, *, connections: int, idle_seconds: float) -> None:
        self.responder = responder
        self.connections = connections
        self.idle_seconds = idle_seconds
        self.ending = False
        self._open: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()
        """Those with a question under way."""
        self._new: set[asyncio.Task[None]] = set()
        """Those that have not asked yet."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self.connections:
            writer.close()
            return
        self._open.add(task)
        self._new.add(task)
        writer.transport.set_write_buffer_limits(0)  # drained is what the kernel has taken
        try:
            while not self.ending or task in self._new:
                # one limit for the question and one for taking the answer: a slow peer holds a connection, no more
                async with asyncio.timeout(self.idle_seconds):
                    data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                self._busy.add(task)
                self._new.discard(task)
                if not await self._answer(data, writer):
                    return
                self._busy.discard(task)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        except asyncio.CancelledError:
            return  # only `close` cancels these, and asyncio would log it
        finally:
            self._open.discard(task)
            self._busy.discard(task)
            self._new.discard(task)
            writer.close()

    async def _answer(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether there was something to say."""

        async def send(packet: bytes) -> None:
            writer.write(len(packet).to_bytes(2) + packet)
            try:
                async with asyncio.timeout(self.idle_seconds):
                    await writer.drain()
            except TimeoutError:
                writer.transport.abort()  # closing would wait for a peer that does not read
                raise

        if (peer := writer.get_extra_info("peername")) is None:
            return False  # reset meanwhile
        client = peer[0]
        if self.responder.allowed and await self.responder.transfer(data, client=client, send=send):
            return True
        result = self.responder.respond(data, udp=False, client=client)
        packet = result if isinstance(result, bytes) else await result
        if packet:
            await send(packet)
        return bool(packet)

    @property
    def open(self) -> int:
        return len(self._open)

    @property
    def under_way(self) -> int:
        return len(self._busy)

    @property
    def new(self) -> int:
        """Connections that have not asked yet."""
        return len(self._new)

    def finish(self) -> None:
        """End the connections that have been answered, and each other one after its answer."""
        self.ending = True
        for task in self._open - self._busy - self._new:
            task.cancel()

    def close(self) -> None:
        """End the connections that are open."""
        for task in list(self._open):
            task.cancel()


class Server:
    """All listeners of one node."""

    def __init__(self, resolver: Resolver, config: DnsConfig, stats: Stats) -> None:
        self.config = config
        self.stats = stats
        limit = limit_of(config.rate_limit, config.rate_burst)
        self.responder = Responder(resolver, stats, size=config.udp_size, limit=limit)
        self.responder.allowed = Allowed(config.transfer_to)
        self.port = config.port
        """The port in use, once `started`."""
        self.started = asyncio.Event()
        self.udp: list[UdpListener] = []
        self._tcp: TcpListener | None = None

    @property
    def open_connections(self) -> int:
        return self._tcp.open if self._tcp is not None else 0

    def configure(self, config: DnsConfig) -> None:
        """Who may have zones, and another limit, when it is another; then all begin with a full bucket."""
        was, self.config = self.config, config
        if (was.rate_limit, was.rate_burst) != (config.rate_limit, config.rate_burst):
            self.responder.limit = limit_of(config.rate_limit, config.rate_burst)
        self.responder.allowed = Allowed(config.transfer_to)

    async def run(self) -> None:
        """Bind all addresses and answer until cancelled; then what has arrived is still answered.

        Raises OSError when an address cannot be bound.
        """
        config = self.config
        tcp = TcpListener(self.responder, connections=config.tcp_connections, idle_seconds=config.tcp_idle_seconds)
        self._tcp = tcp
        loop = asyncio.get_running_loop()
        with self._sockets() as pairs:
            async with asyncio.TaskGroup() as tasks:
                self.udp = [
                    UdpListener(pair.udp, self.responder, tasks, concurrent=config.forward_concurrent) for pair in pairs
                ]
                servers = [await asyncio.start_server(tcp.serve, sock=pair.tcp, backlog=_BACKLOG) for pair in pairs]
                try:
                    for listener in self.udp:
                        loop.add_reader(listener.sock, listener.drain)
                    self.started.set()
                    log.info("serving addresses=%s port=%d", ",".join(config.listen), self.port)
                    await loop.create_future()
                finally:
                    self.started.clear()
                    await self._leave(pairs, tcp)
                    for listener in self.udp:
                        loop.remove_reader(listener.sock)
                    for server in servers:
                        server.close()
                    tcp.close()

    async def _leave(self, pairs: Sequence[Pair], tcp: TcpListener) -> None:
        """Answer the last questions, while new ones go to those who share the addresses."""
        for pair in pairs:
            try:
                leave(pair)
            except OSError as error:
                log.warning("address not left, so the last questions may be lost error=%s", error)
        for _ in range(_LOOKS):
            await asyncio.sleep(_LEAVE_SECONDS / _LOOKS)
        tcp.finish()
        clock = asyncio.get_running_loop().time
        until, patience = clock() + self.config.forward_timeout_seconds, clock() + _FIRST_SECONDS
        while (
            tcp.under_way or any(listener.under_way for listener in self.udp) or (tcp.new and clock() < patience)
        ) and clock() < until:
            await asyncio.sleep(0.01)

    @contextmanager
    def _sockets(self) -> Iterator[list[Pair]]:
        pairs: list[Pair] = []
        try:
            for host in self.config.listen:
                pairs.append(bind(host, self.port, shared=self.config.shared_port))
                self.port = pairs[-1].udp.getsockname()[1]
            yield pairs
        finally:
            for pair in pairs:
                pair.close()
