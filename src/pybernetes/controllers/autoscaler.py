"""HorizontalPodAutoscaler: the target kept between its bounds, and said plainly that there is nothing to measure with.

No metrics API is served here (it is an aggregated one, of metrics-server), so no metric can be read: ScalingActive is
False with the reason that Kubernetes gives, and only minReplicas and maxReplicas are enforced.
Source: pkg/controller/podautoscaler.
"""

from dataclasses import dataclass
from typing import Any

from pybernetes.api import times
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, metadata
from pybernetes.api.resources import CUSTOM_RESOURCE_DEFINITIONS, HORIZONTAL_POD_AUTOSCALERS, RESOURCES, Resource
from pybernetes.control import Again, Controller, enqueue, write_status
from pybernetes.control.status import with_condition

from .custom import custom_resources
from .shared import Shared

COMPONENT = "horizontal-pod-autoscaler"
SYNC_SECONDS = 15.0
_MISSING = "the server could not find the requested resource (get {resource})"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Replicas that there should be; `reason` says why they change, `trouble` why they cannot be computed."""

    replicas: int
    reason: str = ""
    trouble: tuple[str, str] | None = None
    """(reason of the condition, text of the error)."""
    disabled: bool = False


def wanted(scaler: Obj, current: int) -> Wanted:
    """What the bounds say; pure."""
    spec = scaler["spec"]
    low, high = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
    if current == 0 and low != 0:
        return Wanted(0, disabled=True)
    if current > high:
        return Wanted(high, "Current number of replicas above Spec.MaxReplicas")
    if current < low:
        return Wanted(low, "Current number of replicas below Spec.MinReplicas")
    return Wanted(current, trouble=unmeasured(spec.get("metrics") or []))


def unmeasured(metrics: list[Obj]) -> tuple[str, str] | None:
    """Why the first metric cannot be read; pure."""
    if not metrics:
        return None
    metric = metrics[0]
    kind = str(metric.get("type"))
    source: Obj = metric.get(kind[:1].lower() + kind[1:]) or {}
    return f"FailedGet{kind}Metric", _TEXTS[kind](source)


def _of_resource(source: Obj) -> str:
    name = source.get("name")
    what = "utilization" if (source.get("target") or {}).get("type") == "Utilization" else "usage"
    missing = _MISSING.format(resource="pods.metrics.k8s.io")
    return (
        f"failed to get {name} {what}: unable to get metrics for resource {name}: "
        f"unable to fetch metrics from resource metrics API: {missing}"
    )


def _of_custom(what: str, api: str, group: str) -> Any:
    def text(source: Obj) -> str:
        name = (source.get("metric") or {}).get("name")
        return (
            f"failed to get {what}: unable to get metric {name}: unable to fetch metrics from {api} metrics API: "
            f"no {api} metrics API ({group}) registered"
        )

    return text


_TEXTS = {
    "Resource": _of_resource,
    "ContainerResource": _of_resource,
    "Pods": _of_custom("pods metric value", "custom", "custom.metrics.k8s.io"),
    "Object": _of_custom("object metric value", "custom", "custom.metrics.k8s.io"),
    "External": _of_custom("external metric", "external", "external.metrics.k8s.io"),
}


class AutoscalerController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.scalers = shared.informers.of(HORIZONTAL_POD_AUTOSCALERS)
        self.custom = shared.informers.of(CUSTOM_RESOURCE_DEFINITIONS)
        self.events = shared.recorder(COMPONENT)
        self.controller = Controller(
            "horizontalpodautoscaler", self.reconcile, workers=1, informers=(self.scalers, self.custom)
        )
        self.scalers.subscribe(enqueue(self.controller.queue))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> Again | None:
        scaler = self.scalers.cache.get(key)
        if scaler is None:
            return None
        told = _Told(scaler, self.now())
        try:
            row, scale = await self._scale(key, scaler["spec"]["scaleTargetRef"])
        except (ApiError, LookupError) as error:
            self.events.event(scaler, "FailedGetScale", _text(error), type="Warning")
            text = f"the HPA controller was unable to get the target's current scale: {_text(error)}"
            told.say("AbleToScale", "False", "FailedGetScale", text)
            await write_status(self.client, HORIZONTAL_POD_AUTOSCALERS, scaler, told.status)
            return Again(SYNC_SECONDS)
        text = "the HPA controller was able to get the target's current scale"
        told.say("AbleToScale", "True", "SucceededGetScale", text)
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        found = wanted(scaler, current)
        told.status |= {"currentReplicas": int((scale.get("status") or {}).get("replicas") or 0)}
        if found.disabled:
            text = "scaling is disabled since the replica count of the target is zero"
            told.say("ScalingActive", "False", "ScalingDisabled", text)
        if found.trouble is not None:
            self._complain(scaler, told, found.trouble)
        else:
            told.status["desiredReplicas"] = found.replicas
        if found.reason:
            await self._rescale(scaler, told, row, scale, found)
        await write_status(self.client, HORIZONTAL_POD_AUTOSCALERS, scaler, told.status)
        return Again(SYNC_SECONDS)

    def _complain(self, scaler: Obj, told: "_Told", trouble: tuple[str, str]) -> None:
        reason, text = trouble
        count = len(scaler["spec"].get("metrics") or ())
        self.events.event(scaler, reason, text, type="Warning")
        whole = f"invalid metrics ({count} invalid out of {count}), first error is: {text}"
        self.events.event(scaler, "FailedComputeMetricsReplicas", whole, type="Warning")
        told.say("ScalingActive", "False", reason, f"the HPA was unable to compute the replica count: {text}")

    async def _rescale(self, scaler: Obj, told: "_Told", row: Resource, scale: Obj, found: Wanted) -> None:
        try:
            await self.client.update(row, scale | {"spec": {"replicas": found.replicas}}, subresource="scale")
        except ApiError as error:
            text = f"New size: {found.replicas}; reason: {found.reason}; error: {error.message}"
            self.events.event(scaler, "FailedRescale", text, type="Warning")
            text = f"the HPA controller was unable to update the target scale: {error.message}"
            told.say("AbleToScale", "False", "FailedUpdateScale", text)
            return
        self.events.event(scaler, "SuccessfulRescale", f"New size: {found.replicas}; reason: {found.reason}")
        text = f"the HPA controller was able to update the target scale to {found.replicas}"
        told.say("AbleToScale", "True", "SucceededRescale", text)
        told.status["lastScaleTime"] = times.stamp(told.now)

    async def _scale(self, key: Key, target: Obj) -> tuple[Resource, Obj]:
        """The target's row and its Scale. Raises ApiError, LookupError."""
        row = self._row(str(target.get("apiVersion") or "v1"), str(target.get("kind")))
        return row, await self.client.get(row, Key(key.namespace, str(target.get("name"))), subresource="scale")

    def _row(self, version: str, kind: str) -> Resource:
        group = version.rpartition("/")[0]
        custom = [row for definition in self.custom.cache.select() for row in custom_resources(definition)]
        for row in (*RESOURCES, *custom):
            if (row.group, row.kind) == (group, kind):
                return row
        raise LookupError(f'no matches for kind "{kind}" in group "{group}"')


def _text(error: Exception) -> str:
    return error.message if isinstance(error, ApiError) else str(error)


class _Told:
    """The status as it grows."""

    def __init__(self, scaler: Obj, now: float) -> None:
        self.now = now
        self.status: Obj = dict(scaler.get("status") or {})
        self.status["desiredReplicas"] = self.status.get("desiredReplicas") or 0
        if generation := metadata(scaler).get("generation"):
            self.status["observedGeneration"] = generation

    def say(self, kind: str, truth: str, reason: str, message: str) -> None:
        before = self.status.get("conditions") or ()
        self.status["conditions"] = with_condition(before, kind, truth, reason=reason, message=message, now=self.now)
