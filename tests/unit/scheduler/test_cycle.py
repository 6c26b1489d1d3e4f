"""Decisions: where a pod goes, or in what words it is refused."""

import random
from collections import Counter

import pytest

from pybernetes.api.objects import Obj
from pybernetes.scheduler.cycle import NO_NODES, Decision, decide, sample_size
from pybernetes.scheduler.resources import requests_of
from pybernetes.scheduler.snapshot import Snapshot
from support.objects import node, pod, workload

HELPLESS = " preemption: 0/{0} nodes are available: {0} Preemption is not helpful for scheduling."
HOST = "kubernetes.io/hostname"


def choose(one: Obj, snapshot: Snapshot, *, seed: int = 1) -> Decision:
    return decide(one, snapshot, rng=random.Random(seed))


def why(one: Obj, *nodes: Obj, pods: list[Obj] | None = None) -> str:
    decision = choose(one, Snapshot(nodes, pods or []))
    assert not decision.node
    return decision.message


def test_no_nodes() -> None:
    assert why(pod("a")) == NO_NODES


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (pod("a", requests={"cpu": "5"}), node("n"), "1 Insufficient cpu."),
        (pod("a", requests={"cpu": "5", "memory": "9Gi"}), node("n"), "1 Insufficient cpu, 1 Insufficient memory."),
        (pod("a", requests={"example.com/gpu": "1"}), node("n"), "1 Insufficient example.com/gpu."),
        (pod("a"), node("n", unschedulable=True), "1 node(s) were unschedulable."),
        (pod("a"), node("n", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
         "1 node(s) had untolerated taint {k: v}."),
        (pod("a", nodeSelector={"x": "y"}), node("n"), "1 node(s) didn't match Pod's node affinity/selector."),
    ],
)  # fmt: skip
def test_the_words_of_a_refusal(one: Obj, other: Obj, text: str) -> None:
    assert why(one, other) == "0/1 nodes are available: " + text + HELPLESS.format(1)


def test_reasons_are_counted_over_the_nodes() -> None:
    tainted = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    nodes = [node("a", cpu="1"), node("b", cpu="1"), node("c", taints=tainted)]
    message = why(pod("x", requests={"cpu": "2"}), *nodes)
    assert message.startswith(
        "0/3 nodes are available: "
        "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 2 Insufficient cpu. "
    )


def test_room_taken_by_others_could_be_freed() -> None:
    other = pod("big", node="a", requests={"cpu": "3"})
    assert why(pod("x", requests={"cpu": "2"}), node("a"), pods=[other]) == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_too_many_pods() -> None:
    full = node("a")
    full["status"]["allocatable"]["pods"] = "1"
    assert "1 Too many pods" in why(pod("x"), full, pods=[pod("y", node="a")])


def test_host_ports() -> None:
    def with_port(name: str, ip: str = "", **more: object) -> Obj:
        return pod(name, ports=[{"containerPort": 80, "hostPort": 8080} | ({"hostIP": ip} if ip else {})], **more)

    assert "1 node(s) didn't have free ports" in why(with_port("x"), node("a"), pods=[with_port("y", node="a")])
    found = choose(with_port("x", "10.0.0.1"), Snapshot([node("a")], [with_port("y", "10.0.0.2", node="a")]))
    assert found.node == "a"
    assert choose(with_port("x", "10.0.0.1"), Snapshot([node("a")], [with_port("y", "::", node="a")])).node == ""


def test_a_taken_host_port_in_kube_schedulers_words() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}]
    message = why(pod("x", ports=ports), node("a"), node("b"), pods=[pod(n, ports=ports, node=n) for n in "ab"])
    assert message.startswith(
        "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports. "
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    )


def test_requests_count_init_containers_sidecars_and_overhead() -> None:
    one = pod("a", requests={"cpu": "100m"}, overhead={"cpu": "10m"})
    assert requests_of(one)["cpu"] == 110
    one["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        {"name": "init", "resources": {"requests": {"cpu": "300m"}}},
    ]
    assert requests_of(one)["cpu"] == 360
    assert requests_of(one)["pods"] == 1


def spread_over(nodes: list[Obj], count: int, **spec: object) -> Counter[str]:
    snapshot = Snapshot(nodes)
    owner = workload("ReplicaSet")
    for number in range(count):
        one = pod(f"p{number}", owner=owner, labels={"app": "web"}, **spec)
        decision = choose(one, snapshot, seed=number)
        assert decision.node, decision.message
        snapshot.assume(one, decision.node)
    return Counter({info.name: len(info.pods) for info in snapshot})


def test_pods_of_one_owner_are_spread() -> None:
    assert set(spread_over([node("a"), node("b"), node("c")], 9).values()) == {3}


def test_bigger_nodes_take_more_when_nothing_else_decides() -> None:
    snapshot = Snapshot([node("small", cpu="1", memory="1Gi"), node("big", cpu="32", memory="64Gi")])
    found = [choose(pod(f"p{n}", requests={"cpu": "100m", "memory": "100Mi"}), snapshot).node for n in range(5)]
    assert found == ["big"] * 5


def test_preferences() -> None:
    soft = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 10,
                    "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]},
                }
            ]
        }
    }
    nodes = [node("a"), node("b", labels={"disk": "ssd"}), node("c")]
    assert choose(pod("x", affinity=soft), Snapshot(nodes)).node == "b"
    shy = node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}])
    assert choose(pod("x"), Snapshot([shy, node("b")])).node == "b"


def constraint(**more: object) -> dict:
    selector = {"matchLabels": {"app": "web"}}
    return {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector} | more


def test_topology_spread() -> None:
    nodes = [node("a", labels={"zone": "x"}), node("b", labels={"zone": "x"}), node("c", labels={"zone": "y"})]
    found = spread_over(nodes, 6, topologySpreadConstraints=[constraint()])
    assert found["a"] + found["b"] == found["c"] == 3
    bare = node("d")
    message = why(pod("x", labels={"app": "web"}, topologySpreadConstraints=[constraint()]), bare)
    assert "1 node(s) didn't match pod topology spread constraints (missing required label)" in message
    taken = [pod("p", node="a", labels={"app": "web"})]
    cordoned = node("c", labels={"zone": "y"}, unschedulable=True)
    message = why(
        pod("x", labels={"app": "web"}, topologySpreadConstraints=[constraint()]), nodes[0], cordoned, pods=taken
    )
    assert "1 node(s) didn't match pod topology spread constraints," in message


def near(kind: str, app: str, key: str = HOST) -> dict:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_pod_affinity_and_anti_affinity() -> None:
    nodes = [node("a"), node("b")]
    db = pod("db", node="b", labels={"app": "db"})
    assert choose(pod("x", affinity=near("podAffinity", "db")), Snapshot(nodes, [db])).node == "b"
    assert choose(pod("x", affinity=near("podAntiAffinity", "db")), Snapshot(nodes, [db])).node == "a"
    assert "2 node(s) didn't match pod affinity rules" in why(pod("x", affinity=near("podAffinity", "db")), *nodes)
    first = pod("x", labels={"app": "db"}, affinity=near("podAffinity", "db"))
    assert choose(first, Snapshot(nodes)).node, "the first of its kind may go anywhere"
    elsewhere = pod("db", namespace="other", node="b", labels={"app": "db"})
    assert "didn't match pod affinity rules" in why(
        pod("x", affinity=near("podAffinity", "db")), *nodes, pods=[elsewhere]
    )


def test_a_pod_there_may_keep_others_away() -> None:
    guard = pod("g", node="a", affinity=near("podAntiAffinity", "web"))
    message = why(pod("x", labels={"app": "web"}), node("a"), pods=[guard])
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in message
    assert choose(pod("x", labels={"app": "other"}), Snapshot([node("a")], [guard])).node == "a"


def test_preferred_pod_affinity() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": HOST}
    soft = {
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
    }
    db = pod("db", node="b", labels={"app": "db"})
    assert choose(pod("x", affinity=soft), Snapshot([node("a"), node("b"), node("c")], [db])).node == "b"


@pytest.mark.parametrize(("nodes", "enough"), [(3, 3), (100, 100), (1000, 420), (5000, 500), (20000, 1000)])
def test_how_many_nodes_are_looked_at(nodes: int, enough: int) -> None:
    assert sample_size(nodes) == enough


def test_leaving_pods_count_for_room_but_not_for_spreading() -> None:
    owner = workload("ReplicaSet")
    leaving = pod("old", node="a", owner=owner, requests={"cpu": "3"})
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    snapshot = Snapshot([node("a")], [leaving])
    assert snapshot.infos["a"].owners == Counter()
    assert not choose(pod("x", requests={"cpu": "2"}), snapshot).node
