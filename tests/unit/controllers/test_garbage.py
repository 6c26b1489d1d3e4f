"""The garbage collector: background, foreground, orphans, owners that never were."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, NODES, REPLICA_SETS, SECRETS
from pybernetes.controllers.garbage import GarbageCollector
from support.control_plane import Stage
from support.objects import meta, reference, workload


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    async with found.running(GarbageCollector(found.shared)):
        yield found


def config_map(name: str, *owners: Obj, namespace: str = "default", **more: object) -> Obj:
    references = [reference(owner, controller=False) for owner in owners]
    return {"metadata": meta(name, namespace, ownerReferences=references, **more)}


def present(stage: Stage) -> set[str]:
    return {name for (_, _, name) in stage.api.objects}


def chain(stage: Stage) -> Obj:
    """A Deployment, its ReplicaSet, and a ConfigMap of that."""
    owner = stage.api.put(DEPLOYMENTS, workload("Deployment"))
    rs = workload("ReplicaSet", "web-1")
    rs["metadata"]["ownerReferences"] = [reference(owner)]
    stage.api.put(CONFIG_MAPS, config_map("leaf", stage.api.put(REPLICA_SETS, rs)))
    return owner


async def test_background(stage: Stage) -> None:
    chain(stage)
    await stage.client.delete(DEPLOYMENTS, Key("default", "web"), propagation="Background")
    await stage.api.until(lambda: not present(stage))


async def test_foreground_deletes_from_the_leaves(stage: Stage) -> None:
    chain(stage)
    gone: list[str] = []
    stage.api.react.append(lambda kind, plural, obj: gone.append(plural) if kind == "DELETED" else None)
    await stage.client.delete(DEPLOYMENTS, Key("default", "web"), propagation="Foreground")
    await stage.api.until(lambda: not present(stage))
    assert gone == ["configmaps", "replicasets", "deployments"]


async def test_should_not_be_blocked_by_dependency_circle(stage: Stage) -> None:
    first, second, third = (stage.api.put(CONFIG_MAPS, config_map(name)) for name in ("a", "b", "c"))
    for obj, owner in ((first, third), (second, first), (third, second)):
        stage.api.edit(
            CONFIG_MAPS, obj["metadata"]["name"], "default", metadata={"ownerReferences": [reference(owner)]}
        )
    assert reference(first)["blockOwnerDeletion"]
    await stage.client.delete(CONFIG_MAPS, Key("default", "a"), propagation="Foreground")
    await stage.api.until(lambda: not present(stage))


async def test_orphans_stay(stage: Stage) -> None:
    chain(stage)
    await stage.client.delete(DEPLOYMENTS, Key("default", "web"), propagation="Orphan")
    await stage.api.until(lambda: present(stage) == {"web-1", "leaf"})
    assert "ownerReferences" not in stage.api.one(REPLICA_SETS, "web-1", "default")["metadata"]


async def test_one_owner_left_is_enough(stage: Stage) -> None:
    one = stage.api.put(SECRETS, {"metadata": meta("one", "default")})
    two = stage.api.put(SECRETS, {"metadata": meta("two", "default")})
    stage.api.put(CONFIG_MAPS, config_map("child", one, two))
    stage.api.drop(SECRETS, "one", "default")

    def owners() -> list[str]:
        return [
            o["name"] for o in stage.api.one(CONFIG_MAPS, "child", "default")["metadata"].get("ownerReferences", [])
        ]

    await stage.api.until(lambda: owners() == ["two"])
    stage.api.drop(SECRETS, "two", "default")
    await stage.api.until(lambda: not present(stage))


async def test_an_owner_that_never_was_or_is_another_now(stage: Stage) -> None:
    ghost = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ghost", "uid": "nobody"}}
    stage.api.put(SECRETS, {"metadata": meta("ghost", "default")})  # the name is taken by another
    stage.api.put(CONFIG_MAPS, config_map("child", ghost))
    await stage.api.until(lambda: present(stage) == {"ghost"})


async def test_unknown_kinds_and_owners_elsewhere_are_left_alone_or_judged_by_scope(stage: Stage) -> None:
    strange = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "w"}}
    stage.api.put(CONFIG_MAPS, config_map("keeps", strange))
    owner = stage.api.put(NODES, {"metadata": meta("n1")})
    stage.api.put(CONFIG_MAPS, config_map("noded", owner))
    other = stage.api.put(SECRETS, {"metadata": meta("far", "other")})
    stage.api.put(CONFIG_MAPS, config_map("wrong", other, namespace="other"))
    await stage.api.until(lambda: {"keeps", "noded", "wrong"} <= present(stage))
    stage.api.drop(NODES, "n1")
    await stage.api.until(lambda: "noded" not in present(stage))
    assert {"keeps", "wrong", "far"} <= present(stage)


async def test_an_orphan_from_before_the_collector_started() -> None:
    stage = Stage()
    ghost = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ghost", "uid": "nobody"}}
    stage.api.put(CONFIG_MAPS, config_map("child", ghost))
    async with stage.running(GarbageCollector(stage.shared)):
        await stage.api.until(lambda: not present(stage))


def definition() -> Obj:
    version = {"name": "v1", "served": True, "storage": True}
    names = {"plural": "widgets", "kind": "Widget"}
    return {
        "metadata": meta("widgets.example.com"),
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


async def test_custom_resources_are_watched_while_they_are_defined(stage: Stage) -> None:
    def watches() -> int:
        return sum("widgets" in request.path for request in stage.api.asked("GET"))

    stage.api.put(CUSTOM_RESOURCE_DEFINITIONS, definition())
    await stage.api.until(lambda: watches() > 0)
    stage.api.drop(CUSTOM_RESOURCE_DEFINITIONS, "widgets.example.com")
    await stage.api.until(lambda: not any(one.resource.custom for one in stage.informers.all))
