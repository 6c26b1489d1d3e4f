"""The status of a pod as Kubernetes prints it: a pure function of the pod, of what runs, and of why something waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pybernetes.api import times
from pybernetes.api.objects import Obj, condition, condition_is, is_deleting, metadata

from .lifecycle import Tally, is_done, newest, phase_of, restarts
from .plan import init_failed, is_sidecar, restart_policy
from .runtime.protocol import ContainerState, Phase

SCHEME = "pybernetes"
"""containerID is pybernetes://<id>."""


CREATING = "ContainerCreating"


class Waiting(NamedTuple):
    """Why a container does not run."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the status is made from, besides the pod. Times are seconds since the epoch."""

    containers: Sequence[ContainerState] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    """Ids of containers that have passed their startup probe (or have none)."""
    ready: frozenset[str] = frozenset()
    """Ids of containers whose readiness probe says so (or that have none)."""
    sandbox: bool = False
    addresses: Sequence[str] = ()
    node_addresses: Sequence[str] = ()
    messages: Mapping[str, str] = field(default_factory=dict)
    """Termination messages by container id."""
    reason: str = ""
    """Of the pod: DeadlineExceeded, Evicted; such a pod has failed."""
    message: str = ""
    final: bool = False
    """Everything has ended and nothing will be started again."""


def difference(old: Obj, new: Obj) -> Obj:
    """The merge patch from one status to another, by field; {} when both say the same (0, "" and [] are absent)."""
    fields = (field for field in sorted(old.keys() | new.keys()) if old.get(field) != new.get(field))
    return {field: new.get(field) for field in fields if old.get(field) or new.get(field)}


def pod_reason(pod: Obj, *, now: float) -> dict[str, str]:
    """`reason` and `message` of a pod that has failed as a whole or is past its deadline; {} for any other."""
    old = pod.get("status") or {}
    if old.get("phase") == "Failed" and old.get("reason"):
        return {"reason": old["reason"], "message": old.get("message", "")}
    seconds, started = pod["spec"].get("activeDeadlineSeconds"), old.get("startTime")
    if seconds is not None and started and now >= times.parse(started) + float(seconds):
        message = "Pod was active on the node longer than the specified deadline"
        return {"reason": "DeadlineExceeded", "message": message}
    return {}


def pod_status(pod: Obj, facts: Facts, *, now: float) -> Obj:
    """The whole status; fields that others own (conditions of readiness gates, qosClass) are kept."""
    found = newest(facts.containers)
    spec, old = pod["spec"], pod.get("status") or {}
    init = spec.get("initContainers") or ()
    undone = [container["name"] for container in init if not _init_done(container, found, facts)]
    incomplete = [] if _any(spec["containers"], found) else undone
    initialized = not incomplete
    failed = init_failed(pod, found)
    phase = "Failed" if facts.reason else _phase(pod, found, initialized, failed, final=facts.final)
    if old.get("phase") in ("Succeeded", "Failed"):
        phase = old["phase"]  # a pod that has ended stays so
    main = [_container(pod, container, found, facts, now) for container in spec["containers"]]
    sidecars = [_container(pod, container, found, facts, now, init=True) for container in init]
    ephemeral = [
        _container(pod, container, found, facts, now) | {"ready": False}
        for container in spec.get("ephemeralContainers") or ()
    ]
    restartable = [entry for entry, container in zip(sidecars, init, strict=True) if is_sidecar(container)]
    ended = phase in ("Succeeded", "Failed")
    status: Obj = {
        "phase": phase,
        "conditions": _conditions(pod, facts, [*main, *restartable], incomplete, phase, now),
        "hostIP": next(iter(facts.node_addresses), ""),
        "hostIPs": [{"ip": address} for address in facts.node_addresses],
        "startTime": old.get("startTime") or times.stamp(now),
        "containerStatuses": main,
    }
    addresses = [{"ip": address} for address in facts.addresses]
    if not addresses and (ended or is_deleting(pod)):
        addresses = old.get("podIPs") or []
    if addresses:
        status |= {"podIP": addresses[0]["ip"], "podIPs": addresses}
    if sidecars:
        status["initContainerStatuses"] = sidecars
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    if facts.reason:
        status |= {"reason": facts.reason, "message": facts.message}
    if generation := metadata(pod).get("generation"):
        status["observedGeneration"] = generation
    return {name: value for name, value in old.items() if name in ("qosClass", "resize", "nominatedNodeName")} | status


def _any(containers: Sequence[Obj], found: Mapping[str, Sequence[ContainerState]]) -> bool:
    return any(found.get(container["name"]) for container in containers)


def _init_done(container: Obj, found: Mapping[str, Sequence[ContainerState]], facts: Facts) -> bool:
    attempts = found.get(container["name"])
    if not attempts:
        return False
    if is_sidecar(container):
        return attempts[0].id in facts.started
    return is_done(attempts[0]) and attempts[0].exit_code == 0


def _phase(
    pod: Obj, found: Mapping[str, Sequence[ContainerState]], initialized: bool, failed: bool, *, final: bool
) -> str:
    counts = {"waiting": 0, "running": 0, "succeeded": 0, "failed": 0}
    policy = restart_policy(pod)
    for container in pod["spec"]["containers"]:
        attempts = found.get(container["name"])
        if not attempts or attempts[0].phase is Phase.CREATED:
            counts["waiting"] += 1
        elif attempts[0].phase is Phase.RUNNING:
            counts["running"] += 1
        elif restarts(policy, attempts[0]) and not final:
            counts["running"] += 1  # it will be, again
        else:
            counts["succeeded" if attempts[0].exit_code == 0 else "failed"] += 1
    if final:
        return "Failed" if counts["failed"] or counts["waiting"] or failed else "Succeeded"
    return phase_of(Tally(**counts), initialized=initialized, init_failed=failed, policy=policy)


def _container(
    pod: Obj,
    container: Obj,
    found: Mapping[str, Sequence[ContainerState]],
    facts: Facts,
    now: float,
    *,
    init: bool = False,
) -> Obj:
    name = container["name"]
    attempts = found.get(name, ())
    state = attempts[0] if attempts else None
    status: Obj = {
        "name": name,
        "image": container.get("image", ""),
        "imageID": state.image if state else "",
        "restartCount": state.attempt if state else 0,
        "ready": False,
        "started": False,
        "state": {},
        "lastState": {},
    }
    waiting = facts.waiting.get(name)
    if state is None or state.phase is Phase.CREATED:
        nothing_yet = "PodInitializing" if pod["spec"].get("initContainers") else CREATING
        why = waiting if waiting and waiting.reason != CREATING else Waiting(nothing_yet)
        status["state"] = {"waiting": _waiting(why)}
        return status
    status["containerID"] = f"{SCHEME}://{state.id}"
    previous = attempts[1] if len(attempts) > 1 else None
    if state.phase is Phase.RUNNING:
        status["state"] = {"running": {"startedAt": times.stamp(state.started_at)}}
        status["started"] = state.id in facts.started
        simple = init and not is_sidecar(container)
        status["ready"] = status["started"] and state.id in facts.ready and not simple
    elif waiting:
        status["state"] = {"waiting": _waiting(waiting)}
        previous = state
    else:
        status["state"] = {"terminated": _terminated(state, facts)}
        status["ready"] = init and not is_sidecar(container) and state.exit_code == 0
    if previous is not None and is_done(previous):
        status["lastState"] = {"terminated": _terminated(previous, facts)}
    return status


def _waiting(why: Waiting) -> Obj:
    return {"reason": why.reason} | ({"message": why.message} if why.message else {})


def _terminated(state: ContainerState, facts: Facts) -> Obj:
    result: Obj = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": times.stamp(state.started_at),  # 1970 for one that never started, as runtimes say it
        "finishedAt": times.stamp(state.finished_at) if state.finished_at else None,
        "containerID": f"{SCHEME}://{state.id}",
    }
    if state.signal:
        result["signal"] = state.signal
    if message := facts.messages.get(state.id) or state.message:
        result["message"] = message
    return {name: value for name, value in result.items() if value is not None}


# Conditions


def _conditions(
    pod: Obj, facts: Facts, statuses: Sequence[Obj], incomplete: Sequence[str], phase: str, now: float
) -> list[Obj]:
    """`statuses` are of containers that make the pod ready, `incomplete` names of init containers not done yet."""
    ended = phase in ("Succeeded", "Failed")
    unready = sorted(entry["name"] for entry in statuses if not entry["ready"])
    completed = phase == "Succeeded"
    containers = _verdict(
        not unready and not ended, "ContainersNotReady", f"containers with unready status: {_names(unready)}"
    )
    if ended:
        reason = "PodCompleted" if completed else "PodFailed"
        containers = ("False", reason, "")
    ready = containers
    if containers[0] == "True":
        ready = _gates(pod)
    init = _verdict(
        not incomplete or completed,
        "ContainersNotInitialized",
        f"containers with incomplete status: {_names(incomplete)}",
    )
    if completed:
        init = ("True", "PodCompleted", "")
    wanted = {
        "PodReadyToStartContainers": ("True" if facts.sandbox else "False", "", ""),
        "Initialized": init,
        "Ready": ready,
        "ContainersReady": containers,
        "PodScheduled": ("True", "", ""),
    }
    ours = [_condition(pod, kind, *values, now=now) for kind, values in wanted.items()]
    others = (pod.get("status") or {}).get("conditions") or ()
    return [*ours, *(entry for entry in others if entry.get("type") not in wanted)]


def _verdict(true: bool, reason: str, message: str) -> tuple[str, str, str]:
    return ("True", "", "") if true else ("False", reason, message)


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def _gates(pod: Obj) -> tuple[str, str, str]:
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    missing = [gate for gate in gates if not condition_is(pod, gate)]
    if not missing:
        return ("True", "", "")
    texts = [
        f'corresponding condition of pod readiness gate "{gate}" '
        + ("does not exist." if condition(pod, gate) is None else 'is not "True".')
        for gate in missing
    ]
    message = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    return ("False", "ReadinessGatesNotReady", message)


def _condition(pod: Obj, kind: str, status: str, reason: str, message: str, *, now: float) -> Obj:
    """One condition; its lastTransitionTime moves only with its status."""
    old = condition(pod, kind)
    same = old is not None and old.get("status") == status and old.get("lastTransitionTime")
    result: Obj = {
        "type": kind,
        "status": status,
        "lastTransitionTime": old["lastTransitionTime"] if same and old else times.stamp(now),
    }
    if generation := metadata(pod).get("generation"):
        result["observedGeneration"] = generation
    if reason:
        result["reason"] = reason
    if message:
        result["message"] = message
    return result
