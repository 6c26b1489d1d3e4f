"""Nodes: silence, taints, eviction, pod ranges, pods of nodes that are gone."""

import asyncio
import ipaddress
import math

import pytest

from pybernetes.api.objects import Obj, condition, condition_is
from pybernetes.api.resources import LEASES, NODES, PODS
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.nodeipam import NodeIpamController, free_range
from pybernetes.controllers.nodelifecycle import NodeLifecycleController, silent_conditions, wanted_taints
from pybernetes.controllers.podgc import PodCollector
from pybernetes.controllers.tainteviction import TaintEvictionController, evict_in
from support.control_plane import Stage
from support.objects import meta, node, pod

NOW = 1_800_000_000.0
UNREACHABLE = "node.kubernetes.io/unreachable"


def taints(one: Obj) -> set[tuple[str, str]]:
    return {(t["key"], t["effect"]) for t in one["spec"].get("taints") or ()}


@pytest.mark.parametrize(
    ("ready", "more", "expected"),
    [
        ("True", {}, set()),
        ("False", {}, {("node.kubernetes.io/not-ready", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoExecute")}),
        ("Unknown", {}, {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}),
        ("True", {"unschedulable": True}, {("node.kubernetes.io/unschedulable", "NoSchedule")}),
        ("True", {"taints": [{"key": "mine", "effect": "NoSchedule"}]}, {("mine", "NoSchedule")}),
        ("True", {"taints": [{"key": UNREACHABLE, "effect": "NoExecute"}]}, set()),
    ],
)
def test_taints_follow_conditions(ready: str, more: dict, expected: set) -> None:
    wanted = wanted_taints(node("n", ready=ready, **more), now=NOW)
    assert {(t["key"], t["effect"]) for t in wanted} == expected


def test_a_taint_keeps_its_time() -> None:
    one = node("n", ready="Unknown", taints=[{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "T"}])
    kept = [t["timeAdded"] for t in wanted_taints(one, now=NOW) if t["effect"] == "NoExecute"]
    assert kept == ["T"]


def test_nothing_is_known_of_a_silent_node() -> None:
    conditions = {"status": {"conditions": silent_conditions(node("n"), now=NOW)}}
    ready = condition(conditions, "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert condition_is(conditions, "DiskPressure", "Unknown")


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (None, 0.0),
        ({"key": UNREACHABLE, "operator": "Exists"}, math.inf),
        ({"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}, 290.0),
        ({"operator": "Exists", "tolerationSeconds": 0}, -10.0),
    ],
)
def test_when_a_pod_must_go(toleration: dict | None, expected: float) -> None:
    taint = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2027-01-15T07:59:50Z"}
    one = pod("a", tolerations=[toleration] if toleration else [])
    assert evict_in(one, [taint], NOW) == expected
    assert evict_in(one, [taint | {"effect": "NoSchedule"}], NOW) == math.inf


def lease(name: str, time: str) -> Obj:
    return {"metadata": meta(name, "kube-node-lease"), "spec": {"renewTime": time}}


@pytest.mark.looptime
async def test_a_silent_node_loses_its_endpoints_then_its_pods_and_heals() -> None:
    stage = Stage(ControllersConfig(node_grace_seconds=8))
    stage.kubelet.broken = lambda pod: True
    services = [NodeLifecycleController(stage.shared), TaintEvictionController(stage.shared)]
    async with stage.running(*services) as api:
        api.put(NODES, node("n1"))
        api.put(LEASES, lease("n1", "1"))
        stays = {"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}
        api.put(PODS, pod("stays", node="n1", ready=True, ip="10.0.0.1", tolerations=[stays]))
        api.put(PODS, pod("goes", node="n1", ready=True, ip="10.0.0.2"))
        await api.until(lambda: condition_is(api.one(NODES, "n1"), "Ready", "Unknown"), 60)
        await api.until(
            lambda: taints(api.one(NODES, "n1")) == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
        )
        await api.until(lambda: condition_is(api.one(PODS, "stays", "default"), "Ready", "False"))
        await api.until(lambda: ("pods", "default", "goes") not in api.objects)
        api.put(LEASES, lease("n1", "2"))
        api.edit(NODES, "n1", status=node("n1")["status"])
        await api.until(lambda: not taints(api.one(NODES, "n1")))
        assert ("pods", "default", "stays") in api.objects
    assert ("NodeNotReady", "Node n1 status is now: NodeNotReady") in stage.events
    assert ("TaintManagerEviction", "Marking for deletion Pod default/goes") in stage.events


@pytest.mark.looptime
async def test_renewals_keep_a_node_alive() -> None:
    stage = Stage(ControllersConfig(node_grace_seconds=8))
    async with stage.running(NodeLifecycleController(stage.shared)) as api:
        api.put(NODES, node("n1"))
        for beat in range(12):
            api.put(LEASES, lease("n1", str(beat)))
            await asyncio.sleep(2)
        assert condition_is(api.one(NODES, "n1"), "Ready", "True")
        await api.until(lambda: condition_is(api.one(NODES, "n1"), "Ready", "Unknown"), 60)


def networks(*texts: str) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(text) for text in texts]


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([], "10.0.0.0/24"),
        (["10.0.0.0/24"], "10.0.1.0/24"),
        (["10.0.1.0/24"], "10.0.0.0/24"),
        (["10.0.0.0/24", "10.0.2.0/24"], "10.0.1.0/24"),
        (["10.0.0.128/25"], "10.0.1.0/24"),
        (["10.0.0.0/23"], "10.0.2.0/24"),
        (["10.0.0.0/22"], "None"),
        (["192.0.2.0/24"], "10.0.0.0/24"),
    ],
)
def test_the_lowest_free_range(used: list[str], expected: str) -> None:
    assert str(free_range(ipaddress.IPv4Network("10.0.0.0/22"), 24, networks(*used))) == expected


async def test_each_node_gets_a_range_of_its_own() -> None:
    stage = Stage(ControllersConfig(cluster_cidr="10.0.0.0/22,fd00::/56"))
    async with stage.running(NodeIpamController(stage.shared)) as api:
        api.put(NODES, node("mine", podCIDR="10.0.1.0/24", podCIDRs=["10.0.1.0/24", "fd00::/64"]))
        for number in range(4):
            api.put(NODES, node(f"n{number}"))

        def ranges() -> list[list[str]]:
            return [one["spec"]["podCIDRs"] for one in api.of(NODES) if one["spec"].get("podCIDRs")]

        await api.until(lambda: len(ranges()) == 4)
        assert len({r[0] for r in ranges()}) == 4
        assert ["10.0.0.0/24", "fd00:0:0:1::/64"] in ranges()
        await api.until(lambda: any(reason == "CIDRNotAvailable" for reason, _ in stage.events))


async def test_pods_of_nodes_that_are_gone_are_collected() -> None:
    stage = Stage()
    stage.kubelet.broken = lambda pod: True
    collector = PodCollector(stage.shared)
    async with stage.running() as api:
        api.put(NODES, node("n1"))
        api.put(PODS, pod("here", node="n1"))
        api.put(PODS, pod("lost", node="n2"))
        await stage.informers.synced()
        await api.until(lambda: len(stage.shared.pods().cache) == 2)
        await collector.collect()
        assert len(api.of(PODS)) == 2, "one look is not enough"
        await collector.collect()
        assert [one["metadata"]["name"] for one in api.of(PODS)] == ["here"]
