"""Aggregated ClusterRoles hold the rules of those they select."""

from typing import Any

from pybernetes.api.objects import Key
from pybernetes.api.resources import CLUSTER_ROLES
from pybernetes.controllers.aggregation import AggregationController, united
from support.control_plane import Stage, until


def role(name: str, rules: list[dict[str, Any]], **labels: str) -> dict[str, Any]:
    meta = {"name": name, "labels": labels}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}


ALL = role("all", []) | {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]}}
READ, LIST = {"verbs": ["get"]}, {"verbs": ["list"]}


def test_each_rule_once_in_the_order_of_names() -> None:
    roles = [role("b", [READ, LIST], to="all"), role("a", [LIST], to="all"), role("c", [{"verbs": ["x"]}])]
    assert united(ALL, roles) == [LIST, READ]


async def test_the_role_follows_its_parts() -> None:
    stage = Stage()
    controller = AggregationController(stage.shared)

    async def rules() -> Any:
        return (await stage.client.get(CLUSTER_ROLES, Key("", "all"))).get("rules")

    await stage.client.create(CLUSTER_ROLES, role("part", [READ], to="all"))
    await stage.client.create(CLUSTER_ROLES, ALL)
    async with stage.running(controller):

        async def has_one() -> bool:
            return bool(await rules() == [READ])

        async def has_none() -> bool:
            return not await rules()

        await until(has_one)
        await stage.client.delete(CLUSTER_ROLES, Key("", "part"))
        await until(has_none)
