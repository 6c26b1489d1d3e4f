"""What to do next about one pod: a pure function of the pod, of what runs, and of the time.

    pod spec + Observed -> plan -> actions (the worker's) + why containers wait (the status's)

Nothing is remembered here, so it may be asked at any time, twice, or after a restart of the agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pybernetes.api import times
from pybernetes.api.objects import Obj, is_deleting, metadata

from .lifecycle import Backoff, is_done, newest, restarts
from .runtime.protocol import ContainerState, Phase

KEEP_EXITED = 1
"""How many ended attempts of a container are kept beside the newest one (for `kubectl logs --previous`)."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start an attempt of a container."""

    name: str
    attempt: int
    init: bool = False


@dataclass(frozen=True, slots=True)
class StopContainer:
    """End a container gracefully."""

    id: str
    name: str
    grace_seconds: float
    reason: str
    """Event message."""


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Forget an old attempt."""

    id: str


@dataclass(frozen=True, slots=True)
class MakeSandbox:
    """Network, volumes and the place containers live in."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything has ended: release what the pod holds; `delete` also from the API."""

    delete: bool


Action = StartContainer | StopContainer | RemoveContainer | MakeSandbox | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What there is of a pod. Times are seconds since the epoch."""

    containers: Sequence[ContainerState] = ()
    sandbox: bool = False
    sandbox_retry: float = 0.0
    """When to try to make the sandbox again, after a failure."""
    stopping: frozenset[str] = frozenset()
    """Ids of containers whose stop has begun."""
    started: frozenset[str] = frozenset()
    """Ids of running containers that have passed their startup probe (or have none)."""
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    """Ids of containers that must be restarted, and why."""
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)
    blocked: Mapping[str, float] = field(default_factory=dict)
    """Containers (by name) that could not be created, and when to try again."""
    released: bool = False
    """Network and volumes are let go of already."""
    orphan: bool = False
    """The pod is gone from the API (or its node lost it)."""
    refused: bool = False
    """The node does not take the pod."""


@dataclass(slots=True)
class Plan:
    """Actions in order; `again` is when to ask anew although nothing happened (0.0: never)."""

    actions: list[Action] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    """Why a container is not started, by name: CrashLoopBackOff, PodInitializing, ContainerCreating."""
    again: float = 0.0

    def wake(self, at: float) -> None:
        self.again = at if not self.again else min(self.again, at)


def plan(pod: Obj, observed: Observed, *, now: float) -> Plan:
    """The next step towards what the pod's spec says."""
    found = newest(observed.containers)
    result = Plan()
    if is_deleting(pod) or observed.orphan:
        _end(pod, observed, found, result)
        return result
    expired = _deadline(pod, now, result)
    if (
        expired
        or observed.refused
        or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        or _is_terminal(pod, found)
    ):
        _end(pod, observed, found, result, delete=False)
        return result
    if not observed.sandbox and observed.sandbox_retry > now:
        result.wake(observed.sandbox_retry)
        return result
    if not observed.sandbox:
        result.actions.append(MakeSandbox())
        return result
    _forget(found, result)
    if _initialize(pod, observed, found, result, now):
        for container in pod["spec"]["containers"]:
            _advance(pod, container, observed, found, result, now, policy=restart_policy(pod))
        for container in pod["spec"].get("ephemeralContainers") or ():
            _advance(pod, container, observed, found, result, now, policy="Never")
    return result


def restart_policy(pod: Obj) -> str:
    return str(pod["spec"].get("restartPolicy") or "Always")


def is_sidecar(container: Obj) -> bool:
    return container.get("restartPolicy") == "Always"


def grace_of(pod: Obj) -> float:
    """The grace that the deletion asked for, else the spec's."""
    asked = metadata(pod).get("deletionGracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds")
    return float(30 if asked is None else asked)


def _deadline(pod: Obj, now: float, result: Plan) -> bool:
    seconds, started = pod["spec"].get("activeDeadlineSeconds"), (pod.get("status") or {}).get("startTime")
    if seconds is None or not started:
        return False
    until = times.parse(started) + float(seconds)
    result.wake(until)
    return now >= until


def init_failed(pod: Obj, found: Mapping[str, Sequence[ContainerState]]) -> bool:
    """An init container ended for good without success."""
    if restart_policy(pod) != "Never":
        return False
    for container in pod["spec"].get("initContainers") or ():
        attempts = found.get(container["name"])
        if attempts and not is_sidecar(container) and is_done(attempts[0]) and attempts[0].exit_code != 0:
            return True
    return False


def _is_terminal(pod: Obj, found: Mapping[str, Sequence[ContainerState]]) -> bool:
    """All containers have ended and none will be started again."""
    if init_failed(pod, found):
        return True
    for container in pod["spec"]["containers"]:
        attempts = found.get(container["name"])
        if not attempts or not is_done(attempts[0]) or restarts(restart_policy(pod), attempts[0]):
            return False
    return True


def _end(
    pod: Obj,
    observed: Observed,
    found: Mapping[str, Sequence[ContainerState]],
    result: Plan,
    *,
    delete: bool = True,
) -> None:
    """Stop everything, sidecars last; then let go."""
    sidecars = {c["name"] for c in pod["spec"].get("initContainers") or () if is_sidecar(c)}
    running = [s for attempts in found.values() for s in attempts if s.phase is Phase.RUNNING]
    mains = [s for s in running if s.name not in sidecars]
    grace = 2.0 if observed.orphan and not is_deleting(pod) else grace_of(pod)
    for state in mains or running:
        if state.id not in observed.stopping:
            result.actions.append(StopContainer(state.id, state.name, grace, f"Stopping container {state.name}"))
    if not running and not observed.stopping and (delete or not observed.released):
        result.actions.append(Finish(delete=delete))


def _forget(found: Mapping[str, Sequence[ContainerState]], result: Plan) -> None:
    for attempts in found.values():
        for state in attempts[1 + KEEP_EXITED :]:
            if is_done(state):
                result.actions.append(RemoveContainer(state.id))


def _initialize(
    pod: Obj, observed: Observed, found: Mapping[str, Sequence[ContainerState]], result: Plan, now: float
) -> bool:
    """Run init containers in order; True once the main ones may run. Sidecars go on beside them."""
    policy = restart_policy(pod)
    for container in pod["spec"].get("initContainers") or ():
        attempts = found.get(container["name"], ())
        if is_sidecar(container):
            _advance(pod, container, observed, found, result, now, policy="Always", init=True)
            if attempts and attempts[0].id in observed.started:
                continue
            return _main_started(pod, found)
        if attempts and is_done(attempts[0]) and attempts[0].exit_code == 0:
            continue
        if _main_started(pod, found):
            continue  # the machine forgot an init container that had run
        again = "OnFailure" if policy == "Always" else policy
        _advance(pod, container, observed, found, result, now, policy=again, init=True)
        return False
    return True


def _main_started(pod: Obj, found: Mapping[str, Sequence[ContainerState]]) -> bool:
    return any(found.get(container["name"]) for container in pod["spec"]["containers"])


def _advance(
    pod: Obj,
    container: Obj,
    observed: Observed,
    found: Mapping[str, Sequence[ContainerState]],
    result: Plan,
    now: float,
    *,
    policy: str,
    init: bool = False,
) -> None:
    """One container: start it, start it again, wait, or end it because it is unhealthy."""
    name = container["name"]
    attempts = found.get(name)
    if (retry := observed.blocked.get(name, 0.0)) > now:
        result.wake(retry)
        return
    if not attempts:
        result.actions.append(StartContainer(name, 0, init))
        return
    state = attempts[0]
    if state.phase is Phase.RUNNING:
        if (why := observed.unhealthy.get(state.id)) and state.id not in observed.stopping:
            result.actions.append(StopContainer(state.id, name, _probe_grace(pod, container), why))
        return
    if state.phase is Phase.CREATED:
        result.actions += [RemoveContainer(state.id), StartContainer(name, state.attempt, init)]
        return
    if not restarts(policy, state):
        return
    until = observed.backoffs.get(name, Backoff()).until(state.finished_at)
    if until > now:
        result.waiting[name] = "CrashLoopBackOff"
        result.wake(until)
        return
    result.actions.append(StartContainer(name, state.attempt + 1, init))


def _probe_grace(pod: Obj, container: Obj) -> float:
    probe = container.get("livenessProbe") or container.get("startupProbe") or {}
    own = probe.get("terminationGracePeriodSeconds")
    return grace_of(pod) if own is None else float(own)
