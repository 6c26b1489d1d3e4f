"""Aggregated ClusterRoles show the rules they stand for (clusterrole_aggregation_controller.go).

Authorization does not wait for it: it works the union out itself. This is what people and tools read.
"""

from collections.abc import Iterable

from pybernetes.api import selectors
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, labels_of, name_of
from pybernetes.api.resources import CLUSTER_ROLES
from pybernetes.client import Delta
from pybernetes.control import Again, Controller

from .shared import Shared


class AggregationController:
    """Keys are names of ClusterRoles with an aggregationRule."""

    def __init__(self, shared: Shared) -> None:
        self.client = shared.client
        self.roles = shared.informers.of(CLUSTER_ROLES)
        self.controller = Controller("ClusterRoleAggregator", self.reconcile, workers=1, informers=(self.roles,))
        self.roles.subscribe(self._changed)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, delta: Delta) -> None:
        """Any role may be, or have been, part of any aggregated one."""
        for role in self.roles.cache.select():
            if role.get("aggregationRule"):
                self.controller.queue.add(name_of(role))

    async def reconcile(self, name: str) -> Again | None:
        role = self.roles.cache.get(Key("", name))
        if role is None or is_deleting(role) or not role.get("aggregationRule"):
            return None
        wanted = united(role, self.roles.cache.select())
        if wanted == (role.get("rules") or []):
            return None
        try:
            await self.client.patch(CLUSTER_ROLES, Key("", name), {"rules": wanted})
        except NotFound:
            return None
        return None


def united(role: Obj, every: Iterable[Obj]) -> list[Obj]:
    """The rules of all roles that a role's selectors choose, selector by selector, in the order of names, each once."""
    rules: list[Obj] = []
    roles = sorted(every, key=name_of)
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        chosen = selectors.of(selector)
        for other in roles:
            if name_of(other) != name_of(role) and chosen.matches(labels_of(other)):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules
