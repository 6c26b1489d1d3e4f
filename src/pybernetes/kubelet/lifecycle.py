"""The rules of a pod's life as tables: who is restarted, when, and what phase the pod is in."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from pybernetes.api.objects import Obj

from .runtime.protocol import ContainerState, Phase

FIRST_BACKOFF_SECONDS = 10.0
LAST_BACKOFF_SECONDS = 300.0
FORGET_BACKOFF_SECONDS = 600.0

RESTARTS: dict[tuple[str, bool], bool] = {
    ("Always", True): True,
    ("Always", False): True,
    ("OnFailure", True): False,
    ("OnFailure", False): True,
    ("Never", True): False,
    ("Never", False): False,
}
"""(restartPolicy, exited with 0) -> whether the container is started again."""


class Tally(NamedTuple):
    """How a pod's main containers stand."""

    waiting: int
    running: int
    succeeded: int
    failed: int


def phase_of(tally: Tally, *, initialized: bool, init_failed: bool, policy: str) -> str:
    """The pod's phase (k8s.io/kubernetes/pkg/kubelet getPhase)."""
    if init_failed:
        return "Failed"
    if not initialized or tally.waiting:
        return "Pending"
    if tally.running or policy == "Always":
        return "Running"
    if tally.failed:
        return "Failed" if policy == "Never" else "Running"
    return "Succeeded"


def containers_of(spec: Obj) -> list[Obj]:
    """All containers of a pod's spec: the init, the main and the ephemeral ones."""
    return [*(spec.get("initContainers") or ()), *spec["containers"], *(spec.get("ephemeralContainers") or ())]


def field_path(pod: Obj, name: str) -> str:
    """Where in the pod a container is, as events say it: spec.containers{web}."""
    kinds = ("initContainers", "ephemeralContainers")
    held = (kind for kind in kinds if any(one["name"] == name for one in pod["spec"].get(kind) or ()))
    return f"spec.{next(held, 'containers')}{{{name}}}"


def restarts(policy: str, state: ContainerState) -> bool:
    """Whether this exited container is started again."""
    return RESTARTS[policy, state.exit_code == 0]


def newest(states: Iterable[ContainerState]) -> dict[str, list[ContainerState]]:
    """The containers by name, the newest attempt first."""
    found: dict[str, list[ContainerState]] = {}
    for state in states:
        found.setdefault(state.name, []).append(state)
    for attempts in found.values():
        attempts.sort(key=lambda one: (one.attempt, one.created_at), reverse=True)
    return found


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait of one container: 10 s doubled at each restart, 5 min at most, forgotten after 10 quiet minutes."""

    seconds: float = 0.0
    at: float = 0.0
    """When it was last raised."""

    def until(self, finished_at: float) -> float:
        """When a container that finished then may be started again."""
        return finished_at + self.seconds

    def __str__(self) -> str:
        """The wait as Go prints it: 10s, 1m20s, 5m0s."""
        minutes, rest = divmod(int(self.seconds), 60)
        return f"{minutes}m{rest}s" if minutes else f"{rest}s"

    def raised(self, now: float) -> "Backoff":
        if not self.seconds or now - self.at > FORGET_BACKOFF_SECONDS:
            return Backoff(FIRST_BACKOFF_SECONDS, now)
        return replace(self, seconds=min(self.seconds * 2, LAST_BACKOFF_SECONDS), at=now)


def is_done(state: ContainerState | None) -> bool:
    return state is not None and state.phase is Phase.EXITED
