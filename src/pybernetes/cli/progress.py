"""Steps with their times: a live line on a terminal, one plain line each elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Shows named steps on a stream (stderr by default), and keeps what each took in seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.times: dict[str, float] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; a failure is marked and passed on."""
        if self.live:
            self._write(f" \033[36m…\033[0m {title}", end="")
        start = time.perf_counter()
        mark, color = "✗", "31"
        try:
            yield
            mark, color = "✓", "32"
        finally:
            taken = self.times[title] = time.perf_counter() - start
            if self.live:
                self._write(f"\r \033[{color}m{mark}\033[0m {title} \033[2m{taken:.2f} s\033[0m\033[K")
            else:
                self._write(f" {mark} {title}  {taken:.2f} s")

    def say(self, text: str = "") -> None:
        self._write(text)

    def _write(self, text: str, *, end: str = "\n") -> None:
        self.stream.write(text + end)
        self.stream.flush()


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them: upper case heads, three spaces between."""
    table = [[head.upper() for head in header], *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
