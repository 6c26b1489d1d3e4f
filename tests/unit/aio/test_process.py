"""run_forever in a process of its own: signals and exit statuses."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, gc, logging, sys
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal
logging.basicConfig(level=logging.INFO)

async def main(kind):
    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    if kind == "end":
        return
    if kind == "garbage":
        print(*gc.get_threshold())
        return
    if kind == "fatal":
        raise Fatal("no good")
    if kind == "error":
        raise ValueError("oops")
    if kind == "exit":
        sys.exit(7)
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    finally:
        if kind == "stuck":
            print("stuck", flush=True)
            await asyncio.sleep(60)
        print("cleaned up", flush=True)

run_forever(main(sys.argv[1]))
print("after", flush=True)
"""


def run(kind: str, *signals: tuple[str, signal.Signals]) -> tuple[int, str, str]:
    """Exit status, stdout, stderr; each signal is sent when its word has been printed."""
    command = [sys.executable, "-c", PROGRAM, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = ""
        for word, number in signals:
            while word not in seen:
                seen += process.stdout.readline()
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return process.returncode, seen + out, err


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [("end", 0, ""), ("fatal", 1, "no good"), ("error", 1, "ValueError: oops"), ("exit", 7, "")],
)
def test_ends(kind: str, status: int, word: str) -> None:
    returncode, _, err = run(kind)
    assert returncode == status
    assert word in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_cancels_and_cleans_up(number: signal.Signals, status: int) -> None:
    returncode, out, err = run("wait", ("ready", number))
    assert returncode == status
    assert "cleaned up" in out
    assert ("after" in out) == (status == 0)
    assert f"stopping signal={number.name}" in err
    assert "Traceback" not in err


def test_a_second_signal_does_not_wait() -> None:
    returncode, out, _ = run("stuck", ("ready", signal.SIGTERM), ("stuck", signal.SIGTERM))
    assert returncode == -signal.SIGTERM
    assert "cleaned up" not in out


def test_looks_for_garbage_less_often_than_python_by_itself() -> None:
    returncode, out, err = run("garbage")
    assert (returncode, err) == (0, "")
    young, middle, _ = (int(word) for word in out.split()[:3])
    assert young * middle > 50_000


def test_the_limit_of_open_files_is_raised_to_what_is_allowed() -> None:
    program = """
import resource
from pybernetes.aio.process import open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
assert open_files() == hard
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
