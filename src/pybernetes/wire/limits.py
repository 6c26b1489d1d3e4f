"""What one peer, and all of them together, may ask of a server: sizes, counts and times, in one value."""

from dataclasses import dataclass

from .answer import BODY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds are looked at every few seconds only, so that a bound of 32 cuts after 32 to 37."""

    connections: int = 10_000
    """Open at once, handshakes included; fewer when the process may not open so many files."""
    connections_each: int = 2_000
    """Open at once from one address (from one /64 in IPv6)."""
    handshake_seconds: float = 10.0
    head_seconds: float = 32.0
    """From a request's first byte to the end of its head; a new connection has as long for its first request. As in
    kube-apiserver."""
    request_seconds: float = 75.0
    """From a request's first byte to its last; above the minute in which a handler answers that waits for it."""
    target_bytes: int = 32 << 10
    """Of a request's target; more is 414."""
    head_bytes: int = 64 << 10
    """Of all header fields, names and values; more is 431."""
    headers: int = 512
    """Header fields; more is 431."""
    pipelined: int = 100
    """Requests that one connection sends ahead; with more it is closed."""
    body_bytes: int = BODY_BYTES
    message_bytes: int = 16 << 20
    """The largest WebSocket message."""
    write_seconds: float = 60.0
    """How long a peer may leave what was sent to it unread, at a stretch; answers at their own pace excepted."""
    answer_seconds: float = 300.0
    """How long a peer may take to read one answer, a long list for instance; a watch has no end to be measured by."""
    idle_seconds: int = 120
    """An unused connection is kept so long: longer than Go's clients do (90 s), so that they are the ones to close."""
    gzip_bytes: int = 128 << 10
    """Bodies from this size on are compressed for clients that accept it, as in kube-apiserver; 0 never."""
    delay_seconds: float = 0.0
    """How long a shutdown goes on serving as before, so that others learn of it."""
    grace_seconds: float = 5.0
    """How long a shutdown waits for requests that are under way."""
