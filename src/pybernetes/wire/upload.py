"""A request's body as it comes: read whole within a limit, or passed on piece by piece without one."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from pybernetes.api.errors import TooLarge


def too_large(limit: int) -> TooLarge:
    """In kube-apiserver's words."""
    return TooLarge(f"Request entity too large: limit is {limit}")


class Upload:
    """Over ASGI's receive. `length` is what the head announces, None for chunks."""

    def __init__(self, receive: Any, *, length: int | None, limit: int, unhurried: Callable[[], None]) -> None:
        self.length = length
        self.begun = False
        """Whether anybody has asked for it; before that a peer that waits for "100 Continue" sends nothing."""
        self._receive = receive
        self._limit = limit
        self._unhurried = unhurried
        self._more = True

    async def read(self) -> bytes:
        """All of it. Raises TooLarge (at once when the head says so), ConnectionResetError when the peer leaves."""
        if self.length is not None and self.length > self._limit:
            raise too_large(self._limit)
        chunks: list[bytes] = []
        size = 0
        while (chunk := await self._next()) is not None:
            chunks.append(chunk)
            size += len(chunk)
            if size > self._limit:
                raise too_large(self._limit)
        return b"".join(chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Piece by piece, as slowly as the peer likes. Raises ConnectionResetError."""
        self._unhurried()
        while (chunk := await self._next()) is not None:
            if chunk:
                yield chunk

    async def _next(self) -> bytes | None:
        if not self._more:
            return None
        self.begun = True
        event = await self._receive()
        if event["type"] == "http.disconnect":
            self._more = False
            raise ConnectionResetError("the peer left in the middle of its request")
        self._more = event["more_body"]
        body: bytes = event["body"]
        return body
