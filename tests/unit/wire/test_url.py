from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.wire import Request
from pybernetes.wire.url import BadTarget, any_path, as_came, checked_path, decode_path, decode_query, encode_target


def fine(path: str) -> bool:
    try:
        checked_path(path)
        path.encode()
    except (BadTarget, UnicodeEncodeError):
        return False
    return True


paths = st.text().map(lambda text: "/" + text).filter(fine)
queries = st.dictionaries(st.text(), st.lists(st.text(), min_size=1, max_size=3), max_size=5)


@settings(deadline=None)
@given(paths, queries)
def test_what_is_encoded_is_decoded_to_the_same(path: str, query: dict[str, list[str]]) -> None:
    try:
        repr((path, query)).encode()
        target = encode_target(path, query)
    except UnicodeEncodeError:
        return
    raw_path, _, raw_query = target.partition("?")
    assert decode_path(raw_path.encode("ascii")) == path
    assert decode_query(raw_query.encode("ascii")) == query


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_a_decoded_path_is_clean_whatever_comes(raw: bytes) -> None:
    try:
        path = decode_path(b"/" + raw)
    except BadTarget:
        return
    assert path.startswith("/")
    assert ".." not in path.split("/")
    assert "." not in path.split("/")
    assert not any(character < " " or character in "\\\x7f" for character in path)
    assert path.count("/") == raw.count(b"/") + 1


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_any_path_is_decoded_once_and_is_a_line_where_it_is_shown(raw: bytes) -> None:
    try:
        path = any_path(b"/" + raw)
    except BadTarget:
        assert b"%" in raw
        return
    assert path.startswith("/")
    assert any_path(encode_target(path, {}).encode()) == path
    came, query = as_came(Request(path=path, raw=(b"/" + raw, raw)))
    assert came.isascii()
    assert f"{came}{query}".isprintable()
    assert " " not in came + query
