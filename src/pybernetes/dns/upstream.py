"""One upstream resolver: a question over UDP from a port of its own, again over TCP when the answer was cut.

Whoever wants to forge a reply over UDP has to guess the port, the id, and which letters of the name are capitals, drawn
anew for each question (0x20, draft-vixie-dnsext-dns0x20). A reply to the name in another case is not believed, and
neither is any after many wrong guesses: the question goes again over TCP, which nobody forges from afar.
"""

import asyncio
import ipaddress
import secrets
from typing import NamedTuple

from .foreign import BadReply, Reply, read_reply, recased
from .message import CD, HEADER, RD, Query, opt

_LONGEST_REPLY = 65535
_GUESSES = 16
"""So many datagrams that are no reply to the question are passed over; one more looks like somebody who guesses."""


class Address(NamedTuple):
    host: str
    port: int = 53

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """10.0.0.1, 10.0.0.1:53, fd00::1 or [fd00::1]:53; raises ValueError for anything else."""
    host, port = text, "53"
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing:
            raise ValueError(f"{text!r} has no closing bracket")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    ipaddress.ip_address(host.partition("%")[0])
    if not 0 < int(port) < 65536:
        raise ValueError(f"port {port} is out of range")
    return Address(host, int(port))


def nameservers(resolv_conf: str) -> list[Address]:
    """The nameserver lines of a resolv.conf, those that are no address left out."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                host = words[1]
                ipaddress.ip_address(host.partition("%")[0])
            except ValueError:
                continue
            found.append(Address(host))
    return found


def searches(resolv_conf: str) -> tuple[str, ...]:
    """The domains of the last search line of a resolv.conf, as the kubelet reads it."""
    found: tuple[str, ...] = ()
    for line in resolv_conf.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if words[:1] == ["search"]:
            found = tuple(word for word in words[1:] if word != ".")
    return found


def mixed(wire: bytes, bits: int) -> bytes:
    """A question section with each letter of its name in the case that a bit of `bits` says."""
    name = bytes(_turned(byte) if bits >> at & 1 else byte for at, byte in enumerate(wire[:-4]))
    return name + wire[-4:]


def _turned(byte: int) -> int:
    # lengths of labels, 63 at most, are below the letters
    return byte ^ 0x20 if 65 <= byte & 0xDF <= 90 else byte


class Upstream:
    """Where questions go, and how it has been doing lately."""

    def __init__(self, address: Address, *, max_fails: int = 2, size: int = 1232, mixes: bool = True) -> None:
        self.address = address
        self.size = size
        self.mixes = mixes
        """Whether names are asked for in mixed case."""
        self.max_fails = max_fails
        self.fails = 0
        self.next_probe = 0.0
        self.requests = 0
        self.doubts = 0
        """Questions asked again over TCP because what came over UDP may have been forged."""

    @property
    def down(self) -> bool:
        return self.fails >= self.max_fails

    def succeeded(self) -> None:
        self.fails = 0

    def failed(self, *, now: float) -> None:
        self.fails += 1
        self.next_probe = now + 1.0

    def may_try(self, *, now: float) -> bool:
        """Up, or down and due for a probe: then this question is the probe, and no other for a second."""
        if not self.down:
            return True
        if now < self.next_probe:
            return False
        self.next_probe = now + 1.0
        return True

    async def ask(self, query: Query, *, seconds: float) -> Reply:
        """The whole reply. Raises TimeoutError, OSError, BadReply (over TCP)."""
        self.requests += 1
        async with asyncio.timeout(seconds):
            reply = await self._ask_udp(query)
            if reply is None:
                self.doubts += 1
            return await self._ask_tcp(query) if reply is None or reply.truncated else reply

    def _packet(self, query: Query) -> tuple[bytes, bytes]:
        id = secrets.token_bytes(2)
        header = HEADER.pack(0, RD | query.flags & CD, 1, 0, 0, 1)[2:]
        dnssec = bool(query.edns and query.edns.dnssec)
        return id, id + header + query.wire + opt(size=self.size, dnssec=dnssec)

    async def _ask_udp(self, query: Query) -> Reply | None:
        """The reply, perhaps cut; None when what came cannot be believed."""
        asked = query._replace(wire=mixed(query.wire, secrets.randbits(8 * len(query.wire)))) if self.mixes else query
        id, packet = self._packet(asked)
        loop = asyncio.get_running_loop()
        wait = _Wait(asked, id, loop.create_future())
        # connected: the kernel picks a random port and drops what does not come from the upstream
        transport, _ = await loop.create_datagram_endpoint(lambda: wait, remote_addr=self.address)
        try:
            transport.sendto(packet)
            reply = await wait.reply
        finally:
            transport.close()
        return reply and recased(reply, asked=asked.wire, wanted=query.wire)

    async def _ask_tcp(self, query: Query) -> Reply:
        id, packet = self._packet(query)
        reader, writer = await asyncio.open_connection(*self.address, limit=_LONGEST_REPLY + 2)
        try:
            writer.write(len(packet).to_bytes(2) + packet)
            await writer.drain()
            length = int.from_bytes(await reader.readexactly(2))
            return read_reply(await reader.readexactly(length), query, id=id)
        except asyncio.IncompleteReadError as error:
            raise BadReply("connection closed") from error
        finally:
            writer.close()


class _Wait(asyncio.DatagramProtocol):
    """The first datagram that is a reply to the question, None when it may be forged; a few others are passed over."""

    def __init__(self, query: Query, id: bytes, reply: "asyncio.Future[Reply | None]") -> None:
        self.query, self.id, self.reply = query, id, reply
        self.guesses = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.reply.done():
            return
        try:
            reply = read_reply(data, self.query, id=self.id)
        except BadReply:
            self.guesses += 1
            if self.guesses > _GUESSES:
                self.reply.set_result(None)
            return
        same = data[12 : 12 + len(self.query.wire)] == self.query.wire
        self.reply.set_result(reply if same else None)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)
