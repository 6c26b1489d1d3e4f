"""Queries of lists and watches: what they mean, and which are refused."""

import pytest

from pybernetes.api.errors import ApiError
from pybernetes.api.resources import EVENTS_V1, PODS
from pybernetes.apiserver.options import ListOptions, list_options
from pybernetes.wire import Request


def parsed(*, watch: bool = False, name: str = "", **query: str) -> ListOptions:
    request = Request(query={key: [value] for key, value in query.items()})
    return list_options(request, PODS, namespace="", name=name, watch=watch)


def test_defaults() -> None:
    found = parsed()
    assert found.revision is None
    assert not found.selection


def test_selectors_and_paging() -> None:
    found = parsed(
        labelSelector="a=b", fieldSelector="spec.nodeName=n,metadata.namespace=x", limit="3", resourceVersion="0"
    )
    assert found.selection.namespace == "x"
    assert found.revision == 0
    assert found.limit == 3
    assert parsed(name="p").selection.name == "p"


def test_fields_of_a_converted_row_are_those_of_its_storage() -> None:
    request = Request(query={"fieldSelector": ["regarding.name=x"]})
    found = list_options(request, EVENTS_V1, namespace="", watch=False)
    assert found.selection.fields.terms[0].path == "involvedObject.name"


@pytest.mark.parametrize(
    ("query", "watch", "code"),
    [
        ({"fieldSelector": "spec.nothing=1"}, False, 400),
        ({"labelSelector": "a in (b"}, False, 400),
        ({"resourceVersion": "x"}, False, 400),
        ({"limit": "x"}, False, 400),
        ({"resourceVersionMatch": "Exact"}, False, 422),
        ({"resourceVersionMatch": "Maybe", "resourceVersion": "1"}, False, 422),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, False, 422),
        ({"resourceVersionMatch": "NotOlderThan", "resourceVersion": "1", "continue": "x"}, False, 422),
        ({"sendInitialEvents": "true"}, False, 422),
        ({"resourceVersionMatch": "NotOlderThan", "resourceVersion": "1"}, True, 422),
        ({"sendInitialEvents": "true", "allowWatchBookmarks": "true"}, True, 422),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, True, 422),
    ],
)
def test_refused(query: dict[str, str], watch: bool, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        parsed(watch=watch, **query)
    assert caught.value.code == code


def test_watch_list() -> None:
    found = parsed(
        watch=True, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    assert found.initial is True
    assert found.bookmarks


@pytest.mark.parametrize(
    ("value", "means"),
    [
        *((value, True) for value in (["true"], ["True"], ["1"], ["yes"], [""])),
        *((value, False) for value in (["false"], ["False"], ["0"], [])),
    ],
)
def test_booleans_are_read_as_kubernetes_reads_them(value: list[str], means: bool) -> None:
    assert Request(query={"stdout": value}).flag("stdout") is means
    assert not Request().flag("stdout")
