"""The recorder: counts, combines, limits, and loses nothing it took on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pybernetes.api.errors import Forbidden, ServiceUnavailable
from pybernetes.api.resources import EVENTS
from pybernetes.client import Client
from pybernetes.control import Recorder
from pybernetes.wire import Request
from support.fake_api import FakeApi
from support.objects import node, pod

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def recording(api: FakeApi) -> AsyncIterator[Recorder]:
    recorder = Recorder(Client(api), "test", host="n1")
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_event_as_kubectl_shows_it() -> None:
    api = FakeApi()
    about = pod("web")
    async with recording(api) as recorder:
        recorder.event(about, "Started", "Started container", field_path="spec.containers{c}")
    (event,) = api.of(EVENTS)
    assert event["involvedObject"] == {
        "kind": "Pod", "namespace": "default", "name": "web", "uid": about["metadata"]["uid"], "apiVersion": "v1",
        "resourceVersion": about["metadata"]["resourceVersion"], "fieldPath": "spec.containers{c}",
    }  # fmt: skip
    assert (event["reason"], event["type"], event["count"]) == ("Started", "Normal", 1)
    assert event["source"] == {"component": "test", "host": "n1"}
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert event["metadata"]["namespace"] == "default"


async def test_the_same_again_raises_the_count() -> None:
    api = FakeApi()
    async with recording(api) as recorder:
        for _ in range(3):
            recorder.event(pod("web") | {"metadata": {"uid": "u", "name": "web", "namespace": "default"}}, "A", "m")
            await asyncio.sleep(1)
        recorder.event({"metadata": {"uid": "u", "name": "web", "namespace": "default"}, "kind": "Pod"}, "A", "m")
    assert [event["count"] for event in api.of(EVENTS)] == [4]


async def test_events_of_cluster_scoped_objects_stand_in_default() -> None:
    api = FakeApi()
    async with recording(api) as recorder:
        recorder.event(node("n1"), "A", "m")
    assert [event["metadata"]["namespace"] for event in api.of(EVENTS)] == ["default"]


async def test_many_messages_become_one_combined_event() -> None:
    api = FakeApi()
    about = pod("web")
    async with recording(api) as recorder:
        for number in range(15):
            recorder.event(about, "A", f"message {number}")
    combined = [event for event in api.of(EVENTS) if event["message"].startswith("(combined from similar events): ")]
    assert len(api.of(EVENTS)) == 11
    assert [event["count"] for event in combined] == [5]
    assert combined[0]["message"].endswith("message 14")


async def test_a_chatterbox_is_limited() -> None:
    api = FakeApi()
    recorder = Recorder(Client(api), "test")
    about = pod("web")
    for number in range(40):
        recorder.event(about, f"Reason{number}", "m")
    assert recorder.dropped == 15
    recorder.event(pod("other"), "A", "m")
    assert recorder.dropped == 15


async def test_a_server_that_fails_is_tried_again_and_one_that_refuses_is_not() -> None:
    api = FakeApi()
    answers: list[Exception | None] = [ServiceUnavailable("no"), ConnectionError("x"), None, Forbidden("no")]

    def fail(request: Request) -> None:
        if answers and (error := answers.pop(0)) is not None:
            raise error

    api.fail = fail
    async with recording(api) as recorder:
        recorder.event(pod("a"), "A", "m")
        recorder.event(pod("b"), "B", "m")
        await asyncio.sleep(10)
    assert [event["reason"] for event in api.of(EVENTS)] == ["A"]


async def test_an_event_deleted_meanwhile_is_made_again() -> None:
    api = FakeApi()
    about = pod("web")
    async with recording(api) as recorder:
        recorder.event(about, "A", "m")
        await asyncio.sleep(1)
        (event,) = api.of(EVENTS)
        api.drop(EVENTS, event["metadata"]["name"], "default")
        recorder.event(about, "A", "m")
    assert [event["count"] for event in api.of(EVENTS)] == [1]
