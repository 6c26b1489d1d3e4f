"""The server's end of a WebSocket: uvicorn's wsproto protocol, quiet and safe to shut down twice.

A module of its own so that processes without WebSockets (and every start) do without the library.
"""

from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.utilities import LocalProtocolError

from .asgi import library_log


class WebSocket(WSProtocol):
    """One WebSocket connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = library_log
        self._ended = False

    def shutdown(self) -> None:
        if not self._ended:
            self._ended = True
            try:
                super().shutdown()
            except LocalProtocolError:  # the peer has just said goodbye itself
                self.transport.close()
