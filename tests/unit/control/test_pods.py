"""Questions about pods, taints and node affinity."""

import math

import pytest

from pybernetes.control.affinity import matches_term, node_matches
from pybernetes.control.pods import addresses_of, available_in, find_port, is_active, is_ready, restarts_of, slim
from pybernetes.control.taints import tolerates, untolerated
from support.objects import node, pod

PORTS = [{"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]


def test_ready_and_available() -> None:
    one = pod("a", ready=True, since="1970-01-01T00:01:40Z")
    assert is_ready(one)
    assert available_in(one, 0, 100.0) == 0
    assert available_in(one, 30, 110.0) == 20
    assert available_in(one, 30, 130.0) == 0
    assert available_in(pod("b"), 0, 0.0) == math.inf
    assert not is_active(pod("c", phase="Failed"))


@pytest.mark.parametrize(
    ("port", "protocol", "found"),
    [
        (80, "TCP", 80),
        ("web", "TCP", 8080),
        ("web", "UDP", None),
        ("dns", "UDP", 53),
        ("gone", "TCP", None),
        ("81", "TCP", 81),
    ],
)
def test_target_ports(port: int | str, protocol: str, found: int | None) -> None:
    assert find_port(pod("a", ports=PORTS), port, protocol) == found


def test_a_sidecar_has_ports_too() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 1}]}
    assert find_port(pod("a", initContainers=[sidecar]), "side", "TCP") == 1
    assert find_port(pod("a", initContainers=[sidecar | {"restartPolicy": None}]), "side", "TCP") is None


def test_slim_keeps_what_is_asked_for() -> None:
    one = pod("a", node="n1", ip="10.0.0.1", ready=True, ports=PORTS, volumes=[{"name": "v"}])
    one["spec"]["containers"][0] |= {"env": [{"name": "A", "value": "1"}], "command": ["x"]}
    one["status"]["containerStatuses"] = [{"name": "c", "restartCount": 3, "imageID": "long"}]
    small = slim(one)
    assert "volumes" not in small["spec"]
    assert set(small["spec"]["containers"][0]) == {"name", "image", "ports"}
    assert restarts_of(small) == 3
    assert addresses_of(small) == ["10.0.0.1"]
    assert small["metadata"] == one["metadata"]
    assert find_port(small, "web", "TCP") == 8080


TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "answer"),
    [
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "j", "operator": "Exists"}, False),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations(toleration: dict, answer: bool) -> None:
    assert tolerates(toleration, TAINT) is answer
    assert untolerated([toleration], [TAINT], ["NoSchedule"]) == ([] if answer else [TAINT])


def test_node_affinity() -> None:
    n = node("n1", labels={"zone": "a", "cores": "8"})
    assert node_matches({"nodeSelector": {"zone": "a"}}, n)
    assert not node_matches({"nodeSelector": {"zone": "b"}}, n)

    def required(*terms: dict) -> dict:
        rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        return {"affinity": {"nodeAffinity": rule}}

    in_a = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}
    big = {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}
    assert node_matches(required(in_a), n)
    assert node_matches(required(named, big), n)
    assert not node_matches(required(named), n)
    assert not matches_term({}, n)
