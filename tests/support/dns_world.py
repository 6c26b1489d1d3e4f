"""The world outside a cluster: a name server of a few records over UDP and TCP, for those who forward to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from pybernetes.dns.sockets import bind

_SOA = "ns.example.com. hostmaster.example.com. 1 7200 1800 86400 60"


class World(asyncio.DatagramProtocol):
    """Answers from "owner TYPE data" lines; a name without any does not exist. `asked` counts the questions."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.records: dict[dns.name.Name, list[tuple[str, str]]] = {}
        for line in lines:
            owner, kind, data = line.split(maxsplit=2)
            self.records.setdefault(dns.name.from_text(owner), []).append((kind, data))
        self.asked: list[str] = []
        self.silent = False
        self.keeps = False
        """Whether replies over UDP wait for `give`."""
        self._kept: list[tuple[bytes, tuple[str, int]]] = []
        self.connections = 0
        self.hold = 0
        """Replies over one connection that are kept back until so many are there, and then sent last first."""
        self.writers: set[asyncio.StreamWriter] = set()
        self.transport: asyncio.DatagramTransport
        self.port = 0

    def reply(self, data: bytes) -> bytes:
        request = dns.message.from_wire(data)
        response = dns.message.make_response(request, recursion_available=True)
        (question,) = request.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{question.name} {kind}")
        found = self._of(question.name, kind)
        response.answer = found
        if not found:
            response.set_rcode(dns.rcode.NOERROR if question.name in self.records else dns.rcode.NXDOMAIN)
            response.authority.append(dns.rrset.from_text("example.com.", 60, "IN", "SOA", _SOA))
        return response.to_wire(max_size=65535)

    def _of(self, name: dns.name.Name, kind: str) -> list[dns.rrset.RRset]:
        found = []
        for type, data in self.records.get(name, ()):
            if type in (kind, "CNAME"):
                found.append(dns.rrset.from_text(name, 60, "IN", type, data))
            if type == "CNAME" and kind != "CNAME":
                found += self._of(dns.name.from_text(data), kind)
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        wire = self.reply(data)
        if self.keeps:
            self._kept.append((wire, addr))
        elif not self.silent:
            self.transport.sendto(wire, addr)

    def give(self) -> None:
        """Send what was kept; from now on nothing is."""
        self.keeps = False
        while self._kept:
            self.transport.sendto(*self._kept.pop(0))

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        held: list[bytes] = []
        try:
            while True:
                wire = self.reply(await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
                held.append(len(wire).to_bytes(2) + wire)
                if len(held) >= self.hold and not self.silent:
                    writer.write(b"".join(reversed(held)))
                    held.clear()
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self.writers.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self.writers:
            writer.close()


@asynccontextmanager
async def world(
    lines: Iterable[str], *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[World]:
    loop = asyncio.get_running_loop()
    udp, tcp = bind(host, port)
    _, found = await loop.create_datagram_endpoint(lambda: World(lines), sock=udp)
    server = await asyncio.start_server(found.stream, sock=tcp, ssl=tls)
    try:
        yield found
    finally:
        found.transport.close()
        found.hang_up()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn
