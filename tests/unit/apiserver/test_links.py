"""Links that stay behind the proxy."""

import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.apiserver.links import Behind, Links, RewrittenHtml, packing
from pybernetes.wire.answer import whole

BEHIND = Behind("/api/v1/namespaces/a/pods/b/proxy", "10.0.0.1:80", "localhost:8001")
P = BEHIND.prefix


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/login?a=b#c", f"{P}/login?a=b#c"),
        ("/", f"{P}/"),
        ("/a/", f"{P}/a/"),
        ("/a//b/../c", f"{P}/a/c"),
        ("login", "login"),
        ("?x", "?x"),
        ("#x", "#x"),
        ("mailto:a@b", "mailto:a@b"),
        ("javascript:x()", "javascript:x()"),
        ("https://example.org/x", "https://example.org/x"),
        ("http://10.0.0.1:80/x", f"{P}/x"),
        ("http://localhost:8001/x", f"http://localhost:8001{P}/x"),
        ("//10.0.0.1:80/x", f"{P}/x"),
        (f"{P}/x", f"{P}/x"),
        ("http://[bad/x", "http://[bad/x"),
    ],
)
def test_urls(target: str, seen: str) -> None:
    assert BEHIND.url(target) == seen


CASES = [
    ('<a href="/rewriteme">test</a>', f'<a href="{P}/rewriteme">test</a>'),
    ("<A HREF='/x' class=\"/y\">", f'<A HREF="{P}/x" class="/y">'),
    ("<a href=/x>", f'<a href="{P}/x">'),
    ("<img\n src = '/x' alt='/y'/>", f"<img\n src = \"{P}/x\" alt='/y'/>"),
    ('<a href="/x?a=1&amp;b=2">', f'<a href="{P}/x?a=1&amp;b=2">'),
    ('<a href="other">', '<a href="other">'),
    ("<p title='/x'>", "<p title='/x'>"),
    ('<!-- <a href="/x"> --><a href="/y">', f'<!-- <a href="/x"> --><a href="{P}/y">'),
    ('<script>"<a href=\'/x\'>"</script><link href="/y">', f'<script>"<a href=\'/x\'>"</script><link href="{P}/y">'),
    ('<script src="/x"></SCRIPT><a href="/y">', f'<script src="{P}/x"></SCRIPT><a href="{P}/y">'),
    ('a < b <3 </a> <a data="a>b" href="/x">', f'a < b <3 </a> <a data="a>b" href="{P}/x">'),
    ('<a href="/x', '<a href="/x'),
    ("<", "<"),
    ("<!-", "<!-"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "seen"), CASES)
def test_html(text: str, seen: str) -> None:
    links = Links(BEHIND.url)
    assert links.feed(text.encode()) + links.end() == seen.encode()


@given(data=st.data(), case=st.sampled_from(CASES))
def test_it_does_not_matter_in_which_pieces_it_comes(data: st.DataObject, case: tuple[str, str]) -> None:
    text, seen = case[0].encode() * 2, case[1].encode() * 2
    one = Links(BEHIND.url)
    whole_text = one.feed(text) + one.end()
    links, made, at = Links(BEHIND.url), b"", 0
    while at < len(text):
        size = data.draw(st.integers(1, 9))
        made += links.feed(text[at : at + size])
        at += size
    assert made + links.end() == whole_text
    assert whole_text == seen or not case[0].endswith(">")


@given(
    st.lists(st.sampled_from([b"<", b"a", b" href=", b'"', b"'", b"/x", b">", b"<!--", b"-->", b"<script", b"\xff"]))
)
def test_nothing_is_lost_of_what_is_not_a_link(parts: list[bytes]) -> None:
    text = b"".join(parts)
    links = Links(lambda target: target)
    assert b"".join([links.feed(part) for part in parts]) + links.end() == text


def test_a_tag_without_end_is_not_held() -> None:
    links = Links(BEHIND.url)
    given_out = sum(len(links.feed(b'<a href="' + b"x" * 10_000)) for _ in range(100))
    assert given_out > 900_000


async def chunks(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def deflated(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
async def test_bodies_stay_in_their_coding(coding: str) -> None:
    text = b'<p>text</p><a href="/x">' * 1000
    packed = {"": text, "gzip": gzip.compress(text), "deflate": deflated(text)}[coding]
    known = packing(coding)
    assert known is not None
    made = await whole(RewrittenHtml(chunks(packed), BEHIND.url, known))
    plain = {"": lambda data: data, "gzip": gzip.decompress, "deflate": lambda data: zlib.decompress(data, -15)}[coding]
    assert plain(made) == text.replace(b'"/x"', f'"{P}/x"'.encode())


async def test_a_broken_coding_breaks_the_body_off() -> None:
    known = packing("gzip")
    assert known is not None
    with pytest.raises(ConnectionResetError):
        await whole(RewrittenHtml(chunks(b"not gzip at all"), BEHIND.url, known))


async def test_little_that_unpacks_to_much_is_unpacked_in_pieces() -> None:
    known = packing("gzip")
    assert known is not None
    bomb = gzip.compress(b"x" * 50_000_000)
    sizes = [len(piece) for piece in known[0].pieces(bomb)]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 1 << 20


def test_other_codings_are_left_alone() -> None:
    assert packing("br") is None
