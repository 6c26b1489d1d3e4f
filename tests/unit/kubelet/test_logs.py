"""Reading CRI logs."""

import asyncio

from pybernetes.kubelet.logs import LogOptions, read_log

LINES = "".join(f"2026-01-01T00:00:0{n}.000000000Z {'stderr' if n == 3 else 'stdout'} F line {n}\n" for n in range(6))


async def read(path, **options):
    return b"".join([chunk async for chunk in read_log(path, LogOptions(**options), running=lambda: False)]).decode()


async def test_all_tail_since_stream_and_limit(tmp_path):
    path = tmp_path / "0.log"
    path.write_text(LINES)
    assert await read(path) == "".join(f"line {n}\n" for n in range(6))
    assert await read(path, tail=2) == "line 4\nline 5\n"
    assert await read(path, tail=0) == ""
    assert await read(path, tail=99) == await read(path)
    assert await read(path, stream="stderr") == "line 3\n"
    assert await read(path, limit_bytes=9) == "line 0\nli"
    assert await read(path, since=1767225604.0) == "line 4\nline 5\n"
    assert await read(path, tail=1, timestamps=True) == "2026-01-01T00:00:05.000000000Z line 5\n"


async def test_parts_of_a_long_line_are_joined(tmp_path):
    path = tmp_path / "0.log"
    path.write_text("2026-01-01T00:00:00.0Z stdout P one \n2026-01-01T00:00:00.0Z stdout F two\n")
    assert await read(path) == "one two\n"


async def test_no_log_is_an_empty_one(tmp_path):
    assert await read(tmp_path / "none") == ""


async def test_following_goes_on_through_a_rotation_and_ends_with_the_container(tmp_path):
    path, alive, got = tmp_path / "0.log", [True], []
    path.write_text(LINES)

    async def follow():
        async for chunk in read_log(path, LogOptions(follow=True, tail=1), running=lambda: alive[0]):
            got.append(chunk)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        while not got:
            await asyncio.sleep(0.005)
        path.rename(tmp_path / "0.log.1")
        path.write_text("2026-01-01T00:00:09.0Z stdout F after\n")
        while b"after" not in b"".join(got):
            await asyncio.sleep(0.005)
        alive[0] = False
    assert b"".join(got) == b"line 5\nafter\n"
