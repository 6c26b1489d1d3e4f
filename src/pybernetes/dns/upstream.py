"""One upstream resolver: a question over UDP from a port of its own, over TCP when the answer was cut; or over TLS.

Whoever wants to forge a reply over UDP has to guess the port, the id, and which letters of the name are capitals, drawn
anew for each question (0x20, draft-vixie-dnsext-dns0x20). A reply to the name in another case is not believed, and
neither is any after many wrong guesses: the question goes again over TCP, which nobody forges from afar.
"""

import asyncio
import secrets
import ssl
import time

from .address import Address
from .foreign import BadReply, Reply, read_reply, recased
from .histogram import SECONDS, Histogram
from .message import RD, Query
from .question import NS, Question
from .stream import Stream, packet_of

_GUESSES = 16
"""So many datagrams that are no reply to the question are passed over; one more looks like somebody who guesses."""


def mixed(wire: bytes, bits: int) -> bytes:
    """A question section with each letter of its name in the case that a bit of `bits` says."""
    name = bytes(_turned(byte) if bits >> at & 1 else byte for at, byte in enumerate(wire[:-4]))
    return name + wire[-4:]


def _turned(byte: int) -> int:
    # lengths of labels, 63 at most, are below the letters
    return byte ^ 0x20 if 65 <= byte & 0xDF <= 90 else byte


PROBE = Query(b"", RD, b"\0" + NS.to_bytes(2) + b"\0\1", Question((), NS))
"""What is asked to see whether anybody is there: the name servers of the root, as CoreDNS does."""


class Upstream:
    """Where questions go, and how it has been doing lately."""

    def __init__(
        self,
        address: Address,
        *,
        max_fails: int = 2,
        size: int = 1232,
        mixes: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.size = size
        self.mixes = mixes
        """Whether names are asked for in mixed case over UDP."""
        self.max_fails = max_fails
        self.stream = Stream(address, tls=tls, size=size)
        self.fails = 0
        self.next_probe = 0.0
        self.requests = 0
        self.seconds: dict[int, Histogram] = {}
        """How long replies took, by rcode."""
        self.failed_checks = 0
        self.doubts = 0
        """Questions asked again over TCP because what came over UDP may have been forged."""

    @property
    def down(self) -> bool:
        """Failed often enough to be passed over; never with max_fails 0."""
        return 0 < self.max_fails <= self.fails

    def succeeded(self) -> None:
        self.fails = 0

    def failed(self, *, now: float) -> None:
        self.fails += 1
        self.next_probe = now + 1.0

    def may_try(self, *, now: float) -> bool:
        """Up, or down and due for a try: then this question is it, and no other for a second."""
        if not self.down:
            return True
        if now < self.next_probe:
            return False
        self.next_probe = now + 1.0
        return True

    async def ask(self, query: Query, *, seconds: float) -> Reply:
        """The whole reply. Raises TimeoutError, OSError, BadReply."""
        self.requests += 1
        began = time.perf_counter()
        async with asyncio.timeout(seconds):
            reply = await self._exchange(query)
        rcode = reply.body.rcode
        self.seconds.setdefault(rcode, Histogram(SECONDS)).observe(time.perf_counter() - began)
        return reply

    async def _exchange(self, query: Query) -> Reply:
        if self.address.transport != "udp":
            return await self.stream.ask(query)
        reply = await self._ask_udp(query)
        if reply is None:
            self.doubts += 1
        return await self.stream.ask(query) if reply is None or reply.truncated else reply

    async def check(self, *, seconds: float) -> None:
        """Whether anybody replies, whatever it is. Raises TimeoutError, OSError, BadReply."""
        async with asyncio.timeout(seconds):
            await (self._ask_udp(PROBE) if self.address.transport == "udp" else self.stream.ask(PROBE))

    def close(self) -> None:
        """Give up its connection."""
        self.stream.close()

    async def _ask_udp(self, query: Query) -> Reply | None:
        """The reply, perhaps cut; None when what came cannot be believed."""
        asked = query._replace(wire=mixed(query.wire, secrets.randbits(8 * len(query.wire)))) if self.mixes else query
        id = secrets.token_bytes(2)
        loop = asyncio.get_running_loop()
        wait = _Wait(asked, id, loop.create_future())
        # connected: the kernel picks a random port and drops what does not come from the upstream
        transport, _ = await loop.create_datagram_endpoint(lambda: wait, remote_addr=self.address[:2])
        try:
            transport.sendto(packet_of(asked, id=id, size=self.size))
            reply = await wait.reply
        finally:
            transport.close()
        return reply and recased(reply, asked=asked.wire, wanted=query.wire)


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
