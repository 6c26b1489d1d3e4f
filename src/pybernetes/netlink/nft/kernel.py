"""The kernel's nftables of one namespace: batches sent, answers heard, dumps read."""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from pybernetes.netlink.message import (
    ACK,
    ERROR,
    REQUEST,
    Message,
    attribute,
    attributes,
    message,
    messages,
    nested,
    string,
    text,
)
from pybernetes.netlink.sockets import NETFILTER, Netlink, explain, grow_receive_buffer, grow_send_buffer

from .decode import read_elements
from .encode import HEAD, Encoded, batches, encode
from .model import Data, Refused, Transaction, describe

_NFNL_NFTABLES = 10 << 8
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM, _GETGEN = 1, 4, 7, 10, 13, 16
_BATCH_BEGIN, _BATCH_END = 16, 17

_DONTWAIT = socket.MSG_DONTWAIT
_SET_COUNT = 20
_DUMP_ATTEMPTS = 100
_DUMP_PAUSE_SECONDS = 0.01


class KernelNftables:
    """The kernel's nftables of a namespace (None: the caller's). Not for several threads at once."""

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace
        self.netlink = Netlink(NETFILTER, namespace=namespace)
        grow_receive_buffer(self.netlink.socket, 4 << 20)
        self._room = 0

    def close(self) -> None:
        self.netlink.close()

    def commit(self, transaction: Transaction) -> None:
        """See Nftables. Without CAP_NET_ADMIN in the first user namespace the send buffer is bounded by
        net.core.wmem_max; a transaction larger than that is sent in several batches, each whole in itself.
        """
        encoded = list(encode(transaction))
        size = sum(len(entry.body) + 20 for entry in encoded) + 64
        if size * 2 > self._room:
            self._room = grow_send_buffer(self.netlink.socket, max(size * 2, 1 << 20))
        limit = max(self._room // 2, 1 << 16)
        for batch in batches(encoded, limit):
            self._send(batch)

    def _send(self, batch: Sequence[Encoded]) -> None:
        """One batch in one datagram. The last message asks for an acknowledgement, so an answer always comes."""
        parts = [message(_BATCH_BEGIN, HEAD.pack(0, 0, 10), flags=REQUEST, sequence=0)]
        for sequence, entry in enumerate(batch, 1):
            flags = entry.flags | REQUEST | (ACK if sequence == len(batch) else 0)
            parts.append(message(_NFNL_NFTABLES | entry.kind, entry.body, flags=flags, sequence=sequence))
        parts.append(message(_BATCH_END, HEAD.pack(0, 0, 10), flags=REQUEST, sequence=len(batch) + 1))
        self.netlink.drain()
        self.netlink.socket.send(b"".join(parts))
        self._hear(batch)

    def _hear(self, batch: Sequence[Encoded]) -> None:
        """Read all answers, so that none is in the way of the next call. Raises the first error of the batch."""
        answered, refused = False, None
        while True:
            try:
                data = self.netlink.socket.recv(1 << 18, _DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            for reply in messages(data):
                if reply.type == ERROR:
                    refused = refused or _refused(reply, batch)
                    answered = True
        if refused is not None:
            raise refused
        if not answered:
            raise Refused(errno.ENOBUFS, "nftables transaction: the kernel's answer was lost")

    def generation(self) -> int:
        reply = self.netlink.get(_NFNL_NFTABLES | _GETGEN, HEAD.pack(0, 0, 0), attempt="get generation")
        return int.from_bytes(attributes(reply.body, HEAD.size)[1], "big")

    def comment(self, family: int, table: str) -> str | None:
        body = HEAD.pack(family, 0, 0) + text(1, table)
        try:
            reply = self.netlink.get(_NFNL_NFTABLES | _GETTABLE, body, attempt=f"get table {table}")
        except FileNotFoundError:
            return None
        data = attributes(reply.body, HEAD.size).get(6, b"")
        return data[2 : 2 + data[1]].rstrip(b"\0").decode() if len(data) > 2 and data[0] == 0 else ""

    def chains(self, family: int, table: str) -> Mapping[str, int]:
        found = dict.fromkeys(self._names(_GETCHAIN, family, table, 3), 0)
        for name in self._names(_GETRULE, family, table, 2):
            found[name] = found.get(name, 0) + 1
        return found

    def sets(self, family: int, table: str) -> frozenset[str]:
        try:
            return frozenset(self._names(_GETSET, family, table, 2))
        except FileNotFoundError:  # of a table that is not there chains are none, but sets an error
            return frozenset()

    def elements(self, family: int, table: str, name: str) -> Mapping[bytes, Data]:
        """See Nftables. May take as long as `pieces`: call it in a thread."""
        found: dict[bytes, Data] = {}
        for piece in self.pieces(family, table, name):
            found.update(piece)
        return found

    def pieces(self, family: int, table: str, name: str) -> Iterator[Mapping[bytes, Data]]:
        """See Nftables. A hash that has just grown is moved to larger buckets in the background, and a dump meanwhile
        misses elements (6.18: 91,870 of 100,000 seen), so it is repeated until all that the kernel counts were seen.
        """
        body = HEAD.pack(family, 0, 0) + text(1, table) + text(2, name)
        attempt = f"list elements of {table} {name}"
        seen: set[bytes] = set()
        for _ in range(_DUMP_ATTEMPTS):
            wanted, before = self._count(family, table, name), len(seen)
            with closing(Netlink(NETFILTER, namespace=self.namespace)) as reading:  # a dump occupies its socket
                for entries in reading.pieces(_NFNL_NFTABLES | _GETSETELEM, body, attempt=attempt):
                    piece = _elements(entries)
                    seen.update(piece)
                    yield piece
            if len(seen) >= wanted >= 0 or (wanted < 0 and len(seen) == before):
                return
            yield {}
            time.sleep(_DUMP_PAUSE_SECONDS)
        raise OSError(errno.EAGAIN, f"{attempt}: kept changing while it was read")

    def lookup(self, family: int, table: str, name: str, keys: Iterable[bytes]) -> Mapping[bytes, Data]:
        """See Nftables. A request for each: the kernel answers to a list only up to the first that is not there."""
        found: dict[bytes, Data] = {}
        head = HEAD.pack(family, 0, 0) + text(1, table) + text(2, name)
        for key in keys:
            body = head + nested(3, nested(1, nested(1, attribute(1, key))))
            try:
                reply = self.netlink.get(_NFNL_NFTABLES | _GETSETELEM, body, attempt=f"get element of {table} {name}")
            except FileNotFoundError:
                self._count(family, table, name)  # is it the element that is not there, or the set?
                continue
            found.update(_elements([reply]))
        return found

    def _count(self, family: int, table: str, name: str) -> int:
        """How many elements the kernel counts in a set; -1 where it does not say (before Linux 6.15)."""
        body = HEAD.pack(family, 0, 0) + text(1, table) + text(2, name)
        reply = self.netlink.get(_NFNL_NFTABLES | _GETSET, body, attempt=f"list elements of {table} {name}")
        count = attributes(reply.body, HEAD.size).get(_SET_COUNT)
        return int.from_bytes(count, "big") if count else -1

    def _names(self, kind: int, family: int, table: str, which: int) -> list[str]:
        body = HEAD.pack(family, 0, 0) + text(1, table)
        found = []
        for entry in self.netlink.dump(_NFNL_NFTABLES | kind, body, attempt=f"list {table}"):
            values = attributes(entry.body, HEAD.size)
            if entry.body[0] == family and string(values.get(1, b"")) == table:
                found.append(string(values[which]))
        return found


def _elements(entries: Iterable[Message]) -> dict[bytes, Data]:
    found: dict[bytes, Data] = {}
    for entry in entries:
        found.update(read_elements(attributes(entry.body, HEAD.size).get(3, b"")))
    return found


def _refused(reply: Message, batch: Sequence[Encoded]) -> Refused | None:
    (code,) = struct.unpack_from("=i", reply.body)
    if code == 0:
        return None
    operation = batch[reply.sequence - 1].operation if 1 <= reply.sequence <= len(batch) else None
    detail = explain(reply)
    words = f"{describe(operation)}: {os.strerror(-code)}" + (f" ({detail})" if detail else "")
    return Refused(-code, words, operation)
