"""The informer stays true: lists, resumes, relists, and tells every change once and in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pybernetes.api.errors import InternalError
from pybernetes.api.objects import Key, Obj, labels_of, name_of
from pybernetes.api.resources import PODS
from pybernetes.client import Client, Delta, Informer, Informers
from pybernetes.wire import Request
from support.fake_api import FakeApi


def pod(name: str, **labels: str) -> dict:
    return {"metadata": {"namespace": "default", "name": name, "labels": labels}}


@asynccontextmanager
async def running(informer: Informer | Informers) -> AsyncIterator[list[str]]:
    told: list[str] = []

    def handle(delta: Delta) -> None:
        kind = "+" if delta.was is None else "-" if delta.now is None else "~"
        told.append(kind + delta.key.name)

    if isinstance(informer, Informer):
        informer.subscribe(handle)
    task = asyncio.create_task(informer.run())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_streamed_list_then_changes() -> None:
    api = FakeApi()
    api.put(PODS, pod("a"))
    informer = Informer(Client(api), PODS)
    async with running(informer) as told:
        await informer.synced.wait()
        assert told == ["+a"]
        api.put(PODS, pod("b"))
        api.edit(PODS, "a", "default", spec={"nodeName": "n1"})
        api.drop(PODS, "b", "default")
        await api.until(lambda: told == ["+a", "+b", "~a", "-b"])
    assert informer.cache.get(Key("default", "b")) is None
    assert informer.lists == 1
    assert not [r for r in api.asked("GET") if not r.param("watch")]
    assert informer.revision == str(api.revision)
    assert informer.last_event > 0


async def test_a_server_without_streamed_lists() -> None:
    api = FakeApi()
    api.streams_lists = False
    api.put(PODS, pod("a"))
    informer = Informer(Client(api), PODS)
    async with running(informer) as told:
        await informer.synced.wait()
        api.put(PODS, pod("b"))
        await api.until(lambda: told == ["+a", "+b"])
    assert [o["kind"] for o in informer.cache.select()] == ["Pod", "Pod"]


async def test_a_cut_watch_resumes_without_a_list() -> None:
    api = FakeApi()
    api.put(PODS, pod("a"))
    informer = Informer(Client(api), PODS)
    async with running(informer) as told:
        await informer.synced.wait()
        for name in ("b", "c", "d"):
            api.cut()
            api.put(PODS, pod(name))
            await api.until(lambda name=name: told[-1] == "+" + name)
    assert told == ["+a", "+b", "+c", "+d"]
    assert informer.lists == 1


async def test_an_expired_revision_lists_again_and_tells_what_vanished() -> None:
    api = FakeApi()
    api.put(PODS, pod("a"))
    api.put(PODS, pod("b"))
    informer = Informer(Client(api), PODS)
    async with running(informer) as told:
        await informer.synced.wait()
        api.cut()
        api.drop(PODS, "a", "default")
        api.edit(PODS, "b", "default", spec={"x": 1})
        api.put(PODS, pod("c"))
        api.compact()
        await api.until(lambda: len(told) == 5)
    assert told == ["+a", "+b", "-a", "~b", "+c"]
    assert informer.lists == 2


async def test_it_survives_a_server_that_fails() -> None:
    api = FakeApi()
    failures = iter([ConnectionError("refused"), InternalError("no"), TimeoutError(), ValueError("surprise")])

    def fail(request: Request) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    api.fail = fail
    api.put(PODS, pod("a"))
    informer = Informer(Client(api), PODS)
    async with running(informer) as told:
        await informer.synced.wait()
    assert told == ["+a"]


async def test_a_bad_handler_harms_nobody() -> None:
    api = FakeApi()
    informer = Informer(Client(api), PODS)

    def bad(delta: Delta) -> None:
        raise RuntimeError("bad handler")

    informer.subscribe(bad)
    async with running(informer) as told:
        await informer.synced.wait()
        api.put(PODS, pod("a"))
        await api.until(lambda: told == ["+a"])


@pytest.mark.parametrize("streams", [True, False])
async def test_an_object_that_cannot_be_slimmed_holds_up_no_other(streams: bool, caplog) -> None:
    api = FakeApi()
    api.streams_lists = streams

    def slim(obj: Obj) -> Obj:
        if "poison" in labels_of(obj):
            raise RecursionError("too deep")
        return obj

    api.put(PODS, pod("first", poison="yes"))
    api.put(PODS, pod("a"))
    informer = Informer(Client(api), PODS, slim=slim)
    async with running(informer) as told:
        await informer.synced.wait()
        api.put(PODS, pod("b"))
        api.put(PODS, pod("b", poison="yes"))
        api.put(PODS, pod("c"))
        await api.until(lambda: told == ["+a", "+b", "-b", "+c"])
        api.put(PODS, pod("b"))
        api.put(PODS, pod("first"))
        await api.until(lambda: told[4:] == ["+b", "+first"])
        assert informer.lists == 1
    assert "object left out resource=pods key=default/first" in caplog.text


async def test_an_object_made_again_is_a_delete_and_an_add() -> None:
    api = FakeApi()
    api.put(PODS, pod("a"))
    informer = Informer(Client(api), PODS)
    async with running(informer) as told:
        await informer.synced.wait()
        api.cut()
        api.drop(PODS, "a", "default")
        api.put(PODS, pod("a"))
        api.compact()
        await api.until(lambda: len(told) == 3)
    assert told == ["+a", "-a", "+a"]


async def test_projection_indexes_and_late_subscribers() -> None:
    api = FakeApi()
    api.put(PODS, pod("a", app="web"))
    informers = Informers(Client(api))
    informer = informers.of(PODS, slim=slim)
    assert informers.of(PODS, slim=slim, indexes={"app": lambda o: [labels_of(o).get("app", "")]}) is informer
    async with running(informers):
        await informers.synced()
        later = informers.of(PODS, labels="app=web")
        await later.synced.wait()
        told: list[Delta] = []
        informer.subscribe(told.append)
    assert [name_of(d.obj) for d in told] == ["a"]
    assert [name_of(o) for o in informer.cache.indexed("app", "web")] == ["a"]
    assert informer.cache.indexed("app", "other") == []
    assert "creationTimestamp" not in informer.cache.select("default")[0]["metadata"]


def slim(obj: dict) -> dict:
    keep = ("name", "namespace", "uid", "resourceVersion", "labels")
    return {"metadata": {field: obj["metadata"][field] for field in keep}}
