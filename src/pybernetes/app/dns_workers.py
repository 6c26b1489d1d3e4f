"""Further processes of the cluster DNS at the same addresses, so that it may have more than one core.

Each keeps the whole index by watches of its own, so that an answer is as fresh and needs nobody; the kernel deals the
clients out (SO_REUSEPORT). A worker is told what to do, and asked for its figures, over its standard input, whose end
is its end: none outlives the process that started it. What it says is JSON, one line a reply.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from pybernetes.aio.supervise import supervise
from pybernetes.dns import DnsConfig
from pybernetes.dns.metrics import APPLIED

log = logging.getLogger(__name__)

_REPLY_SECONDS = 2.0
_REPLY_BYTES = 1 << 22
_END_SECONDS = 10.0
"""For a worker to end, beyond its lame-duck time."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker does."""

    kubeconfig: str
    config: DnsConfig
    log_format: str = "text"
    log_level: str = "info"


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line of the text format."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    name: str
    help: str
    type: str
    samples: tuple[Sample, ...]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself."""

    ready: bool
    families: tuple[Family, ...]


def told(families: Iterable[Metric]) -> tuple[Family, ...]:
    """prometheus_client's families as values that can be sent."""
    return tuple(
        Family(one.name, one.documentation, one.type, tuple(Sample(s.name, s.labels, s.value) for s in one.samples))
        for one in families
    )


_COMBINED: Mapping[str, Callable[[float, float], float]] = {APPLIED: min, "coredns_plugin_enabled": max}
"""How the figures of two processes are one; all others are summed."""


def merged(processes: Iterable[Sequence[Family]]) -> Iterator[Metric]:
    """The families of several processes as those of one."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
    for family in (family for families in processes for family in families):
        found.setdefault(family.name, Metric(family.name, family.help, family.type))
        samples = values.setdefault(family.name, {})
        combine = _COMBINED.get(family.name, float.__add__)
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            before = samples.get(key)
            value = sample.value if before is None else combine(float(before.value), float(sample.value))
            samples[key] = Sample(sample.name, sample.labels, value)
    for name, metric in found.items():
        for sample in values[name].values():
            metric.add_sample(sample.name, sample.labels, sample.value)
        yield metric


class Worker:
    """One process; `run` starts it and raises when it ends by itself."""

    def __init__(self, task: Task, number: int) -> None:
        self.task = task
        self.number = number
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled. Raises ChildProcessError when the process ends, for whoever starts it again."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pybernetes.app.dns_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_REPLY_BYTES,
        )
        try:
            assert process.stdin
            process.stdin.write(msgspec.json.encode(self.task) + b"\n")
            self._process = process
            raise ChildProcessError(f"dns worker {self.number} ended with status {await process.wait()}")
        finally:
            self._process = None
            await self._end(process)

    async def figures(self) -> Figures | None:
        """What it says of itself; None when it does not reply."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            async with self._asking, asyncio.timeout(_REPLY_SECONDS):
                process.stdin.write(b"figures\n")
                line = await process.stdout.readline()
            return msgspec.json.decode(line, type=Figures)
        except (OSError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            log.warning("dns worker says nothing worker=%d error=%r", self.number, error)
            if process.returncode is None:
                process.kill()  # what it says later would be taken for the next reply; it is started again
            return None

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.task.config.lameduck_seconds + _END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Workers:
    """All but the first process of the cluster DNS."""

    def __init__(self, task: Task, *, count: int) -> None:
        self.workers = [Worker(task, number) for number in range(1, count + 1)]

    async def run(self) -> None:
        """Until cancelled; one that ends is started again."""
        if not self.workers:
            await asyncio.get_running_loop().create_future()
        await supervise(*self.workers)

    async def metrics(self, own: Iterable[Metric]) -> bytes:
        """The text of all figures, with those of this process."""
        others = await asyncio.gather(*(worker.figures() for worker in self.workers))
        return text([told(own), *(one.families for one in others if one is not None)])


def text(processes: Iterable[Sequence[Family]]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(merged(processes))))
    return generate_latest(registry)


class _Once:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
