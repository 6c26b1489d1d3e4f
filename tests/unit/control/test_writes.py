"""Reading one's own writes."""

import asyncio

import pytest

from pybernetes.api.resources import PODS
from pybernetes.client import Client, Informer
from pybernetes.control import Writes
from support.fake_api import FakeApi
from support.objects import pod

pytestmark = pytest.mark.looptime


def informer(revision: str) -> Informer:
    found = Informer(Client(FakeApi()), PODS)
    found.revision = revision
    return found


def at(revision: int) -> dict:
    one = pod("a")
    one["metadata"]["resourceVersion"] = str(revision)
    return one


async def test_a_write_is_seen_once_the_cache_is_that_far() -> None:
    cache = informer("5")
    writes: Writes[str] = Writes(cache)
    assert writes.seen("k")
    writes.wrote("k", at(7))
    writes.wrote("k", at(6))
    assert not writes.seen("k")
    assert writes.seen("other")
    cache.revision = "7"
    assert writes.seen("k")


async def test_a_cache_that_never_gets_there_is_believed_in_the_end() -> None:
    writes: Writes[str] = Writes(informer("5"))
    writes.wrote("k", at(7))
    await asyncio.sleep(31)
    assert writes.seen("k")


async def test_what_was_asked_to_go_counts_as_gone() -> None:
    writes: Writes[str] = Writes(informer("5"))
    one = pod("a")
    assert not writes.gone("k", one)
    writes.deleted("k", one)
    assert writes.gone("k", one)
    writes.keep("k", [one])
    assert writes.gone("k", one)
    writes.keep("k", [])
    assert not writes.gone("k", one)
