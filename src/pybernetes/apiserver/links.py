"""Links that stay behind the proxy: redirects and the addresses in HTML, as apimachinery/pkg/util/proxy rewrites them.

An application behind `.../pods/web/proxy/` does not know that it is, and links to `/style.css`. HTML is rewritten as it
comes: whole tags are looked at, the rest goes on byte by byte. No I/O.
"""

import html
import posixpath
import re
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pybernetes.wire.answer import close_body

_LONGEST_TAG = 64 << 10
_PIECE = 256 << 10
_URL_ATTRIBUTES: dict[str, frozenset[str]] = {
    tag: frozenset(names.split())
    for tag, names in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
"""Source: HTML 4.01 and HTML, index of attributes."""
_RAW = {
    name: re.compile(rb"</" + name.encode(), re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
}
"""Elements whose content is text, whatever it looks like, and what ends it."""
_COMMENT_END = re.compile(rb"-->")
_LONGEST_END = 12
_TAG = re.compile(rb"""<([A-Za-z][^\s/>]*+)((?:[^>"']|"[^"]*+"|'[^']*+')*+)>""")
_ATTRIBUTE = re.compile(rb"""([^\s"'>/=]++)(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s"'>]++)""")

Rewrite = Callable[[str], str]


class Behind(NamedTuple):
    """A proxied request: the path of the proxy, the host that is behind it and the one that was asked."""

    prefix: str
    backend: str
    asked: str

    def url(self, target: str) -> str:
        """Where a link leads for who came by the proxy; to another host, or relative, it stays as it is."""
        try:
            parts = urlsplit(target)
        except ValueError:
            return target
        if parts.netloc not in ("", self.backend, self.asked) or not parts.path.startswith("/"):
            return target
        if parts.netloc != self.asked:
            parts = parts._replace(scheme="", netloc="")
        if not parts.path.startswith(self.prefix):
            path = posixpath.normpath(f"{self.prefix}/{parts.path}")
            parts = parts._replace(path=path + "/" if parts.path.endswith("/") else path)
        return urlunsplit(parts)


class Links:
    """Rewrites a document in pieces: what `feed` and `end` give, in order, is the whole of it."""

    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self._buffer = b""
        self._at = 0
        self._until: re.Pattern[bytes] | None = None
        """Inside a comment, or an element of text: what ends it."""

    def feed(self, data: bytes) -> bytes:
        self._buffer, self._at = self._buffer[self._at :] + data, 0
        out = []
        while (piece := self._step()) is not None:
            out.append(piece)
        if len(self._buffer) - self._at > _LONGEST_TAG:
            out.append(self._take(len(self._buffer)))  # no tag is so long
        return b"".join(out)

    def end(self) -> bytes:
        return self._take(len(self._buffer))

    def _take(self, stop: int) -> bytes:
        start, self._at = self._at, stop
        return self._buffer[start:stop]

    def _step(self) -> bytes | None:
        """The next piece; None when more must come first to know it."""
        buffer, at = self._buffer, self._at
        if at >= len(buffer):
            return None
        if self._until is not None:
            return self._text(self._until)
        start = buffer.find(b"<", at)
        if start != at:
            return self._take(start if start > 0 else len(buffer))
        if buffer.startswith(b"<!--", at):
            self._until = _COMMENT_END
            return self._take(at + 4)
        if b"<!--".startswith(buffer[at : at + 4]):
            return None
        if not buffer[at + 1 : at + 2].isalpha():
            return self._take(at + 1)
        tag = _TAG.match(buffer, at)
        if tag is None:
            return None
        self._at = tag.end()
        return self._tag(tag)

    def _text(self, until: re.Pattern[bytes]) -> bytes | None:
        found = until.search(self._buffer, self._at)
        if found is not None:
            self._until = None
            return self._take(found.start())
        stop = len(self._buffer) - _LONGEST_END
        return self._take(stop) if stop > self._at else None

    def _tag(self, tag: re.Match[bytes]) -> bytes:
        name = tag[1].decode("latin-1").lower()
        if name in _RAW and not tag[2].endswith(b"/"):
            self._until = _RAW[name]
        known = _URL_ATTRIBUTES.get(name)
        if known is None:
            return tag[0]
        attributes = _ATTRIBUTE.sub(lambda found: self._attribute(found, known), tag[2])
        return b"<%s%s>" % (tag[1], attributes)

    def _attribute(self, found: re.Match[bytes], known: frozenset[str]) -> bytes:
        if found[1].decode("latin-1").lower() not in known:
            return found[0]
        try:
            value = html.unescape(found[3].strip(b"\"'").decode())
        except UnicodeDecodeError:
            return found[0]
        new = self._rewrite(value)
        if new == value:
            return found[0]
        return b'%s%s"%s"' % (found[1], found[2], html.escape(new).encode())


def packing(encoding: str) -> tuple["_Unpack", "_Pack"] | None:
    """How to undo and redo a content coding; None for one that is not known here."""
    bits = {"": 0, "gzip": 31, "deflate": -15}.get(encoding.strip().lower())
    return None if bits is None else (_Unpack(bits), _Pack(bits))


class _Unpack:
    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits) if bits else None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The plain text, in pieces of a bounded size, however much there is in few bytes. Raises zlib.error."""
        if self._inner is None:
            yield data
            return
        while found := self._inner.decompress(data, _PIECE):
            yield found
            data = self._inner.unconsumed_tail


class _Pack:
    def __init__(self, bits: int) -> None:
        self._inner = zlib.compressobj(wbits=bits) if bits else None

    def piece(self, data: bytes) -> bytes:
        if self._inner is None:
            return data
        return self._inner.compress(data) + self._inner.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return b"" if self._inner is None else self._inner.flush()


class RewrittenHtml:
    """A body of HTML with its links rewritten, as it comes. A broken coding breaks the body off."""

    def __init__(self, body: AsyncIterable[bytes], rewrite: Rewrite, coding: "tuple[_Unpack, _Pack]") -> None:
        self._body = body
        self._made = self._pieces(rewrite, coding)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._made

    async def aclose(self) -> None:
        await close_body(self._made)
        await close_body(self._body)

    async def _pieces(self, rewrite: Rewrite, coding: "tuple[_Unpack, _Pack]") -> AsyncIterator[bytes]:
        unpack, pack = coding
        links = Links(rewrite)
        try:
            async for chunk in self._body:
                for piece in unpack.pieces(chunk):
                    if made := links.feed(piece):
                        yield pack.piece(made)
        except zlib.error as error:
            raise ConnectionResetError(f"the backend's answer is broken: {error}") from error
        yield pack.piece(links.end()) + pack.end()
