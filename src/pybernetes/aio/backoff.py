"""Waiting longer after each failure, up to a limit, and never all at the same moment."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Backoff:
    """`next()` gives the seconds to wait: `first`, then `factor` times more each time up to `limit`.

    `jitter` is the share of each wait that is left to chance (drawn from `rng`), so that clients that failed together
    do not come back together.
    """

    first: float = 0.1
    limit: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    rng: random.Random = field(default_factory=random.Random, repr=False)
    failures: int = 0

    def next(self) -> float:
        """Count a failure."""
        exponent = min(self.failures, 64)  # beyond that a float would overflow
        self.failures += 1
        seconds = min(self.limit, self.first * self.factor**exponent)
        return seconds * (1 - self.jitter * self.rng.random())

    def reset(self) -> None:
        """It worked: begin with `first` again."""
        self.failures = 0
