"""What every container runtime does: the same suite over the fake and over processes."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pybernetes.kubelet.runtime import (
    ContainerSpec,
    FakeRuntime,
    ImageMissing,
    Phase,
    ProcessRuntime,
    RuntimeFailure,
    Streams,
)
from support.kernel import missing
from support.kubelet import pod


@asynccontextmanager
async def fake(directory):
    runtime = FakeRuntime()
    runtime.cannot_start["nope"] = 'exec: "nope": executable file not found in $PATH'
    runtime.exits_at_once["exit7"] = 7

    async def echo(argv, io):
        await io.stdout(b"out")
        await io.stderr(b"err")
        return 3

    async def cat(argv, io):
        while data := await io.stdin.get():
            await io.stdout(data)
        return 0

    runtime.programs |= {"echo": echo, "cat": cat}
    yield runtime


@asynccontextmanager
async def process(directory):
    runtime = ProcessRuntime(directory / "runtime", cgroup=f"pybernetes-test-{os.getpid()}", hidden=[str(directory)])
    await runtime.open()
    try:
        yield runtime
    finally:
        for state in await runtime.list():
            await runtime.remove(state.id)
        runtime.cgroups.remove_all()
        await runtime.close()


PROGRAMS = {
    fake: {"serve": ["serve"], "exit7": ["exit7"], "echo": ["echo"], "cat": ["cat"], "stubborn": ["serve"]},
    process: {
        "serve": ["sh", "-c", "trap 'exit 143' TERM; while :; do sleep 0.01; done"],
        "exit7": ["sh", "-c", "exit 7"],
        "echo": ["sh", "-c", "printf out; printf err >&2; exit 3"],
        "cat": ["cat"],
        "stubborn": ["sleep", "60"],
    },
}


@pytest.fixture(params=[fake, pytest.param(process, marks=pytest.mark.kernel)], ids=["fake", "process"])
async def made(request, tmp_path):
    if request.param is process and (why := missing()):
        pytest.skip(f"needs {why}")
    async with request.param(tmp_path) as runtime:
        yield runtime, PROGRAMS[request.param]


async def create(runtime, argv, name="web", **fields):
    sandbox = await runtime.sandbox(pod(), netns="")
    return await runtime.create(sandbox, ContainerSpec(name=name, argv=tuple(argv), **fields), image="host")


async def state(runtime, container):
    return next(one for one in await runtime.list() if one.id == container)


async def ended(runtime, container):
    async with asyncio.timeout(60):
        while (found := await state(runtime, container)).phase is not Phase.EXITED:
            await asyncio.sleep(0.005)
    return found


def caught(pid):
    """The signals that a process has handlers for, as a bit set."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))


async def handles_term(pid):
    """Until a program has set its handler: to the first process of a pid namespace SIGTERM is nothing before that."""
    async with asyncio.timeout(60):
        while not caught(pid) & 1 << (signal.SIGTERM - 1):
            await asyncio.sleep(0.005)


async def test_a_life(made):
    runtime, programs = made
    container = await create(runtime, programs["serve"], annotations={"a": "b"})
    found = await state(runtime, container)
    assert (found.phase, found.name, found.sandbox) == (Phase.CREATED, "web", "uid-p")
    assert found.annotations == {"a": "b"}
    await runtime.start(container)
    found = await state(runtime, container)
    assert found.phase is Phase.RUNNING
    assert found.started_at >= found.created_at > 0
    if isinstance(runtime, ProcessRuntime):
        await handles_term(found.pid)
    await runtime.stop(container, grace=5)
    found = await state(runtime, container)
    assert (found.phase, found.exit_code, found.reason) == (Phase.EXITED, 143, "Error")
    assert found.finished_at >= found.started_at
    await runtime.remove(container)
    assert await runtime.list() == []


async def test_an_exit_code(made):
    runtime, programs = made
    container = await create(runtime, programs["exit7"])
    await runtime.start(container)
    found = await ended(runtime, container)
    assert (found.exit_code, found.reason, found.signal) == (7, "Error", 0)


async def test_events_tell_what_happens(made):
    runtime, programs = made
    seen = []
    async with asyncio.timeout(60), runtime.events() as events:
        container = await create(runtime, programs["exit7"])
        await runtime.start(container)
        async for event in events:
            seen.append(event.phase)
            if event.phase is Phase.EXITED:
                break
    assert seen[0] is Phase.CREATED
    assert seen == sorted(seen, key=[Phase.CREATED, Phase.RUNNING, Phase.EXITED].index)


async def test_a_program_that_is_not_there(made):
    runtime, _ = made
    container = await create(runtime, ["nope"])
    with pytest.raises(RuntimeFailure, match="executable file not found") as caught:
        await runtime.start(container)
    assert caught.value.reason == "RunContainerError"
    found = await state(runtime, container)
    assert (found.phase, found.reason, found.exit_code) == (Phase.EXITED, "StartError", 128)
    assert 'exec: "nope": executable file not found in $PATH' in found.message


async def test_no_command_is_a_configuration_error(made):
    runtime, _ = made
    with pytest.raises(RuntimeFailure) as caught:
        await create(runtime, [])
    assert caught.value.reason == "CreateContainerConfigError"


async def test_images(made):
    runtime, _ = made
    assert await runtime.pull("host") == "host"
    with pytest.raises(ImageMissing) as caught:
        await runtime.pull("nginx")
    assert caught.value.reason == "ErrImagePull"
    with pytest.raises(ImageMissing) as caught:
        await runtime.pull("Not A Name")
    assert caught.value.reason == "InvalidImageName"


async def test_without_grace_it_is_killed(made):
    runtime, programs = made
    container = await create(runtime, programs["stubborn"])
    await runtime.start(container)
    await runtime.stop(container, grace=0)
    found = await state(runtime, container)
    assert (found.exit_code, found.signal) == (137, 9)
    await runtime.stop(container, grace=0)


async def test_exec(made):
    runtime, programs = made
    container = await create(runtime, programs["serve"])
    await runtime.start(container)
    output = {"out": b"", "err": b""}

    async def out(data):
        output["out"] += data

    async def err(data):
        output["err"] += data

    assert await runtime.exec(container, programs["echo"], io=Streams(stdout=out, stderr=err)) == 3
    assert output == {"out": b"out", "err": b"err"}
    stdin = asyncio.Queue()
    for chunk in (b"one ", b"two", b""):
        stdin.put_nowait(chunk)
    output["out"] = b""
    assert await runtime.exec(container, programs["cat"], io=Streams(stdin=stdin, stdout=out)) == 0
    assert output["out"] == b"one two"


async def test_exec_needs_a_running_container(made):
    runtime, programs = made
    container = await create(runtime, programs["exit7"])
    with pytest.raises(RuntimeFailure):
        await runtime.exec(container, programs["echo"], io=Streams())


async def test_removing_a_sandbox_ends_what_runs_in_it(made):
    runtime, programs = made
    for name in ("a", "b"):
        container = await create(runtime, programs["stubborn"], name)
        await runtime.start(container)
    await runtime.remove("uid-p")
    assert await runtime.list() == []
    await runtime.remove("uid-p")
    await runtime.remove("never-there")
