"""Values counted by size class, as Prometheus' histograms are, in plain numbers."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

SECONDS = tuple(0.00025 * 2**step for step in range(16))
"""CoreDNS' classes for durations: 0.25 ms to 8 s."""
PROGRAMMING_SECONDS = tuple(0.001 * 2**step for step in range(20))
BYTES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)
"""CoreDNS' classes for packets."""


class Histogram:
    """How many values were at most each bound, and all together."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def with_lengths(self, counted: Iterable[int]) -> "Histogram":
        """A new one with values that were counted by value besides: the first so often 0, the next so often 1."""
        found = Histogram(self.bounds)
        found.counts, found.total = list(self.counts), self.total
        for value, times in enumerate(counted):
            if times:
                found.observe(value, times)
        return found

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, values at most so large) as the text format has them."""
        bounds = [*(f"{bound:g}" if bound < 1e6 else str(bound) for bound in self.bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))
