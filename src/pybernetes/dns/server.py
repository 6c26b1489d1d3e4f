"""Sockets: one UDP loop per address that answers most questions from the table, and TCP beside it.

The UDP loop hangs on `add_reader` and drains a batch of datagrams per wake-up, which costs a quarter of what a
DatagramProtocol does and leaves the event loop to others in between (facts/dns.md 1.3).
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .chain import Resolver, resolve
from .config import DnsConfig
from .limit import Limit, limit_of
from .message import SMALLEST, TC, Body, Odd, Query, error, opt, read, reply
from .metrics import Stats
from .odd import Wrong, reread
from .question import IXFR, Rcode
from .transfer import AT_ONCE, Allowed, packets, serial_of, wanted

log = logging.getLogger(__name__)

BATCH = 64
_LONGEST_QUERY = 4096
_UDP_BUFFER = 1 << 20
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_OPT_HEAD = b"\0\0\x29"
_OPT_PLAIN = bytes(6)
"""Extended rcode, version, flags and length of an OPT record that asks for nothing special."""


class Responder:
    """From packet to packet, for both transports; everything past the fast path goes through here."""

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

    def respond(self, data: bytes, *, udp: bool, client: str = "") -> bytes | Awaitable[bytes]:
        """The reply to a packet: at once, or to be waited for; b"" for none. `client` is the asker's address."""
        if len(data) < 12 or data[2] & 0x80:
            return b""  # not a question: to answer an answer would go round and round
        began = time.perf_counter()
        query: Query | None = None
        try:
            query = self._read(data, udp=udp)._replace(client=client)
            result = resolve(self.resolver, query)
        except Wrong as wrong:
            self.stats.count(None, wrong.rcode, udp=udp, seconds=time.perf_counter() - began)
            return error(data, wrong.rcode)
        except Exception:  # noqa: BLE001 - one packet must not end the loop
            result = self._panic(query)
        if query is None:
            return error(data, Rcode.SERVFAIL)
        if isinstance(result, Body):
            return self._done(query, result, began)
        return self._later(query, result, began)

    async def transfer(self, data: bytes, *, client: str, send: Callable[[bytes], Awaitable[None]]) -> bool:
        """Send a whole zone over TCP, message by message; False when that is not what is asked, or not allowed."""
        if not self.allowed.allows(client) or len(data) < 12 or data[2] & 0x80:
            return False
        try:
            query = self._read(data, udp=False)
        except Wrong:
            return False
        if not wanted(query):
            return False
        began = time.perf_counter()
        possible = self.resolver.ready and self.transfers < AT_ONCE
        rcode = await self._transferred(query, data, send) if possible else Rcode.SERVFAIL
        if rcode != Rcode.NOERROR:
            await send(reply(query, Body(rcode, flags=0), size=self.size))
        self.stats.count(query.question.type, rcode, udp=False, seconds=time.perf_counter() - began)
        return True

    async def _transferred(self, query: Query, data: bytes, send: Callable[[bytes], Awaitable[None]]) -> Rcode:
        table = self.resolver.table
        serial = serial_of(data) if query.question.type == IXFR else None
        sent = False
        self.transfers += 1
        try:
            for packet in packets(query, table.snapshot.frozen(), table.rules, serial=serial, size=self.size):
                await send(packet)
                sent = True
                await asyncio.sleep(0)  # (a peer that keeps up would have the loop for itself)
        finally:
            self.transfers -= 1
        return Rcode.NOERROR if sent else Rcode.REFUSED

    def turn_away(self, data: bytes) -> bytes:
        """What a client over its limit gets: in turns nothing, and an empty answer that asks for TCP."""
        self.stats.limited += 1
        if len(data) < 12 or data[2] & 0x80 or self.stats.limited % 2:
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

    async def _later(self, query: Query, result: Awaitable[Body], began: float) -> bytes:
        try:
            body = await result
        except Exception:  # noqa: BLE001
            body = self._panic(query)
        return self._done(query, body, began)

    def _done(self, query: Query, body: Body, began: float) -> bytes:
        self.stats.count(query.question.type, body.rcode, udp=query.udp, seconds=time.perf_counter() - began)
        return reply(query, body, size=self.size)

    def _panic(self, query: Query | None) -> Body:
        """A bug of ours must not take the names of a node away."""
        self.resolver.panics += 1
        log.exception("question failed question=%s", query.question if query else None)
        return Body(Rcode.SERVFAIL, flags=0)


class UdpListener:
    """One UDP socket: the table for plain packets whose answer is ready and fits, the responder for the rest."""

    def __init__(self, sock: socket.socket, responder: Responder, tasks: asyncio.TaskGroup, *, concurrent: int) -> None:
        self.sock = sock
        self.responder = responder
        self.tasks = tasks
        self.concurrent = concurrent
        self.under_way = 0
        self.dropped = 0
        self._opt = opt(size=responder.size)

    def drain(self) -> None:
        """Answer what has arrived, a batch at most; the loop calls again for the rest.

        Long because every call in here would be made a hundred thousand times a second.
        """
        recvfrom, sendto = self.sock.recvfrom, self.sock.sendto
        table = self.responder.resolver.table
        entries, soa, our_opt = table.entries, table.soa, self._opt
        clients, limit = table.snapshot.clients, self.responder.limit
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
                room = min(_LONGEST_QUERY, max(SMALLEST, data[end + 3] << 8 | data[end + 4])) - end - 11
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
            entry.tally[0] += 1
            fast += 1
            try:
                sendto(data[:2] + head + question + tail + suffix, peer)
            except OSError:
                self.dropped += 1
        if fast:
            self.responder.stats.batch(fast, time.perf_counter() - began)

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
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self.connections:
            writer.close()
            return
        self._open.add(task)
        client = writer.get_extra_info("peername")[0]

        async def send(packet: bytes) -> None:
            writer.write(len(packet).to_bytes(2) + packet)
            async with asyncio.timeout(self.idle_seconds):
                await writer.drain()

        try:
            while True:
                # one limit for the question and one for taking the answer: a slow peer holds a connection, no more
                async with asyncio.timeout(self.idle_seconds):
                    data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                if self.responder.allowed and await self.responder.transfer(data, client=client, send=send):
                    continue
                result = self.responder.respond(data, udp=False, client=client)
                packet = result if isinstance(result, bytes) else await result
                if not packet:
                    return
                await send(packet)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        except asyncio.CancelledError:
            return  # only `close` cancels these, and asyncio would log it
        finally:
            self._open.discard(task)
            writer.close()

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

    def configure(self, config: DnsConfig) -> None:
        """Who may have zones, and another limit, when it is another; then all begin with a full bucket."""
        was, self.config = self.config, config
        if (was.rate_limit, was.rate_burst) != (config.rate_limit, config.rate_burst):
            self.responder.limit = limit_of(config.rate_limit, config.rate_burst)
        self.responder.allowed = Allowed(config.transfer_to)

    async def run(self) -> None:
        """Bind all addresses and answer until cancelled. Raises OSError when an address cannot be bound."""
        config = self.config
        tcp = TcpListener(self.responder, connections=config.tcp_connections, idle_seconds=config.tcp_idle_seconds)
        loop = asyncio.get_running_loop()
        with self._sockets() as pairs:
            async with asyncio.TaskGroup() as tasks:
                self.udp = [
                    UdpListener(udp, self.responder, tasks, concurrent=config.forward_concurrent) for udp, _ in pairs
                ]
                servers = [await asyncio.start_server(tcp.serve, sock=sock, backlog=128) for _, sock in pairs]
                try:
                    for listener in self.udp:
                        loop.add_reader(listener.sock, listener.drain)
                    self.started.set()
                    log.info("serving addresses=%s port=%d", ",".join(config.listen), self.port)
                    await loop.create_future()
                finally:
                    self.started.clear()
                    for listener in self.udp:
                        loop.remove_reader(listener.sock)
                    for server in servers:
                        server.close()
                    tcp.close()

    @contextmanager
    def _sockets(self) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
        pairs: list[tuple[socket.socket, socket.socket]] = []
        try:
            for host in self.config.listen:
                pairs.append(bind(host, self.port))
                self.port = pairs[-1][0].getsockname()[1]
            yield pairs
        finally:
            for udp, tcp in pairs:
                udp.close()
                tcp.close()


def bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on one address and port, both non-blocking."""
    attempts = 1 if port else 20
    for attempt in range(attempts):
        udp = _bound(host, port, socket.SOCK_DGRAM)
        try:
            return udp, _bound(host, udp.getsockname()[1], socket.SOCK_STREAM)
        except OSError:
            udp.close()
            if attempt == attempts - 1:
                raise
    raise AssertionError


def _bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER)
        # the address may come to this node a moment after us
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind((host, port))
    except OSError as problem:
        sock.close()
        raise OSError(problem.errno, f"cannot bind {host} port {port}: {problem.strerror}") from problem
    return sock
