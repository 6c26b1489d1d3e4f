"""What a node refuses, and what the pod's status says then."""

from pybernetes.kubelet.admission import Refusal, is_refused, refusal, refused_status
from support.kubelet import container, pod


def with_port(name, number=8080, **port):
    return pod(name, container(ports=[{"containerPort": 80, "hostPort": number} | port]))


TAKEN = Refusal("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")


def test_a_port_that_is_taken():
    assert refusal(with_port("a"), [with_port("b")]) == TAKEN
    assert refusal(with_port("a", hostIP="127.0.0.1"), [pod("c"), with_port("b", hostIP="::")]) == TAKEN


def test_what_does_not_clash():
    assert refusal(with_port("a"), []) is None
    assert refusal(pod("a"), [with_port("b")]) is None
    others = [with_port("b", 8081), with_port("c", protocol="UDP"), pod("d")]
    assert refusal(with_port("a"), others) is None
    assert refusal(with_port("a", hostIP="127.0.0.1"), [with_port("b", hostIP="192.0.2.1")]) is None


def test_the_status_says_why_and_keeps_what_others_wrote():
    scheduled = {"type": "PodScheduled", "status": "True"}
    one = with_port("a") | {"status": {"phase": "Pending", "qosClass": "BestEffort", "conditions": [scheduled]}}
    assert not is_refused(one)
    status = refused_status(one, TAKEN, now=0.0)
    assert status == {
        "phase": "Failed",
        "reason": "NodePorts",
        "message": f"Pod was rejected: {TAKEN.message}",
        "qosClass": "BestEffort",
        "conditions": [scheduled],
        "startTime": "1970-01-01T00:00:00Z",
    }
    assert is_refused(one | {"status": status})
