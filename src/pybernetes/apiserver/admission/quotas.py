"""ResourceQuota: a write that would use more than a namespace may is refused, and what it uses charged beforehand.

The charge is a compare-and-set of the quota's status, so several API servers cannot spend the same amount twice; one
namespace's writes take turns here, so that they do not meet there. A charge for a write that fails afterwards is taken
back by the quota controller's next count.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pybernetes.api import quota as measure
from pybernetes.api.objects import Obj, name_of
from pybernetes.api.quota import Amounts
from pybernetes.api.resources import PODS, RESOURCE_QUOTAS, Resource

from .call import Call

if TYPE_CHECKING:
    from ..registry import Registry


class Quotas:
    """The quotas of all namespaces, and the turns of those who are charged."""

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def concern(self, call: Call) -> bool:
        """Whether a quota may have to do with it."""
        if call.new is None or not call.row.namespaced or not self._registry.shelf(RESOURCE_QUOTAS).items:
            return False
        return measure.charged_on_update(call.row, call.part) if call.old else not call.part

    async def charge(self, call: Call) -> None:
        """Raises Forbidden."""
        async with self._turns.setdefault(call.namespace, asyncio.Lock()):
            due = [quota for quota in self._quotas(call) if charged(quota, call, now=self._registry.now())]
            if call.dry_run:
                return
            for quota in due:
                await self._write(call, name_of(quota))

    def _quotas(self, call: Call) -> list[Obj]:
        return self._registry.select(RESOURCE_QUOTAS, call.namespace)

    async def _write(self, call: Call, name: str) -> None:
        now = self._registry.now()

        def edit(quota: Obj) -> Obj:
            used = charged(quota, call, now=now)
            if used:
                quota["status"]["used"] = {**quota["status"].get("used", {}), **_texts(used)}
            return quota

        await self._registry.write_status(RESOURCE_QUOTAS, name, edit, namespace=call.namespace)


def charged(quota: Obj, call: Call, *, now: float) -> Amounts:
    """The quota's usage of all that the write changes, after it; empty when it is none of its business.

    Raises Forbidden when that is too much.
    """
    assert call.new is not None
    status = quota.get("status") or {}
    hard = measure.parsed(status.get("hard"))
    names = measure.names_of(call.row, hard)
    if not names or not measure.in_scope(quota, call.row, call.new):
        return {}
    if call.row is PODS and (unsaid := measure.unsaid(call.new, names)):
        raise call.forbidden(f"failed quota: {name_of(quota)}: must specify {unsaid}")
    used = measure.parsed(status.get("used"))
    if any(name not in used for name in names):
        raise call.forbidden(f"status unknown for quota: {name_of(quota)}, resources: {','.join(sorted(names))}")
    asked = _delta(quota, call.row, call.new, call.old, names=names, now=now)
    after = {name: used[name].plus(amount) for name, amount in asked.items()}
    over = [name for name, amount in after.items() if amount.nano > hard[name].nano]
    if over:
        raise call.forbidden(
            f"exceeded quota: {name_of(quota)}, requested: {_shown(asked, over)}, "
            f"used: {_shown(used, over)}, limited: {_shown(hard, over)}"
        )
    return after


def _delta(quota: Obj, row: Resource, new: Obj, old: Obj | None, *, names: Iterable[str], now: float) -> Amounts:
    """What more is used; of an update only what grows."""
    found = measure.usage(row, new, now=now)
    before = measure.usage(row, old, now=now) if old is not None and measure.in_scope(quota, row, old) else {}
    more = {name: found[name].minus(before[name]) if name in before else found[name] for name in names if name in found}
    return {name: amount for name, amount in more.items() if amount.nano > 0}


def _shown(amounts: Mapping[str, object], names: Iterable[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in sorted(names))


def _texts(amounts: Amounts) -> dict[str, str]:
    return {name: str(amount) for name, amount in amounts.items()}
