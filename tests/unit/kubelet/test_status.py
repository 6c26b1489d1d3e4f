"""Statuses as Kubernetes prints them."""

from pybernetes.api.objects import condition
from pybernetes.kubelet.status import Facts, Waiting, difference, pod_status
from support.kubelet import container, pod, state

NOW = 1_800_000_000.0


def status(the_pod, *containers, **facts):
    facts = {"sandbox": True, "addresses": ["10.244.0.2"], "node_addresses": ["192.0.2.1"]} | facts
    return pod_status(the_pod, Facts(containers=containers, **facts), now=NOW)


def conditions(found):
    return {entry["type"]: entry["status"] for entry in found["conditions"]}


def test_a_new_pod_is_pending_and_its_container_is_creating():
    found = status(pod(), sandbox=False, addresses=())
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(found) == {
        "PodReadyToStartContainers": "False",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    ready = next(entry for entry in found["conditions"] if entry["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [web]")


def test_a_running_and_ready_pod():
    found = status(pod(), state(), started=frozenset({"web-0"}), ready=frozenset({"web-0"}))
    assert found["phase"] == "Running"
    assert found["podIPs"] == [{"ip": "10.244.0.2"}]
    entry = found["containerStatuses"][0]
    assert (entry["ready"], entry["started"], entry["restartCount"]) == (True, True, 0)
    assert entry["containerID"] == "pybernetes://web-0"
    assert conditions(found)["Ready"] == "True"


def test_started_but_not_ready():
    found = status(pod(), state(), started=frozenset({"web-0"}))
    assert conditions(found)["Ready"] == "False"
    assert found["containerStatuses"][0]["started"] is True


def test_crash_loop_shows_the_last_exit_as_last_state():
    waiting = {"web": Waiting("CrashLoopBackOff", "back-off 10s")}
    found = status(pod(), state(attempt=2, exited=1), state(attempt=1, exited=7), waiting=waiting)
    entry = found["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 1
    assert entry["restartCount"] == 2
    assert found["phase"] == "Running"


def test_a_completed_pod():
    found = status(pod(restartPolicy="Never"), state(exited=0), messages={"web-0": "done"})
    assert found["phase"] == "Succeeded"
    assert found["containerStatuses"][0]["state"]["terminated"]["message"] == "done"
    reasons = {entry["type"]: entry.get("reason") for entry in found["conditions"]}
    assert reasons["Ready"] == "PodCompleted"


def test_a_failed_pod_stays_failed():
    the_pod = pod(restartPolicy="Never")
    the_pod["status"] = status(the_pod, state(exited=1))
    assert the_pod["status"]["phase"] == "Failed"
    assert status(the_pod)["phase"] == "Failed"


def test_waiting_for_init_containers():
    the_pod = pod("p", initContainers=[container("init")])
    found = status(the_pod, state("init"))
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    assert conditions(found)["Initialized"] == "False"
    done = status(the_pod, state("init", exited=0), state(), started=frozenset({"web-0"}))
    assert done["initContainerStatuses"][0]["ready"] is True
    assert conditions(done)["Initialized"] == "True"


def test_every_container_of_a_pod_with_init_containers_waits_as_the_pod_initializes():
    the_pod = pod("p", initContainers=[container("one"), container("two")])
    creating = {name: Waiting("ContainerCreating") for name in ("one", "two", "web")}
    for found in (status(the_pod, waiting=creating), status(the_pod, sandbox=False)):
        entries = [*found["initContainerStatuses"], *found["containerStatuses"]]
        assert [entry["state"]["waiting"]["reason"] for entry in entries] == ["PodInitializing"] * 3
    pulling = status(the_pod, waiting={"one": Waiting("ErrImagePull", "no")})
    assert pulling["initContainerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull"


def test_only_init_containers_that_are_not_done_are_incomplete():
    the_pod = pod("p", initContainers=[container("one"), container("two")])
    found = status(the_pod, state("one", exited=0), state("two"))
    entry = next(entry for entry in found["conditions"] if entry["type"] == "Initialized")
    assert entry["message"] == "containers with incomplete status: [two]"


def test_readiness_gates():
    the_pod = pod(readinessGates=[{"conditionType": "example.com/up"}])
    ready = {"started": frozenset({"web-0"}), "ready": frozenset({"web-0"})}
    found = status(the_pod, state(), **ready)
    assert conditions(found)["ContainersReady"] == "True"
    assert conditions(found)["Ready"] == "False"
    the_pod["status"] = {"conditions": [{"type": "example.com/up", "status": "True"}]}
    found = status(the_pod, state(), **ready)
    assert conditions(found)["Ready"] == "True"
    assert conditions(found)["example.com/up"] == "True"


def test_transition_times_move_with_the_status_only():
    the_pod = pod()
    the_pod["status"] = status(the_pod, state())
    old = condition(the_pod, "Ready")
    later = pod_status(the_pod, Facts(containers=[state()], sandbox=True), now=NOW + 60)
    assert next(entry for entry in later["conditions"] if entry["type"] == "Ready") == old
    ready = frozenset({"web-0"})
    turned = pod_status(the_pod, Facts(containers=[state()], sandbox=True, started=ready, ready=ready), now=NOW + 60)
    assert (
        next(e for e in turned["conditions"] if e["type"] == "Ready")["lastTransitionTime"] != old["lastTransitionTime"]
    )


def test_the_difference_is_empty_for_the_same():
    assert difference({"a": 1, "b": []}, {"a": 1, "c": ""}) == {}
    assert difference({"a": 1, "b": 2}, {"a": 3}) == {"a": 3, "b": None}


def test_a_pod_of_both_families_and_its_node():
    found = status(pod(), addresses=["10.244.0.2", "fd00:10:244::2"], node_addresses=["192.0.2.1", "2001:db8::1"])
    assert (found["podIP"], found["hostIP"]) == ("10.244.0.2", "192.0.2.1")
    assert found["podIPs"] == [{"ip": "10.244.0.2"}, {"ip": "fd00:10:244::2"}]
    assert found["hostIPs"] == [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]
