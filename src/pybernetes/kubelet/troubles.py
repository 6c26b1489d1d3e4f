"""Why containers of a pod cannot be started, what its status says of it, and when to try again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .status import Waiting

RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
PULL_BACKOFF_AFTER_SECONDS = 1.0
POD = ""
"""In place of a container's name: the whole pod, whose sandbox could not be made."""


@dataclass(slots=True)
class Trouble:
    """One container's, or the pod's. Times are seconds since the epoch."""

    waiting: Waiting
    until: float
    since: float
    count: int = 1


class Troubles:
    """Those of one pod, by container name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._of: dict[str, Trouble] = {}

    def note(self, name: str, waiting: Waiting, seconds: float = 0.0) -> None:
        """It failed (again): to be tried after so many seconds, or ever later."""
        now, count = self._clock(), self.count(name) + 1
        wait = seconds or RETRY_SECONDS[min(count - 1, len(RETRY_SECONDS) - 1)]
        self._of[name] = Trouble(waiting, now + wait, now, count)

    def hold(self, name: str, waiting: Waiting) -> None:
        """Something else says when it is tried again."""
        self._of[name] = Trouble(waiting, 0.0, self._clock())

    def drop(self, name: str) -> None:
        self._of.pop(name, None)

    def retry(self) -> None:
        """What they refer to has changed: the pod, and containers whose configuration was wrong, are tried at once."""
        for name, trouble in self._of.items():
            if name == POD or trouble.waiting.reason == "CreateContainerConfigError":
                trouble.until = 0.0

    def give_up_pulling(self) -> list[str]:
        """The containers whose pull failed a while ago; they are held back from now on (ErrImagePull turns into
        ImagePullBackOff).
        """
        late = self._clock() - PULL_BACKOFF_AFTER_SECONDS
        found = [name for name, t in self._of.items() if t.waiting.reason == "ErrImagePull" and t.since < late]
        for name in found:
            self._of[name].waiting = Waiting("ImagePullBackOff", self._of[name].waiting.message)
        return found

    def say(self, name: str, message: str) -> None:
        """Another text for the status."""
        self._of[name].waiting = Waiting(self._of[name].waiting.reason, message)

    def count(self, name: str) -> int:
        """How often it has failed in a row."""
        return self._of[name].count if name in self._of else 0

    def until(self, name: str) -> float:
        return self._of[name].until if name in self._of else 0.0

    @property
    def waiting(self) -> Mapping[str, Waiting]:
        return {name: trouble.waiting for name, trouble in self._of.items() if name != POD}

    @property
    def blocked(self) -> Mapping[str, float]:
        return {name: trouble.until for name, trouble in self._of.items() if name != POD}

    @property
    def next(self) -> float:
        """When something is to be tried; 0.0 for nothing."""
        return min((t.until for t in self._of.values() if t.until > self._clock()), default=0.0)
