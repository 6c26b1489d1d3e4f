"""Runs the programs and writes docs/upstream.md. Usage: tools/upstream [--help]"""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from . import RELEASE, build, report, suite
from .cluster import NoCluster, cluster
from .places import Places
from .suite import Result, Spec

_CHECKOUT = Path(__file__).resolve().parents[2]
_BATCH = 120
"""How many specs share a cluster."""


def main() -> int:
    asked = _arguments().parse_args()
    places = Places(_CHECKOUT)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        if os.geteuid() != 0:
            raise build.Missing("clusters and mounts are made here: run this as root")
        build.build(places)
        specs = suite.specs(places)
        told = report.known()
        if gone := report.strangers(told, specs):
            raise build.Missing(f"specs.toml names what Kubernetes {RELEASE} has not: {', '.join(gone)}")
        if not asked.report:
            _run(places, batches(_wanted(specs, told, asked), told.plain), asked)
        if asked.report or not _partial(asked):
            _write(places, specs, told)
        return _verdict(report.unexplained(specs, report.load(places.results), told))
    except subprocess.CalledProcessError as error:
        print(f"upstream: {error}\n{_text(error.stderr)}", file=sys.stderr)
        return 1
    except (build.Missing, NoCluster, subprocess.TimeoutExpired) as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _verdict(failed: Sequence[Spec]) -> int:
    for spec in failed:
        print(f"upstream: failed, and specs.toml does not say why: {spec.text}", file=sys.stderr)
    return 1 if failed else 0


def _text(said: bytes | str | None) -> str:
    """What a program said, if that was kept."""
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""


def _interrupted(number: int, frame: object) -> None:
    """Once: what comes while everything is taken down must not stop that, which is bounded in time."""
    del number, frame
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    print("upstream: interrupted; taking the cluster down", file=sys.stderr, flush=True)
    raise KeyboardInterrupt


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/upstream", description=__doc__.partition("\n")[0] if __doc__ else "")
    groups = ", ".join(report.AREAS)
    parser.add_argument(
        "areas", nargs="*", metavar="GROUP", type=_area, help=f"groups to run; without any, all: {groups}"
    )
    parser.add_argument("--name", default="", help="only programs with this in their text")
    parser.add_argument("--missing", action="store_true", help="only programs that have no result yet")
    parser.add_argument("--failed", action="store_true", help="only programs that failed last time")
    parser.add_argument("--all", action="store_true", help="also the programs that specs.toml leaves out")
    parser.add_argument("--seconds", type=float, default=7200, help="stop after this time (%(default)s)")
    parser.add_argument("--workers", type=int, default=3, help="programs side by side (%(default)s)")
    parser.add_argument("--report", action="store_true", help="only write docs/upstream.md, of all results there are")
    return parser


def _partial(asked: argparse.Namespace) -> bool:
    return bool(asked.areas or asked.name or asked.missing or asked.failed or asked.all)


def _area(text: str) -> str:
    if text not in report.AREAS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(report.AREAS)}")
    return text


def _wanted(specs: Sequence[Spec], told: report.Known, asked: argparse.Namespace) -> list[Spec]:
    results = report.load(Places(_CHECKOUT).results)
    areas = asked.areas or report.AREAS
    found = [spec for spec in specs if spec.area in areas and asked.name in spec.text]
    if not asked.all:
        found = [spec for spec in found if report.key(spec) not in told.out]
    if asked.missing:
        found = [spec for spec in found if spec.text not in results]
    if asked.failed:
        found = [spec for spec in found if spec.text in results and results[spec.text].state == "failed"]
    return sorted(found, key=lambda spec: areas.index(spec.area))


def _run(places: Places, batches: Iterable[tuple[bool, list[Spec]]], asked: argparse.Namespace) -> None:
    """A fresh cluster for each batch, with the webhook or without, until time is up; results are kept after each."""
    end = time.monotonic() + asked.seconds
    for webhook, batch in batches:
        if (left := end - time.monotonic()) <= 0:
            return
        print(f"upstream: {len(batch)} programs", flush=True)
        with cluster(places, webhook=webhook) as kubeconfig:
            found = suite.run(places, kubeconfig, batch, seconds=left, workers=asked.workers)
        for text, ended in found.items():
            print(_line(text, ended), flush=True)
        report.save(places.results, report.load(places.results) | found)


def batches(wanted: Sequence[Spec], plain: Container[str]) -> Iterator[tuple[bool, list[Spec]]]:
    """(whether with the webhook, specs): in parts that share a cluster, group by group."""
    for webhook in (True, False):
        mine = [spec for spec in wanted if (report.key(spec) not in plain) == webhook]
        for start in range(0, len(mine), _BATCH):
            yield webhook, mine[start : start + _BATCH]


def _line(text: str, ended: Result) -> str:
    return f"{ended.state:8}{ended.seconds:7.1f} s  {text}" + (f"\n    {ended.said[:400]}" if ended.said else "")


def _write(places: Places, specs: Sequence[Spec], told: report.Known) -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"Linux {os.uname().release.partition('-')[0]}, {os.cpu_count()} processors"
    text = report.document(specs, report.load(places.results), told, date=today, machine=machine)
    (places.checkout / "docs" / "upstream.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
