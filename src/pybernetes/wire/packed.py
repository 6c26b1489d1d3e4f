"""A body that is compressed as it goes out, piece by piece, in a thread: a long list is never whole in memory."""

import asyncio
import zlib
from collections.abc import AsyncIterable, AsyncIterator

from .answer import close_body

_LEVEL = 1
"""As in kube-apiserver: what more would save costs more time than the network takes."""
_GZIP = 31


class Packed:
    """gzip of a body; `aclose` closes the body too."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body
        self._pieces = self._packed()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        await close_body(self._pieces)
        await close_body(self._body)

    async def _packed(self) -> AsyncIterator[bytes]:
        packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
        async for chunk in self._body:
            if piece := await asyncio.to_thread(packer.compress, chunk):
                yield piece
        yield packer.flush()
