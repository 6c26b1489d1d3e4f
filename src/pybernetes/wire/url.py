"""Request targets: a path is percent-decoded once, on arrival, and encoded once, on departure.

After decoding, a "%2F" would look like a separator and ".." like a parent, to this program or to one behind it:
such paths are refused instead of guessed at (RFC 3986 sections 2.4 and 7.3). The API server reads them as Kubernetes'
does (`any_path`): it decides by what is decoded, and passes on what it has decided about.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlencode

from .message import Request

_ESCAPES = re.compile(rb"%(?![0-9A-Fa-f]{2})|%2[Ff]|%5[Cc]")
_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SAFE = "/:@!$&'()*+,;=~"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_DOTS = re.compile(r"(?:^|/)\.\.?(?:/|$)")
_PLAIN = re.compile(rb"(?:[\w.:,/-]+=[\w.:,/-]*)(?:&[\w.:,/-]+=[\w.:,/-]*){0,20}")
_FIELDS = 1000
"""At most so many query parameters."""


class BadTarget(ValueError):
    """A request target that is refused; the text says why."""


def decode_path(raw: bytes) -> str:
    """Raises BadTarget for a broken escape, a hidden separator, control characters, dot segments."""
    if not raw.startswith(b"/"):
        raise BadTarget("the path must begin with '/'")
    if b"%" in raw:
        if _ESCAPES.search(raw):
            raise BadTarget("the path has a broken escape or an escaped separator")
        raw = unquote_to_bytes(raw)
    try:
        path = raw.decode()
    except UnicodeDecodeError as error:
        raise BadTarget("the path is not UTF-8") from error
    return checked_path(path)


def any_path(raw: bytes) -> str:
    """Whatever is escaped is decoded, as Go's net/url does: an escaped separator is one.

    What is no UTF-8 becomes U+FFFD. Raises BadTarget for a broken escape.
    """
    if not raw.startswith(b"/"):
        raise BadTarget("the path must begin with '/'")
    if b"%" in raw:
        if _BROKEN.search(raw):
            raise BadTarget("the path has a broken escape")
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8", "replace")


def shown(path: str | bytes) -> str:
    """A path as it stands in a request line, or in a line of a log, which it does not break."""
    return quote(path, safe=_SAFE)


def checked_path(path: str) -> str:
    """A decoded path as it is. Raises BadTarget for control characters, backslashes, dot segments."""
    if _CONTROL.search(path):
        raise BadTarget("the path has a control character or a backslash")
    if "/." in path and _DOTS.search(path):
        raise BadTarget("the path has a '.' or '..' segment")
    return path


def decode_query(raw: bytes, *, errors: str = "strict") -> dict[str, list[str]]:
    """Parameters in order, blank values kept; `errors` says what becomes of what is no UTF-8. Raises BadTarget."""
    if not raw:
        return {}
    if _PLAIN.fullmatch(raw):  # most are; five times faster
        found: dict[str, list[str]] = {}
        for part in raw.decode().split("&"):
            name, _, value = part.partition("=")
            found.setdefault(name, []).append(value)
        return found
    try:
        text = raw.decode(errors=errors)
        return parse_qs(text, keep_blank_values=True, errors=errors, max_num_fields=_FIELDS)
    except ValueError as error:
        raise BadTarget("the query is malformed") from error


def encode_target(path: str, query: Mapping[str, Sequence[str]]) -> str:
    """Path and query as they stand in a request line."""
    target = shown(path)
    return f"{target}?{urlencode(query, doseq=True)}" if query else target


_PRINTABLE = "".join(map(chr, range(33, 127)))


def as_came(request: Request) -> tuple[str, str]:
    """Path and query of a request that was received, as they came, with what no request line may hold escaped."""
    if request.raw is None:
        return quote(request.path, safe=_SAFE), urlencode(request.query, doseq=True)
    path, query = request.raw
    return quote(path, safe=_PRINTABLE), quote(query, safe=_PRINTABLE)
