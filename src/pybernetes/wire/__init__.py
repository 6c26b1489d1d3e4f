"""HTTP as values: Request, Response, Handler, Transport, Channel. serve.py, connection.py, websocket.py and send.py
alone know an HTTP library.

Import what does I/O from its module, so that a process pays only for what it uses: `serve.Server` (with
`tls.server_context`), `send.HttpTransport`, `loopback.LoopbackTransport`, `channels.Remote` (exec and attach).
"""

from .message import (
    Channel,
    Handler,
    Pace,
    Peer,
    RawTransport,
    Request,
    Response,
    Spliced,
    Transport,
    Upgrade,
    Upload,
    offered,
    wants_upgrade,
)

__all__ = [
    "Channel",
    "Handler",
    "Pace",
    "Peer",
    "RawTransport",
    "Request",
    "Response",
    "Spliced",
    "Transport",
    "Upgrade",
    "Upload",
    "offered",
    "wants_upgrade",
]
