"""PodDisruptionBudget: how many pods may be disrupted now (kubernetes/pkg/controller/disruption).

The eviction API takes from status.disruptionsAllowed and notes the pod in status.disruptedPods; here both are brought
back to what the pods say.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pybernetes.api import resources, selectors, times
from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, controller_of, is_deleting, key_of, metadata, name_of, namespace_of
from pybernetes.api.resources import POD_DISRUPTION_BUDGETS, Resource
from pybernetes.control import Again, Controller, enqueue
from pybernetes.control.pods import is_ready
from pybernetes.control.status import with_condition

from .custom import custom_resources
from .shared import Shared

COMPONENT = "controllermanager"
DELETION_SECONDS = 120.0
"""An evicted pod that is still there after this time was not deleted after all."""


class Uncountable(Exception):
    """How many pods there should be cannot be said; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Pods that there should be, and how many of them healthy."""

    pods: int
    healthy: int


def expected(budget: Obj, *, scale: int, matching: int) -> Expected:
    """`scale` is what the pods' controllers want in all, `matching` how many pods there are; pure."""
    spec = budget["spec"]
    if (most := spec.get("maxUnavailable")) is not None:
        return Expected(pods=scale, healthy=max(0, scale - _scaled(most, scale)))
    least = spec.get("minAvailable")
    if isinstance(least, str):
        return Expected(pods=scale, healthy=_scaled(least, scale))
    return Expected(pods=matching, healthy=1 if least is None else int(least))


def needs_scale(budget: Obj) -> bool:
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def _scaled(amount: int | str, whole: int) -> int:
    """A count, or a percentage rounded up."""
    if isinstance(amount, str) and amount.endswith("%"):
        return math.ceil(int(amount[:-1]) * whole / 100)
    return int(amount)


def disrupted(budget: Obj, pods: Sequence[Obj], *, now: float) -> tuple[dict[str, str], list[str]]:
    """The evictions still under way, and the pods that were evicted long ago and are there yet; pure."""
    noted: Mapping[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    present = {name_of(pod) for pod in pods if not is_deleting(pod)}
    held, stayed = {}, []
    for name, since in noted.items():
        if name not in present:
            continue
        if now >= times.parse(since) + DELETION_SECONDS:
            stayed.append(name)
        else:
            held[name] = since
    return held, stayed


def status_of(budget: Obj, pods: Sequence[Obj], wanted: Expected, *, evicted: Mapping[str, str], now: float) -> Obj:
    """The whole status; pure."""
    healthy = sum(1 for pod in pods if is_ready(pod) and not is_deleting(pod) and name_of(pod) not in evicted)
    allowed = max(0, healthy - wanted.healthy) if wanted.pods > 0 else 0
    reason, truth = ("SufficientPods", "True") if allowed > 0 else ("InsufficientPods", "False")
    return _whole(
        budget,
        {
            "currentHealthy": healthy,
            "desiredHealthy": wanted.healthy,
            "expectedPods": wanted.pods,
            "disruptionsAllowed": allowed,
        }
        | ({"disruptedPods": dict(evicted)} if evicted else {}),
        condition=(truth, reason, ""),
        now=now,
    )


def _whole(budget: Obj, counts: Obj, *, condition: tuple[str, str, str], now: float) -> Obj:
    generation = metadata(budget).get("generation", 0)
    truth, reason, message = condition
    conditions = with_condition(
        (budget.get("status") or {}).get("conditions") or (),
        "DisruptionAllowed",
        truth,
        reason=reason,
        message=message,
        now=now,
    )
    conditions = [
        {**one, "observedGeneration": generation} if one["type"] == "DisruptionAllowed" else one for one in conditions
    ]
    return counts | {"observedGeneration": generation, "conditions": conditions}


def failed(budget: Obj, why: str, *, now: float) -> Obj:
    """The status of a budget that cannot be counted: nothing may be disrupted."""
    kept = {key: value for key, value in (budget.get("status") or {}).items() if key != "conditions"}
    counts = dict.fromkeys(("currentHealthy", "desiredHealthy", "expectedPods"), 0) | kept | {"disruptionsAllowed": 0}
    return _whole(budget, counts, condition=("False", "SyncFailed", why), now=now)


class DisruptionController:
    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.budgets = shared.informers.of(POD_DISRUPTION_BUDGETS)
        self.pods = shared.pods()
        self.custom = shared.informers.of(resources.CUSTOM_RESOURCE_DEFINITIONS)
        self.events = shared.recorder(COMPONENT)
        self.controller = Controller(
            "disruption", self.reconcile, workers=1, informers=(self.budgets, self.pods, self.custom)
        )
        self.budgets.subscribe(enqueue(self.controller.queue))
        self.pods.subscribe(lambda delta: self._pod_changed(delta.was, delta.now))

    async def run(self) -> None:
        await self.controller.run()

    def _pod_changed(self, was: Obj | None, now: Obj | None) -> None:
        for pod in (was, now):
            for budget in self.budgets.cache.select(namespace_of(pod)) if pod is not None else ():
                if selectors.of(budget["spec"].get("selector")).matches_object(pod or {}):
                    self.controller.queue.add(key_of(budget))

    async def reconcile(self, key: Key) -> Again | None:
        budget = self.budgets.cache.get(key)
        if budget is None:
            return None
        now = self.now()
        selector = selectors.of(budget["spec"].get("selector"))
        pods = [pod for pod in self.pods.cache.select(key.namespace) if selector.matches_object(pod)]
        if not pods:
            self.events.event(budget, "NoPods", "No matching pods found")
        try:
            scale = await self._scale(pods) if needs_scale(budget) else 0
        except Uncountable as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.events.event(budget, "CalculateExpectedPodCountFailed", text, type="Warning")
            await self._write(budget, failed(budget, str(error), now=now))
            return None
        evicted, stayed = disrupted(budget, pods, now=now)
        for pod in pods:
            if name_of(pod) in stayed:
                text = f"Pod was expected by PDB {key} to be deleted but it wasn't"
                self.events.event(pod, "NotDeleted", text, type="Warning")
        wanted = expected(budget, scale=scale, matching=len(pods))
        await self._write(budget, status_of(budget, pods, wanted, evicted=evicted, now=now))
        ends = [times.parse(since) + DELETION_SECONDS - now for since in evicted.values()]
        return Again(min(ends) + 0.1) if ends else None

    async def _write(self, budget: Obj, status: Obj) -> None:
        """Over the revision that was read: an eviction in between must not be forgotten."""
        if status != budget.get("status"):
            await self.client.update(POD_DISRUPTION_BUDGETS, budget | {"status": status}, subresource="status")

    async def _scale(self, pods: Sequence[Obj]) -> int:
        """What the controllers of the pods want, each once. Raises Uncountable."""
        owners: dict[str, tuple[str, Obj]] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is not None:
                owners[str(owner.get("uid"))] = (namespace_of(pod), owner)
        wanted: dict[str, int] = {}
        for namespace, owner in owners.values():
            uid, replicas = await self._wanted_by(namespace, owner)
            wanted[uid] = replicas
        return sum(wanted.values())

    async def _wanted_by(self, namespace: str, owner: Obj) -> tuple[str, int]:
        """A controller's uid and replicas; of a ReplicaSet's Deployment, if it has one."""
        row = self._row(owner)
        key = Key(namespace, str(owner.get("name")))
        if row == resources.REPLICA_SETS:
            found = await self._read(row, key)
            if (parent := controller_of(found)) is not None and parent.get("kind") == "Deployment":
                return await self._wanted_by(namespace, parent)
        scale = await self._read(row, key, subresource="scale")
        return str(metadata(scale).get("uid")), int((scale.get("spec") or {}).get("replicas") or 0)

    def _row(self, owner: Obj) -> Resource:
        version, kind = str(owner.get("apiVersion")), str(owner.get("kind"))
        for row in resources.RESOURCES:
            if (row.api_version, row.kind) == (version, kind) and row.subresource("scale") is not None:
                return row
        for definition in self.custom.cache.select():
            for row in custom_resources(definition):
                if (row.group, row.kind) == (version.rpartition("/")[0], kind):
                    return row  # whether it has a scale is the API's to say
        group = version.rpartition("/")[0]
        raise Uncountable(f"{plural_of(kind)}.{group}".rstrip(".") + " does not implement the scale subresource")

    async def _read(self, row: Resource, key: Key, *, subresource: str = "") -> Obj:
        try:
            return await self.client.get(row, key, subresource=subresource)
        except NotFound as error:
            raise Uncountable(error.message) from error
        except ApiError as error:
            raise Uncountable(f"found no controllers for pod: {error.message}") from error


def plural_of(kind: str) -> str:
    """The plural of a kind as the API's rows have it."""
    return next((row.plural for row in resources.RESOURCES if row.kind == kind), f"{kind.lower()}s")
