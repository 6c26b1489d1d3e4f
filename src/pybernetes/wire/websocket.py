"""The server's end of a WebSocket: uvicorn's wsproto protocol, quiet and safe to shut down twice.

A module of its own so that processes without WebSockets (and every start) do without the library.
"""

from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.utilities import LocalProtocolError

from .asgi import library_log
from .message import Pace


class WebSocket(WSProtocol):
    """One WebSocket connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = library_log
        self._ended = False
        self._stalled_since = 0.0

    @property
    def _before(self) -> Any:
        """The HTTP connection that this was."""
        return self.app_state["connection"]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._before.left()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_since = 0.0

    def overdue(self, now: float) -> bool:
        """As that of an HTTP connection."""
        if self._before.pace is Pace.FREE or not self._stalled_since:
            return False
        return now - self._stalled_since > float(self._before.limits.write_seconds)

    def shutdown(self) -> None:
        if not self._ended:
            self._ended = True
            try:
                super().shutdown()
            except LocalProtocolError:  # the peer has just said goodbye itself
                self.transport.close()
