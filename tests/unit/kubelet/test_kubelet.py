"""A whole kubelet over the fake runtime, network and API: what becomes of pods."""

import asyncio

import pytest

from pybernetes.api.objects import condition_is, decode
from pybernetes.api.resources import CONFIG_MAPS, EVENTS, LEASES, NODES, PODS
from pybernetes.kubelet.hostports import PortMapping
from pybernetes.kubelet.runtime import Phase
from pybernetes.wire import Request
from pybernetes.wire.loopback import LoopbackTransport
from support.kubelet import NODE, Node, container, pod

DELETION = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
ONCE = {"restartPolicy": "Never"}
READINESS = {"exec": {"command": ["ready?"]}, "periodSeconds": 0.01, "failureThreshold": 1}


@pytest.fixture
async def node(tmp_path):
    async with Node(tmp_path).running() as node:
        yield node


async def test_the_node_registers_and_renews_its_lease(tmp_path):
    async with Node(tmp_path, lease_seconds=0.01, labels={"zone": "a"}).running() as node:
        await node.api.until(lambda: condition_is(node.api.one(NODES, NODE), "Ready"))
        await node.api.until(lambda: bool(node.api.of(LEASES)))
        first = node.api.one(LEASES, NODE, "kube-node-lease")["spec"]["renewTime"]
        await node.api.until(lambda: node.api.one(LEASES, NODE, "kube-node-lease")["spec"]["renewTime"] != first)
    found = node.api.one(NODES, NODE)
    assert found["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert found["metadata"]["labels"]["zone"] == "a"
    assert found["spec"]["podCIDR"] == "10.244.0.0/24"
    status = found["status"]
    assert status["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.1"}
    assert set(status["capacity"]) == {"cpu", "memory", "pods", "ephemeral-storage"}
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }


async def test_a_pod_runs_and_says_so(node):
    node.put(pod())
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    status = node.status()
    assert status["phase"] == "Running"
    assert status["podIP"] == "10.244.0.2"
    assert status["hostIP"] == "192.0.2.1"
    await node.api.until(lambda: len(node.events()) >= 3)
    assert node.events() == [
        ("Pulled", 'Container image "host" already present on machine'),
        ("Created", "Created container: web"),
        ("Started", "Started container web"),
    ]


async def test_a_steady_pod_costs_no_writes(node):
    node.put(pod())
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    before, still = -1, 0
    async with asyncio.timeout(60):
        while still < 20:  # turns in which it had nothing more to say
            await asyncio.sleep(0.005)
            seen, before = before, len(node.api.asked("PATCH", "/status"))
            still = still + 1 if seen == before else 0
    for _ in range(3):
        node.kubelet.workers["uid-p"].wake()
        await asyncio.sleep(0.02)
    assert len(node.api.asked("PATCH", "/status")) == before


async def test_readiness_reaches_the_api(node):
    answers = [1]

    async def program(argv, io):
        return answers[0]

    node.runtime.programs["ready?"] = program
    node.put(pod("p", container(readinessProbe=READINESS)))
    await node.api.until(lambda: node.status().get("phase") == "Running")
    assert node.conditions()["Ready"] == "False"
    answers[0] = 0
    await node.api.until(lambda: node.conditions()["Ready"] == "True")
    answers[0] = 1
    await node.api.until(lambda: node.conditions()["Ready"] == "False")
    await node.api.until(lambda: any(reason == "Unhealthy" for reason, _ in node.events()))


async def test_what_the_node_controller_said_is_corrected(node):
    node.put(pod())
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    status = node.status() | {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}
    node.api.edit(PODS, "p", "default", status=status)
    assert node.conditions()["Ready"] == "False"
    await node.api.until(lambda: node.conditions()["Ready"] == "True")


async def test_an_exit_is_restarted_at_once_then_held_back(node):
    node.put(pod())
    await node.api.until(lambda: node.status().get("phase") == "Running")
    node.runtime.exit(node.runtime.running("web"), 3)
    await node.api.until(lambda: node.container().get("restartCount") == 1)
    await node.api.until(lambda: bool(node.container()["lastState"]))
    assert node.container()["lastState"]["terminated"]["exitCode"] == 3
    node.runtime.exit(node.runtime.running("web"), 3)
    await node.api.until(lambda: node.reason() == "CrashLoopBackOff")
    message = node.container()["state"]["waiting"]["message"]
    assert message == "back-off 10s restarting failed container=web pod=p_default(uid-p)"
    await node.api.until(lambda: any(reason == "BackOff" for reason, _ in node.events()))


async def test_a_liveness_failure_restarts(node):
    async def program(argv, io):
        return 1 if len(node.runtime.states) == 1 else 0

    node.runtime.programs["live?"] = program
    probe = {"exec": {"command": ["live?"]}, "periodSeconds": 0.01, "failureThreshold": 1}
    node.put(pod("p", container(livenessProbe=probe)))
    await node.api.until(lambda: node.container().get("restartCount") == 1)
    wanted = ("Killing", "Container web failed liveness probe, will be restarted")
    await node.api.until(lambda: wanted in node.events())


async def test_a_job_like_pod_succeeds_and_keeps_its_containers(node):
    node.runtime.exits_at_once["once"] = 0
    node.put(pod("p", container(command=["once"]), restartPolicy="Never"))
    await node.api.until(lambda: node.status().get("phase") == "Succeeded")
    await node.api.until(lambda: not node.network.given)
    assert [state.phase for state in node.runtime.states.values()] == [Phase.EXITED]


async def test_init_containers_come_first(node):
    node.runtime.exits_at_once["prepare"] = 0
    node.put(pod("p", initContainers=[container("init", command=["prepare"])]))
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    assert node.status()["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert [state.name for state in node.runtime.states.values()] == ["init", "web"]


async def test_deletion_is_graceful_and_then_complete(node):
    node.put(pod())
    await node.api.until(lambda: node.status().get("phase") == "Running")
    node.api.edit(
        PODS, "p", "default", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
    )
    await node.api.until(lambda: not node.exists())
    assert not node.runtime.states
    assert not node.network.given
    assert not (node.config.state / "pods" / "uid-p").exists()
    assert ("Killing", "Stopping container web") in node.events()
    (asked,) = node.api.asked("DELETE", "/pods/p")
    assert decode(asked.body)["preconditions"] == {"uid": "uid-p"}


async def test_pre_stop_runs_before_the_end(node):
    hook = {"preStop": {"exec": {"command": ["bye"]}}}
    node.put(pod("p", container(lifecycle=hook)))
    await node.api.until(lambda: node.status().get("phase") == "Running")
    node.api.edit(
        PODS, "p", "default", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
    )
    await node.api.until(lambda: not node.exists())
    assert ("web", ("bye",)) in node.runtime.execs


async def test_a_forced_deletion_cuts_the_grace_short(node):
    node.runtime.ignores_term.add("web")
    node.put(pod())
    await node.api.until(lambda: node.status().get("phase") == "Running")
    deletion = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 300}
    node.api.edit(PODS, "p", "default", metadata=deletion)
    await node.api.until(lambda: ("Killing", "Stopping container web") in node.events())
    node.api.edit(PODS, "p", "default", metadata=deletion | {"deletionGracePeriodSeconds": 0})
    await node.api.until(lambda: not node.exists())


async def test_a_pod_removed_from_the_api_is_ended(node):
    node.put(pod())
    await node.api.until(lambda: node.status().get("phase") == "Running")
    node.api.drop(PODS, "p", "default")
    await node.api.until(lambda: not node.runtime.states)
    await node.api.until(lambda: not node.kubelet.workers)


async def test_an_unknown_image_says_what_to_do(node):
    node.put(pod("p", container(image="nginx:1.27")))
    await node.api.until(lambda: node.reason() == "ErrImagePull")
    assert "image: host" in node.container()["state"]["waiting"]["message"]
    await node.api.until(lambda: node.reason() == "ImagePullBackOff")
    wanted = ("Failed", "Error: ErrImagePull")
    await node.api.until(lambda: wanted in node.events())


async def test_a_command_that_does_not_exist(node):
    node.runtime.cannot_start["nope"] = 'exec: "nope": executable file not found in $PATH'
    node.put(pod("p", container(command=["nope"])))
    await node.api.until(lambda: node.reason() == "CrashLoopBackOff")
    ended = node.container()["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert 'exec: "nope": executable file not found in $PATH' in ended["message"]
    await node.api.until(lambda: any(r == "Failed" and "not found in $PATH" in m for r, m in node.events()))


async def test_a_container_without_a_command(node):
    node.put(pod("p", container(command=[])))
    await node.api.until(lambda: node.reason() == "CreateContainerConfigError")


async def test_a_missing_config_map_holds_the_pod_until_it_is_there(node):
    volume = {"name": "config", "configMap": {"name": "config"}}
    node.put(pod("p", volumes=[volume]))
    wanted = ("FailedMount", 'MountVolume.SetUp failed for volume "config" : configmap "config" not found')
    await node.api.until(lambda: wanted in node.events())
    assert node.reason() == "ContainerCreating"
    node.api.put(CONFIG_MAPS, {"metadata": {"name": "config", "namespace": "default"}, "data": {"a": "1"}})
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    file = node.config.state / "pods" / "uid-p" / "volumes" / "config" / "a"
    assert file.read_text() == "1"
    node.api.edit(CONFIG_MAPS, "config", "default", data={"a": "2"})
    await node.api.until(lambda: file.read_text() == "2")


async def test_a_missing_secret_in_the_environment(node):
    source = {"secretKeyRef": {"name": "none", "key": "a"}}
    node.put(pod("p", container(env=[{"name": "A", "valueFrom": source}])))
    await node.api.until(lambda: node.reason() == "CreateContainerConfigError")
    assert node.container()["state"]["waiting"]["message"] == 'secret "none" not found'


async def test_a_network_that_fails_is_tried_again(node):
    node.network.fail = "no room"
    node.put(pod())
    await node.api.until(lambda: any(reason == "FailedCreatePodSandBox" for reason, _ in node.events()))
    node.network.fail = ""
    await node.api.until(lambda: node.conditions().get("Ready") == "True")


async def test_a_restarted_agent_takes_over(tmp_path):
    node = Node(tmp_path)
    async with node.running():
        node.put(pod("stays", container(readinessProbe=READINESS)))
        node.put(pod("goes"))
        await node.api.until(lambda: node.conditions("stays").get("Ready") == "True")
        await node.api.until(lambda: node.conditions("goes").get("Ready") == "True")
    node.api.drop(PODS, "goes", "default")
    began = node.runtime.states[node.runtime.running("web")]
    node.kubelet = node.new_kubelet()
    async with node.running():
        await node.api.until(lambda: len(node.runtime.states) == 1)
        await node.api.until(lambda: len(node.kubelet.workers) == 1)
        await asyncio.sleep(0.05)
        assert node.conditions("stays")["Ready"] == "True"
        assert node.container("stays")["restartCount"] == 0
        assert node.runtime.states[began.id].phase is Phase.RUNNING


async def test_the_server_asks_who_calls(node):
    node.kubelet.handler.open = False
    transport = LoopbackTransport(node.kubelet.handler)
    assert (await transport.send(Request(path="/healthz"))).body == b"ok"
    for path in ("/pods", "/metrics", "/containerLogs/default/p/web", "/exec/default/p/web"):
        assert (await transport.send(Request(path=path))).status == 401


async def test_the_server_lists_pods_and_reports_what_is_missing(node):
    node.put(pod())
    await node.api.until(lambda: node.status().get("phase") == "Running")
    transport = LoopbackTransport(node.kubelet.handler)
    listed = decode((await transport.send(Request(path="/pods"))).body)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["p"]
    assert (await transport.send(Request(path="/containerLogs/default/none/web"))).status == 404
    assert (await transport.send(Request(path="/containerLogs/default/p/none"))).status == 404
    previous = Request(path="/containerLogs/default/p/web", query={"previous": ["true"]})
    assert (await transport.send(previous)).status == 400
    assert b"kubelet_running_pods 1" in (await transport.send(Request(path="/metrics"))).body


async def test_an_ephemeral_container_sees_its_target_and_leaves_the_pod_as_it_is(node):
    node.put(pod())
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    wanted = container("debug", command=["sh"], targetContainerName="web")
    node.api.edit(PODS, "p", "default", spec={"ephemeralContainers": [wanted]})
    await node.api.until(lambda: bool(node.status().get("ephemeralContainerStatuses")))
    await node.api.until(lambda: "running" in node.status()["ephemeralContainerStatuses"][0]["state"])
    assert node.runtime.specs[node.runtime.running("debug")].target == node.runtime.running("web")
    node.runtime.exit(node.runtime.running("debug"), 7)
    await node.api.until(lambda: "terminated" in node.status()["ephemeralContainerStatuses"][0]["state"])
    (debug,) = node.status()["ephemeralContainerStatuses"]
    assert (debug["state"]["terminated"]["exitCode"], debug["restartCount"]) == (7, 0)
    assert (node.status()["phase"], node.conditions()["Ready"]) == ("Running", "True")
    fields = {event["involvedObject"].get("fieldPath") for event in node.api.of(EVENTS)}
    assert "spec.ephemeralContainers{debug}" in fields


TAKEN = "node(s) didn't have free ports for the requested pod ports"


def with_port(name, *, host_ip="", **fields):
    return pod(name, container(ports=[{"containerPort": 80, "hostPort": 8080, "hostIP": host_ip}], **fields))


async def test_the_network_is_told_of_host_ports_until_the_pod_goes(node):
    node.put(with_port("p"))
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    assert node.network.ports == {"uid-p": (PortMapping(host_port=8080, container_port=80),)}
    node.api.edit(PODS, "p", "default", metadata=DELETION)
    await node.api.until(lambda: not node.exists())
    assert node.network.ports == {}


async def test_a_pod_whose_host_port_is_taken_is_refused(node):
    node.put(with_port("p"))
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    node.put(with_port("q"))
    await node.api.until(lambda: node.status("q").get("phase") == "Failed")
    status = node.status("q")
    assert status["reason"] == "NodePorts"
    assert status["message"] == f"Pod was rejected: Predicate NodePorts failed: {TAKEN}"
    assert "containerStatuses" not in status or not status["containerStatuses"]
    await node.api.until(lambda: ("NodePorts", f"Predicate NodePorts failed: {TAKEN}") in node.events())
    assert set(node.network.given) == {"uid-p"}
    assert node.conditions()["Ready"] == "True"
    node.api.edit(PODS, "q", "default", metadata=DELETION)
    await node.api.until(lambda: not node.exists("q"))


async def test_a_host_network_pod_is_refused_too(node):
    node.put(with_port("p"))
    await node.api.until(lambda: node.conditions().get("Ready") == "True")
    ports = [{"containerPort": 8080, "hostPort": 8080}]
    node.put(pod("q", container(ports=ports), hostNetwork=True))
    await node.api.until(lambda: node.status("q").get("reason") == "NodePorts")


async def test_another_address_is_not_taken(node):
    node.put(with_port("p", host_ip="127.0.0.1"))
    node.put(with_port("q", host_ip="192.0.2.1"))
    for name in ("p", "q"):
        await node.api.until(lambda name=name: node.conditions(name).get("Ready") == "True")


async def test_a_port_is_free_once_its_pod_has_ended(node):
    node.runtime.exits_at_once["once"] = 0
    node.put(with_port("p", command=["once"]) | {"spec": with_port("p", command=["once"])["spec"] | ONCE})
    await node.api.until(lambda: node.status().get("phase") == "Succeeded")
    await node.api.until(lambda: not node.network.given)
    node.put(with_port("q"))
    await node.api.until(lambda: node.conditions("q").get("Ready") == "True")


async def test_a_new_agent_keeps_what_runs_and_what_was_refused(node):
    node.put(with_port("z"))
    await node.api.until(lambda: node.conditions("z").get("Ready") == "True")
    node.put(with_port("a"))
    await node.api.until(lambda: node.status("a").get("phase") == "Failed")
    refused = node.status("a")
    node.put(with_port("b") | {"metadata": with_port("b")["metadata"] | {"creationTimestamp": "2026-01-01T00:00:00Z"}})
    await node.api.until(lambda: node.status("b").get("phase") == "Failed")
    node.kubelet = node.new_kubelet()
    async with node.running():
        await node.api.until(lambda: len(node.kubelet.workers) == 3)
        node.put(with_port("c"))
        await node.api.until(lambda: node.status("c").get("phase") == "Failed")
        assert node.conditions("z")["Ready"] == "True"
        assert node.status("a") == refused


async def test_of_two_that_come_at_once_the_older_is_taken(tmp_path):
    node = Node(tmp_path)
    for name, second in (("a", 2), ("b", 1)):
        made = with_port(name)
        node.put(made | {"metadata": made["metadata"] | {"creationTimestamp": f"2026-01-01T00:00:0{second}Z"}})
    async with node.running():
        await node.api.until(lambda: node.conditions("b").get("Ready") == "True")
        await node.api.until(lambda: node.status("a").get("reason") == "NodePorts")


async def test_a_host_ip_that_is_no_address_keeps_the_pod_waiting(node):
    node.put(with_port("p", host_ip="nowhere"))
    words = "Failed to create pod sandbox: hostIP 'nowhere' of hostPort 8080 is not an IP address"
    await node.api.until(lambda: ("FailedCreatePodSandBox", words) in node.events())
    assert node.status()["phase"] == "Pending"
