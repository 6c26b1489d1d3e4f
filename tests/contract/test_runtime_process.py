"""What only processes can show: isolation, files, limits, and that containers outlive the agent and the zygote."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest

from pybernetes.kubelet.runtime import (
    ContainerSpec,
    Identity,
    Limits,
    Mount,
    Phase,
    ProcessRuntime,
    RuntimeFailure,
    Streams,
)
from pybernetes.kubelet.runtime.process.cgroups import Cgroups
from pybernetes.kubelet.runtime.process.records import all_records
from support.kernel import missing, namespace
from support.kubelet import pod

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]


@asynccontextmanager
async def opened(directory, **fields):
    """A runtime whose containers go on when it is closed."""
    runtime = ProcessRuntime(directory / "runtime", cgroup=group_of(directory), **fields)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


def group_of(directory):
    return f"pybernetes-test-{os.getpid()}-{directory.name}"


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path):
    yield
    for record in all_records(tmp_path / "runtime" / "containers"):
        record.kill()
    Cgroups(group_of(tmp_path), probe=False).remove_all()


@pytest.fixture
async def runtime(tmp_path):
    async with opened(tmp_path, hidden=[str(tmp_path / "secret")]) as runtime:
        yield runtime
        for state in await runtime.list():
            await runtime.remove(state.id)
        runtime.cgroups.remove_all()


def exists(path):
    return os.path.exists(path)


async def start(runtime, *argv, netns="", **fields):
    sandbox = await runtime.sandbox(pod(), netns=netns)
    container = await runtime.create(sandbox, ContainerSpec(name="web", argv=argv, **fields), image="host")
    await runtime.start(container)
    return container


async def state(runtime, container):
    return next(one for one in await runtime.list() if one.id == container)


async def ended(runtime, container):
    async with asyncio.timeout(60):
        while (found := await state(runtime, container)).phase is not Phase.EXITED:
            await asyncio.sleep(0.005)
    return found


async def output(runtime, tmp_path, script, **fields):
    """What a shell script prints in a container."""
    log = tmp_path / "logs" / "0.log"
    log.unlink(missing_ok=True)
    await ended(runtime, await start(runtime, "sh", "-c", script, log=str(log), **fields))
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split(" ", 3)[3] for line in lines]


async def test_it_is_alone_with_its_processes_and_its_name(runtime, tmp_path):
    found = await output(runtime, tmp_path, "hostname; echo $$; echo /proc/[0-9]*", hostname="podhost")
    assert found == ["podhost", "1", "/proc/1"]


async def test_it_writes_to_a_copy_of_the_nodes_files(runtime, tmp_path):
    (tmp_path / "file").write_text("node")
    path = tmp_path / "file"
    assert await output(runtime, tmp_path, f"cat {path}; echo; echo pod > {path}; cat {path}; mkdir /new") == [
        "node",
        "pod",
    ]
    assert path.read_text() == "node"
    assert not exists("/new")


async def test_mounts(runtime, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "hosts").write_text("192.0.2.1 me\n")
    mounts = (
        Mount(source=str(tmp_path / "data"), target="/some/new/place"),
        Mount(source=str(tmp_path / "data"), target="/var/run/ro", read_only=True),
        Mount(source=str(tmp_path / "hosts"), target="/etc/hosts"),
    )
    script = "cat /etc/hosts; echo x > /some/new/place/x; cat /var/run/ro/x; touch /var/run/ro/y 2>&- || echo refused"
    found = await output(runtime, tmp_path, script, mounts=mounts)
    assert found[0] == "192.0.2.1 me"
    assert found[1] == "x"
    assert found[2] == "refused"
    assert (tmp_path / "data" / "x").read_text() == "x\n"
    assert not exists("/some")
    assert not exists("/run/ro")


async def test_hidden_paths_are_empty(runtime, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("x")
    assert await output(runtime, tmp_path, f"ls {tmp_path}/secret | wc -l") == ["0"]


async def test_privileges(runtime, tmp_path):
    script = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr '\\t' ' '; id -u; id -g"
    assert await output(runtime, tmp_path, script) == [
        "CapEff: 00000000a80425fb",
        "CapBnd: 00000000a80425fb",
        "NoNewPrivs: 1",
        "0",
        "0",
    ]
    found = await output(runtime, tmp_path, script, identity=Identity(uid=65534, gid=65533, drop_capabilities=("ALL",)))
    assert found == ["CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "65534", "65533"]
    added = Identity(drop_capabilities=("ALL",), add_capabilities=("NET_ADMIN",), no_new_privileges=False)
    found = await output(runtime, tmp_path, script, identity=added)
    assert found[:3] == ["CapEff: 0000000000001000", "CapBnd: 0000000000001000", "NoNewPrivs: 0"]


async def test_a_read_only_root(runtime, tmp_path):
    assert await output(runtime, tmp_path, "touch /x 2>&- || echo refused", read_only_root=True) == ["refused"]


async def test_working_directory_and_environment(runtime, tmp_path):
    found = await output(runtime, tmp_path, "pwd; echo $A $HOME", directory="/made/here", environment={"A": "1"})
    assert found == ["/made/here", "1 /root"]


async def test_a_network_namespace(runtime, tmp_path):
    with namespace("pod") as path:
        assert await output(runtime, tmp_path, "ls /sys/class/net | wc -l", netns=path) == ["1"]


async def test_the_memory_limit_ends_it(runtime, tmp_path):
    if not runtime.cgroups.version:
        pytest.skip(f"needs control groups: {runtime.cgroups.missing}")
    container = await start(runtime, "python3", "-c", "x = bytearray(200 << 20)", limits=Limits(memory_bytes=32 << 20))
    found = await ended(runtime, container)
    assert (found.reason, found.exit_code) == ("OOMKilled", 137)


async def test_exec_has_the_containers_privileges_and_name(runtime, tmp_path):
    container = await start(
        runtime, "sleep", "60", hostname="podhost", environment={"A": "1"}, identity=Identity(uid=65534, gid=65534)
    )
    got = b""

    async def out(data):
        nonlocal got
        got += data

    script = (
        "hostname; echo $A; id -u; grep -c . /proc/1/cmdline; grep -E 'CapEff|NoNew' /proc/self/status | tr '\\t' ' '"
    )
    assert await runtime.exec(container, ["sh", "-c", script], io=Streams(stdout=out)) == 0
    assert got.decode().splitlines()[:3] == ["podhost", "1", "65534"]
    assert got.decode().splitlines()[-2:] == ["CapEff: 0000000000000000", "NoNewPrivs: 1"]


async def test_a_terminal(runtime):
    container = await start(runtime, "sleep", "60")
    got, stdin, sizes = b"", asyncio.Queue(), asyncio.Queue()

    async def out(data):
        nonlocal got
        got += data

    sizes.put_nowait((100, 40))
    running = asyncio.create_task(
        runtime.exec(container, ["sh"], io=Streams(stdin=stdin, stdout=out, resize=sizes), tty=True)
    )
    async with asyncio.timeout(60):
        while not sizes.empty():
            await asyncio.sleep(0.01)
        stdin.put_nowait(b"tty; stty size; exit 4\n")
        assert await running == 4
    assert b"/dev/pts/0" in got
    assert b"40 100" in got


async def test_a_cancelled_exec_is_killed(runtime):
    container = await start(runtime, "sleep", "60")
    running = asyncio.create_task(runtime.exec(container, ["sleep", "4242"], io=Streams()))
    async with asyncio.timeout(60):
        while "4242" not in await commands(runtime, container):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while "4242" in await commands(runtime, container):
            await asyncio.sleep(0.01)


async def commands(runtime, container):
    got = b""

    async def out(data):
        nonlocal got
        got += data

    await runtime.exec(container, ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], io=Streams(stdout=out))
    return got.decode()


async def test_attach_follows_output_and_writes_stdin(runtime, tmp_path):
    container = await start(runtime, "sh", "-c", "read a; echo got $a", stdin=True, stdin_once=True)
    got, stdin = b"", asyncio.Queue()

    async def out(data):
        nonlocal got
        got += data

    stdin.put_nowait(b"hello\n")
    async with asyncio.timeout(60):
        await runtime.attach(container, io=Streams(stdin=stdin, stdout=out))
    assert got == b"got hello\n"


async def test_the_log_rotates_by_size(tmp_path):
    async with opened(tmp_path, log_max_bytes=4000, log_files=3) as runtime:
        await output(runtime, tmp_path, "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done")
        for one in await runtime.list():
            await runtime.remove(one.id)
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert names[0] == "0.log"
    assert len(names) <= 3


async def test_a_long_line_is_kept_in_parts(runtime, tmp_path):
    log = tmp_path / "logs" / "0.log"
    await ended(runtime, await start(runtime, "python3", "-c", "print('x' * 40000)", log=str(log)))
    marks = [line.split(" ", 3)[2] for line in log.read_text().splitlines()]
    assert marks == ["P", "P", "F"]
    assert sum(line.count("x") for line in log.read_text().splitlines()) == 40000


async def test_containers_survive_the_agent_and_the_zygote(tmp_path):
    log = tmp_path / "logs" / "0.log"
    async with opened(tmp_path) as first:
        stop = f"/tmp/stop-{tmp_path.name}"
        script = f"while :; do echo tick; sleep 0.02; [ -e {stop} ] && exit 5; done"
        container = await start(first, "sh", "-c", script, log=str(log))
        os.kill(first.zygote.pid, signal.SIGKILL)
        again = await start(first, "sleep", "60")
        assert (await state(first, again)).phase is Phase.RUNNING
    size = log.stat().st_size
    async with opened(tmp_path) as second:
        found = await state(second, container)
        assert found.phase is Phase.RUNNING
        async with asyncio.timeout(60):
            while log.stat().st_size <= size:
                await asyncio.sleep(0.01)
            async with second.events() as events:
                assert await second.exec(container, ["touch", stop], io=Streams()) == 0
                async for event in events:
                    if event.id == container and event.phase is Phase.EXITED:
                        assert event.exit_code == 5
                        break
        for one in await second.list():
            await second.remove(one.id)


async def test_an_exit_while_nobody_looked_is_known(tmp_path):
    async with opened(tmp_path) as first:
        container = await start(first, "sh", "-c", "sleep 0.1; exit 9")
        pid = (await state(first, container)).pid
    async with asyncio.timeout(60):
        while exists(f"/proc/{pid}/root/proc"):
            await asyncio.sleep(0.01)
    async with opened(tmp_path) as second:
        assert (await ended(second, container)).exit_code == 9
        await second.remove(container)


async def test_a_container_whose_keeper_is_killed_is_ended(runtime):
    container = await start(runtime, "sleep", "60")
    running = runtime._records[container].running
    os.kill(running["shim"], signal.SIGKILL)
    found = await ended(runtime, container)
    assert found.reason == "ContainerStatusUnknown"
    assert found.exit_code == 137
    async with asyncio.timeout(60):
        while runtime._records[container].process_alive(running):
            await asyncio.sleep(0.01)


async def test_without_overlay_the_nodes_files_are_read_only(tmp_path):
    (tmp_path / "volume").mkdir()
    async with opened(tmp_path) as runtime:
        runtime.overlay = False
        mounts = (Mount(source=str(tmp_path / "volume"), target="/run/volume"),)
        script = (
            "touch /etc/x 2>&- || echo refused; touch /tmp/y && echo tmp; touch /run/volume/z && echo volume; hostname"
        )
        found = await output(runtime, tmp_path, script, mounts=mounts, hostname="podhost")
        assert found == ["refused", "tmp", "volume", "podhost"]
        bad = (Mount(source=str(tmp_path / "volume"), target="/etc/not/there"),)
        with pytest.raises(RuntimeFailure, match="make the mount point /etc/not/there"):
            await start(runtime, "true", mounts=bad)
        for one in await runtime.list():
            await runtime.remove(one.id)
    assert not exists("/tmp/y")
