"""docs/upstream.md: what the suite's programs said, spec by spec where they did not pass."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import RELEASE
from .suite import Result, Spec

AREAS = ("network", "auth", "cli", "architecture", "api-machinery", "apps", "node", "scheduling")
_TABLE = Path(__file__).with_name("specs.toml")
_STATES = ("passed", "failed", "skipped", "left out", "not run")


class Known(NamedTuple):
    """What is known of specs beforehand, by "area|name": why they are left out, run without the webhook, or fail."""

    out: Mapping[str, str]
    failing: Mapping[str, str]
    plain: Mapping[str, str]


def known(path: Path = _TABLE) -> Known:
    table = tomllib.loads(path.read_text())
    found: dict[str, dict[str, str]] = {"out": {}, "failing": {}, "plain": {}}
    for kind, reasons in found.items():
        for entry in table.get(kind, ()):
            reasons |= dict.fromkeys(entry["names"], entry["why"])
    return Known(**found)


def key(spec: Spec) -> str:
    return f"{spec.area}|{spec.name}"


def strangers(told: Known, specs: Sequence[Spec]) -> list[str]:
    """Names of the table that the suite does not have."""
    return sorted((set(told.out) | set(told.failing) | set(told.plain)) - {key(spec) for spec in specs})


def state(spec: Spec, results: Mapping[str, Result], told: Known) -> str:
    if key(spec) in told.out:
        return "left out"
    found = results.get(spec.text)
    return found.state if found else "not run"


def unexplained(specs: Sequence[Spec], results: Mapping[str, Result], told: Known) -> list[Spec]:
    """Those that failed, and nobody has said why."""
    failed = (spec for spec in specs if spec.area in AREAS and state(spec, results, told) == "failed")
    return [spec for spec in failed if key(spec) not in told.failing]


def load(path: Path) -> dict[str, Result]:
    return {text: Result(*row) for text, row in json.loads(path.read_bytes()).items()} if path.exists() else {}


def save(path: Path, results: Mapping[str, Result]) -> None:
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(results, indent=1))
    partial.replace(path)


def document(specs: Sequence[Spec], results: Mapping[str, Result], told: Known, *, date: str, machine: str) -> str:
    mine = [spec for spec in specs if spec.area in AREAS]
    states = {spec: state(spec, results, told) for spec in mine}
    return "\n".join([*_head(states, date, machine), *_counts(states), *_details(states, results, told)]) + "\n"


def _head(states: Mapping[Spec, str], date: str, machine: str) -> Iterator[str]:
    count = Counter(states.values())
    yield "# Kubernetes' own conformance programs"
    yield ""
    left = f", {count['not run']} were not run" if count["not run"] else ""
    yield (
        f"`make upstream` runs the conformance programs of Kubernetes {RELEASE} (`k8s.io/kubernetes/test/e2e`) against "
        f"`pybernetes up`. What each said when it was last run, as of {date}, on {machine}: "
        f"of {len(states)} programs {count['passed']} passed, {count['failed']} failed, "
        f"{count['skipped']} skipped themselves, {count['left out']} are left out{left}."
    )
    yield ""
    yield "Made by that target, not written by hand; the reasons are in `tests/upstream/specs.toml`."
    yield ""
    yield (
        "The programs ask for container images. A mutating webhook that the target registers turns the known ones into "
        "`image: host`, with the command that the image would run; the cluster stands in a mount namespace where the "
        "programs of the images lie at their places: agnhost, built from the same module, and Debian's nginx, netcat "
        "and busybox. What a program proves with them holds for processes; what is about images themselves is left out."
    )


def _counts(states: Mapping[Spec, str]) -> Iterator[str]:
    yield from ("", f"| group | {' | '.join(_STATES)} |", "|---|" + "---|" * len(_STATES))
    for area in AREAS:
        count = Counter(now for spec, now in states.items() if spec.area == area)
        yield f"| {area} | {' | '.join(str(count[name]) for name in _STATES)} |"


def _details(states: Mapping[Spec, str], results: Mapping[str, Result], told: Known) -> Iterator[str]:
    for name in ("failed", "skipped", "left out", "not run"):
        if found := [spec for spec, now in states.items() if now == name]:
            yield from ("", f"## {name.capitalize()}", "", "| group | program | why |", "|---|---|---|")
            yield from (f"| {spec.area} | {spec.name} | {_why(spec, results, told)} |" for spec in found)


def _why(spec: Spec, results: Mapping[str, Result], told: Known) -> str:
    said = told.out.get(key(spec)) or told.failing.get(key(spec))
    if said is None:
        said = results[spec.text].said[:300] if spec.text in results else ""
    return said.replace("|", "\\|")
