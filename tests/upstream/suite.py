"""The suite's programs: which specs there are, and runs of some of them, each bounded in time."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .places import Places

_GRACE_SECONDS = 60
"""What a program may take after its time, or after it is told to end, to clean up."""


_CUT_SHORT = ("interrupted", "pending")
_SUITE_OVER = "suite timeout occurred"
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""So that a program ends with this one, however this one ends."""


class Spec(NamedTuple):
    """One program of the suite, by its full text with all tags."""

    text: str

    @property
    def area(self) -> str:
        """The group it belongs to: "network" of "[sig-network] ..."."""
        return self.text.partition("]")[0].removeprefix("[sig-")

    @property
    def name(self) -> str:
        """The text without tags, as people read it."""
        return " ".join(re.sub(r"\[[^\]]*\]", " ", self.text).split())

    @property
    def alone(self) -> bool:
        """Whether nothing else may run beside it."""
        return "[Serial]" in self.text


class Result(NamedTuple):
    """How one spec ended: "passed", "failed" or "skipped" (by itself), in how many seconds, and what it said."""

    state: str
    seconds: float
    said: str = ""


def specs(places: Places) -> list[Spec]:
    """The conformance specs of the suite, sorted by text."""
    with tempfile.TemporaryDirectory(prefix="upstream-") as work:
        report = Path(work, "report.json")
        subprocess.run(
            [
                *(str(places.suite), "--provider=skeleton", "--ginkgo.dry-run"),
                *(r"--ginkgo.focus=\[Conformance\]", f"--ginkgo.json-report={report}"),
            ],
            cwd=work,
            check=True,
            capture_output=True,
        )
        return sorted(Spec(text) for text, ended in _reported(report) if ended.state == "passed")


def run(places: Places, kubeconfig: Path, wanted: Sequence[Spec], *, seconds: float, workers: int) -> dict[str, Result]:
    """Text -> result, of those specs that ended within that time. Those that may not have company run last, alone."""
    deadline = time.monotonic() + seconds
    shared = [spec for spec in wanted if not spec.alone]
    found: dict[str, Result] = {}
    for batch in ([shared[number::workers] for number in range(workers)], [[spec for spec in wanted if spec.alone]]):
        groups = [group for group in batch if group]
        left = deadline - time.monotonic()
        if groups and left > 0:
            found |= _together(places, kubeconfig, groups, left)
    return found


def _together(places: Places, kubeconfig: Path, groups: Sequence[Sequence[Spec]], seconds: float) -> dict[str, Result]:
    with tempfile.TemporaryDirectory(prefix="upstream-") as work:
        reports = [Path(work, f"{number}.json") for number in range(len(groups))]
        commands = [
            arguments(places, kubeconfig, group, report=report, seconds=seconds)
            for group, report in zip(groups, reports, strict=True)
        ]
        with _running(places, commands, work) as processes:
            _wait(processes, seconds + _GRACE_SECONDS)
        wanted = {spec.text for group in groups for spec in group}
        ended = {text: result for report in reports if report.exists() for text, result in _reported(report)}
        return {text: result for text, result in ended.items() if text in wanted}


def arguments(places: Places, kubeconfig: Path, group: Iterable[Spec], *, report: Path, seconds: float) -> list[str]:
    """argv of one run of the suite."""
    focus = "|".join(f"{re.escape(spec.text)}$" for spec in group)
    return [
        str(places.suite),
        f"--kubeconfig={kubeconfig}",
        f"--kubectl-path={places.checkout / '.venv' / 'bin' / 'kubectl'}",
        "--provider=skeleton",
        "--minStartupPods=0",
        "--allowed-not-ready-nodes=-1",
        "--disable-log-dump",
        "--dump-logs-on-failure=false",
        f"--ginkgo.focus={focus}",
        f"--ginkgo.timeout={seconds:.0f}s",
        f"--ginkgo.grace-period={_GRACE_SECONDS // 2}s",
        f"--ginkgo.json-report={report}",
        "--ginkgo.no-color",
        "-test.timeout=0",
    ]


@contextmanager
def _running(places: Places, commands: Sequence[list[str]], work: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The programs, in sessions of their own; whatever ends the block, they end, and have time to clean up."""
    environment = os.environ | {"PATH": f"{places.checkout / '.venv' / 'bin'}:{os.environ['PATH']}", "HOME": work}
    places.logs.mkdir(parents=True, exist_ok=True)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, argv in enumerate(commands):
            with (places.logs / f"{number}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [*_WITH_PARENT, *argv],
                        cwd=work,
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        _wait(processes, _GRACE_SECONDS)
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(processes: Iterable[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return


def _reported(report: Path) -> Iterator[tuple[str, Result]]:
    """(text, result) of each spec in ginkgo's JSON report."""
    for told in json.loads(report.read_bytes())[0]["SpecReports"]:
        if told["LeafNodeType"] == "It" and (ended := result(told)):
            yield " ".join([*(told.get("ContainerHierarchyTexts") or ()), told["LeafNodeText"]]), ended


def result(told: Mapping[str, Any]) -> Result | None:
    """What a SpecReport of ginkgo says; None where the spec was not asked for, or its run ended before it did."""
    state = str(told["State"])
    said = " ".join(str((told.get("Failure") or {}).get("Message") or "").split())
    if (state == "skipped" and not said) or state in _CUT_SHORT or _SUITE_OVER in said:
        return None
    seconds = round(float(told.get("RunTime") or 0) / 1e9, 1)
    if state in ("passed", "skipped"):
        return Result(state, seconds, said)
    return Result("failed", seconds, said if state == "failed" else f"{state}: {said}")
