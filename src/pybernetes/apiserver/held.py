"""A streamed body whose end somebody waits for: a seat to give back, an audit event to write."""

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import replace

from pybernetes.wire import Channel, Response


class Held:
    """The body; `chunk` is told the size of each part, `end` is called once: after the last, or when it is closed."""

    def __init__(self, body: AsyncIterable[bytes], chunk: Callable[[int], None], end: Callable[[], None]) -> None:
        self._body = body
        self._iterator = aiter(body)
        self._chunk = chunk
        self._end: Callable[[], None] | None = end

    def __aiter__(self) -> "Held":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._iterator)
        except BaseException:
            self._done()
            raise
        self._chunk(len(chunk))
        return chunk

    async def aclose(self) -> None:
        self._done()
        close: Callable[[], Awaitable[None]] | None = getattr(self._body, "aclose", None)
        if close is not None:
            await close()

    def _done(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()


def until_end(response: Response, end: Callable[[], None]) -> Response:
    """The response, with `end` called once it is over: at once for a whole body, else after its stream."""
    if response.upgrade is not None:
        upgrade = response.upgrade

        async def run(channel: Channel) -> None:
            try:
                await upgrade.run(channel)
            finally:
                end()

        response.upgrade = replace(upgrade, run=run)
    elif isinstance(response.body, bytes):
        end()
    else:
        response.body = Held(response.body, lambda _: None, end)
    return response
