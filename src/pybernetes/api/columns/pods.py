"""The row of a pod: what `kubectl get pods` says of its containers. Source: printPod of kube-apiserver's printers."""

from typing import Any

from ..objects import Obj, is_deleting
from .cells import NONE, age, condition_true, count, name, seconds, since, spec, status
from .column import columns

COLUMNS = columns(
    *("Name", "Ready", "Status", "Restarts", "Age"),
    *("IP*", "Node*", "Nominated Node*", "Readiness Gates*"),
)

_DONE = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def cells(pod: Obj, now: float) -> list[Any]:
    summary = _Summary(pod)
    text = str(summary.restarts)
    if summary.restarts and summary.restarted_at:
        text += f" ({since(summary.restarted_at, now)} ago)"
    ips = [one.get("ip", "") for one in status(pod).get("podIPs") or ()]
    return [
        name(pod),
        f"{summary.ready}/{summary.total}",
        summary.reason,
        text,
        age(pod, now),
        (ips[0] if ips else "") or NONE,
        spec(pod).get("nodeName") or NONE,
        status(pod).get("nominatedNodeName") or NONE,
        _gates(pod),
    ]


def conditions(pod: Obj) -> list[Obj]:
    """The conditions of the row: kubectl's --watch-only and printers grey out completed pods."""
    phase = status(pod).get("phase", "")
    if phase not in _DONE:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _DONE[phase]}]


def _gates(pod: Obj) -> str:
    gates = spec(pod).get("readinessGates") or []
    passed = sum(condition_true(pod, gate.get("conditionType", "")) for gate in gates)
    return f"{passed}/{len(gates)}" if gates else NONE


class _Summary:
    """One pass over the container statuses."""

    def __init__(self, pod: Obj) -> None:
        self.pod, found = pod, status(pod)
        sidecars = [one for one in spec(pod).get("initContainers") or () if one.get("restartPolicy") == "Always"]
        self.sidecars = {one.get("name") for one in sidecars}
        self.total = len(spec(pod).get("containers") or ()) + len(sidecars)
        self.ready = self.restarts = 0
        self.restarted_at = ""
        self.reason = found.get("reason") or found.get("phase") or ""
        for condition in found.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
                self.reason = "SchedulingGated"
        if not self._initializing() or condition_true(pod, "Initialized"):
            self._running()
        self._deletion()

    def _restarted(self, container: Obj) -> None:
        self.restarts += count(container, "restartCount")
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        if ended and (not self.restarted_at or seconds(self.restarted_at) < seconds(ended)):
            self.restarted_at = ended

    def _initializing(self) -> bool:
        """Whether an init container is still to succeed; the reason says how far they are."""
        for at, container in enumerate(status(self.pod).get("initContainerStatuses") or ()):
            self._restarted(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if terminated is not None and not count(terminated, "exitCode"):
                continue
            if container.get("name") in self.sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if terminated is not None:
                self.reason = f"Init:{_ended(terminated)}"
            elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{at}/{len(spec(self.pod).get('initContainers') or ())}"
            return True
        return False

    def _running(self) -> None:
        """The containers proper: restarts of finished init containers no longer count, those of sidecars do."""
        self.restarts, self.restarted_at = 0, ""
        for container in status(self.pod).get("initContainerStatuses") or ():
            if container.get("name") in self.sidecars:
                self._restarted(container)
        running, failed = False, ""
        for container in reversed(status(self.pod).get("containerStatuses") or []):
            self._restarted(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if waiting.get("reason"):
                self.reason = waiting["reason"]
            elif terminated is not None:
                self.reason = _ended(terminated)
                failed = self.reason if count(terminated, "exitCode") else failed
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed":
            self._completed(running=running, failed=failed)

    def _completed(self, *, running: bool, failed: str) -> None:
        """What the first container says is not yet what the pod comes down to."""
        if running and condition_true(self.pod, "Ready"):
            self.reason = "Running"
        elif failed:
            self.reason = failed
        elif running:
            self.reason = "NotReady"

    def _deletion(self) -> None:
        if not is_deleting(self.pod):
            return
        if status(self.pod).get("reason") == "NodeLost":
            self.reason = "Unknown"
        elif status(self.pod).get("phase") not in _DONE:
            self.reason = "Terminating"


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if count(terminated, "signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{count(terminated, 'exitCode')}"
