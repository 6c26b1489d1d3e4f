"""ResourceQuota: status.used counted anew when something is deleted or ends, and from time to time.

The API server charges what is created (its admission); what goes is only seen here. A count reads the API itself, not a
cache that may be behind, and is written over the quota's revision: a charge in between makes it a Conflict and it comes
round again. Source: pkg/controller/resourcequota.
"""

from collections.abc import Iterable, Sequence

from pybernetes.api import quota as measure
from pybernetes.api.objects import Key, Obj, key_of, namespace_of, revision_of
from pybernetes.api.quota import Amounts
from pybernetes.api.resources import CUSTOM_RESOURCE_DEFINITIONS, PODS, RESOURCE_QUOTAS, RESOURCES, Resource
from pybernetes.client import Client, Delta, Informer
from pybernetes.control import Again, Controller
from pybernetes.control.pods import is_terminal

from .custom import custom_resources
from .garbage import projection_of
from .shared import Shared

SETTLE_SECONDS = 10.0
"""So long after the API server's last charge a quota is counted: charges for writes that failed are given back."""
RESYNC_SECONDS = 300.0
_PAGE = 500
COUNTABLE: Sequence[Resource] = tuple(
    row
    for row in RESOURCES
    if row.namespaced and row.stored_as is None and {"create", "delete", "list"} <= {*row.verbs}
)


def rows_of(quota: Obj, rows: Iterable[Resource]) -> list[Resource]:
    """The resources whose objects a quota counts; pure."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    return [row for row in rows if measure.names_of(row, hard)]


class ResourceQuotaController:
    """Watches the deletions of just those resources that some quota counts."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.now, self.shared = shared.client, shared.now, shared
        self.quotas = shared.informers.of(RESOURCE_QUOTAS)
        self.custom = shared.informers.of(CUSTOM_RESOURCE_DEFINITIONS)
        self.watched: dict[Resource, Informer] = {}
        self.controller = Controller(
            "resourcequota", self.reconcile, workers=shared.config.workers, informers=(self.quotas, self.custom)
        )
        self.quotas.subscribe(self._changed)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, delta: Delta) -> None:
        if delta.now is None:
            return
        old, new = delta.was or {}, delta.now
        if old.get("spec") != new.get("spec"):
            self.controller.queue.add(delta.key)
        elif old.get("status") != new.get("status"):
            self.controller.queue.add(delta.key, after=SETTLE_SECONDS)

    def _gone(self, delta: Delta) -> None:
        """What ends gives back what it held."""
        was, now = delta.was, delta.now
        if was is None or (now is not None and not _ended(was, now)):
            return
        for quota in self.quotas.cache.select(namespace_of(was)):
            self.controller.queue.add(key_of(quota))

    async def reconcile(self, key: Key) -> Again | None:
        if self.quotas.cache.get(key) is None:
            return None
        quota = await self.client.get(RESOURCE_QUOTAS, key)
        rows = rows_of(quota, (*COUNTABLE, *self._custom()))
        self._watch(rows)
        hard = (quota.get("spec") or {}).get("hard") or {}
        used = await count(self.client, quota, rows, now=self.now())
        status = {"hard": hard, "used": {name: str(amount) for name, amount in used.items()}}
        if status != quota.get("status"):
            meta = quota["metadata"] | {"resourceVersion": revision_of(quota)}
            await self.client.update(
                RESOURCE_QUOTAS, quota | {"metadata": meta, "status": status}, subresource="status"
            )
        return Again(RESYNC_SECONDS)

    def _custom(self) -> list[Resource]:
        rows = (row for definition in self.custom.cache.select() for row in custom_resources(definition))
        return [row for row in rows if row.namespaced and row.stored_as is None]

    def _watch(self, rows: Iterable[Resource]) -> None:
        """Hear of their deletions, on the garbage collector's informers."""
        for row in rows:
            if row not in self.watched:
                self.watched[row] = self.shared.informers.of(row, slim=projection_of(row))
                self.watched[row].subscribe(self._gone)


def _ended(was: Obj, now: Obj) -> bool:
    return now.get("kind") == PODS.kind and is_terminal(now) and not is_terminal(was)


async def count(client: Client, quota: Obj, rows: Iterable[Resource], *, now: float) -> Amounts:
    """What the namespace uses of all that the quota names; of what nobody serves nothing is said."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    used: Amounts = {}
    for row in rows:
        names = measure.names_of(row, hard)
        used |= {name: measure.NOTHING for name in names if name not in used}
        for obj in await _all(client, row, namespace_of(quota)):
            if measure.in_scope(quota, row, obj):
                found = measure.usage(row, obj, now=now)
                used = measure.plus(used, {name: found[name] for name in names if name in found})
    return used


async def _all(client: Client, row: Resource, namespace: str) -> list[Obj]:
    page = await client.list(row, namespace=namespace, limit=_PAGE)
    found = page.items
    while page.continues:
        page = await client.list(row, namespace=namespace, limit=_PAGE, continues=page.continues)
        found += page.items
    return found
