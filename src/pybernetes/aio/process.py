"""A process around one coroutine: uvloop, signals, exit status, and how often it looks for garbage."""

import asyncio
import gc
import logging
import resource
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from .supervise import Fatal

log = logging.getLogger("pybernetes.process")

FAILED = 1
INTERRUPTED = 130
"""128 + SIGINT, as shells expect."""

_GARBAGE = (5_000, 20, 20)
"""Objects made and not freed between two looks for cycles; how many of those to a look at older ones, and at all."""


def open_files() -> int:
    """Raise the soft limit of open files to the hard one, as Go's programs do: every client is one. Tells it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def run_forever(main: Coroutine[Any, Any, Any]) -> None:
    """Run until it ends or a signal cancels it; returns after SIGTERM (an orderly stop is a success).

    Exits with 130 after SIGINT, and with 1 after an error, which is logged. A second signal does not wait.
    """
    import uvloop  # here, so that the package can be used without it

    collect_seldom()
    status = uvloop.run(_until_signalled(main))
    if status:
        sys.exit(status)


def collect_seldom() -> None:
    """Look for reference cycles less often than Python does by itself, for the whole process.

    A process of a cluster holds a million objects and few cycles. With Python's own setting (700, 10, 10) 40 % of the
    time in which a large cluster is taken in goes to looking for garbage among them, and finds none.
    """
    gc.set_threshold(*_GARBAGE)


async def _until_signalled(main: Coroutine[Any, Any, Any]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        if received:
            log.warning("second signal, not waiting signal=%s", signal.Signals(number).name)
            sys.stderr.flush()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        received.append(number)
        log.info("stopping signal=%s", signal.Signals(number).name)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await main
    except asyncio.CancelledError:
        if not received:
            raise
        task.uncancel()
    except Fatal as error:
        log.critical("cannot go on error=%s", error)
        return FAILED
    except Exception:
        log.critical("failed", exc_info=True)
        return FAILED
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return INTERRUPTED if received[:1] == [signal.SIGINT] else 0
