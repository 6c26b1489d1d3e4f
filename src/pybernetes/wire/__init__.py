"""HTTP as values: Request, Response, Handler, Transport, Channel. serve.py and send.py alone know an HTTP library."""

from .message import Channel, Handler, Peer, Request, Response, Transport, Upgrade

__all__ = ["Channel", "Handler", "Peer", "Request", "Response", "Transport", "Upgrade"]
