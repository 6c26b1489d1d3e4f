"""What Kubernetes' conformance suite asks of pods, as far as a Service depends on it; and kubectl's way into them."""

import contextlib
import json
import re
import socket
import subprocess

import pytest

from support.local import BIN

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

SLEEP = ["sleep", "3600"]


def pod(name, *volumes, init=(), spec=None, **container):
    container = {"name": "main", "image": "host", "command": SLEEP} | container
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": {"build": "7"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "initContainers": list(init),
            "containers": [container],
            "volumes": list(volumes),
        }
        | (spec or {}),
    }


def shell(script):
    return ["sh", "-c", script]


def field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"COLOUR": "red", "file.conf": "a=1\n"},
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys"},
    "stringData": {"password": "s3cret"},
    "data": {"binary": "AP8K"},
}
# A pod that shows what it was given.
GIVEN = pod(
    "given",
    {"name": "settings", "configMap": {"name": "settings"}},
    {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
    {"name": "about", "downwardAPI": {"items": [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
    ]}},
    {"name": "scratch", "emptyDir": {}},
    init=[
        {"name": "one", "image": "host", "command": shell("echo one >> /scratch/order"),
         "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
        {"name": "two", "image": "host", "command": shell("echo two >> /scratch/order"),
         "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
    ],
    volumeMounts=[
        {"name": "settings", "mountPath": "/etc/settings"},
        {"name": "keys", "mountPath": "/etc/keys", "readOnly": True},
        {"name": "about", "mountPath": "/etc/about"},
        {"name": "scratch", "mountPath": "/scratch"},
    ],
    envFrom=[{"prefix": "SET_", "configMapRef": {"name": "settings"}}],
    env=[
        field("NAME", "metadata.name"), field("PLACE", "metadata.namespace"), field("UID_", "metadata.uid"),
        field("IP", "status.podIP"), field("HOST", "status.hostIP"), field("NODE", "spec.nodeName"),
        field("ACCOUNT", "spec.serviceAccountName"), field("APP", "metadata.labels['app']"),
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "JOINED", "value": "$(NAME)-$(APP)-$$(NAME)"},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "none", "optional": True}}},
    ],
    resources={"limits": {"memory": "64Mi"}},
)  # fmt: skip
TALKER = pod("talker", command=shell("for n in 1 2 3 4 5; do echo line $n; done; echo bad >&2; exec sleep 3600"))
# Ends by itself once; the second time it stays.
ONCE = pod(
    "once",
    {"name": "scratch", "emptyDir": {}},
    command=shell(
        "if [ -e /scratch/been ]; then echo again; exec sleep 3600; fi; touch /scratch/been; echo first; exit 3"
    ),
    volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
)
SICK = pod("sick", livenessProbe={"exec": {"command": ["test", "!", "-e", "/tmp/of-the-test-sick"]}, "periodSeconds": 1,
                                  "timeoutSeconds": 60, "failureThreshold": 1})  # fmt: skip
WEB = pod("web", command=["python3", "-u", "-m", "http.server", "8080", "--directory", "/etc/settings"],
          readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
          volumeMounts=[{"name": "settings", "mountPath": "/etc/settings"}],
          spec={"volumes": [{"name": "settings", "configMap": {"name": "settings"}}]})  # fmt: skip
INIT_FAILS = pod("init-fails", init=[{"name": "one", "image": "host", "command": shell("echo no; exit 1")}],
                 spec={"restartPolicy": "Never"})  # fmt: skip
DONE = pod("done", command=shell("echo bye > /dev/termination-log; exit 4"), spec={"restartPolicy": "Never"})


class House:
    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace

    def kubectl(self, *argv, text=""):
        return self.cluster.kubectl("-n", self.namespace, *argv, text=text)

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def ready(self, *pods):
        self.kubectl("wait", "--for=condition=Ready", *[f"pod/{name}" for name in pods], "--timeout=100s")

    def pod(self, name):
        return self.cluster.get("pod", name, "-n", self.namespace)

    def container(self, name):
        return (self.pod(name)["status"].get("containerStatuses") or [{"restartCount": 0, "state": {}}])[0]

    def run(self, pod, *command, text=""):
        return self.kubectl("exec", *(["-i"] if text else []), pod, "--", *command, text=text)

    def ended(self, *argv, text=""):
        """A kubectl command that may fail, to its end."""
        return self.cluster.run("kubectl", "-n", self.namespace, *argv, check=False, text=text)

    @contextlib.contextmanager
    def running(self, *argv):
        """A kubectl command under way, its output a pipe; ended at the end of the block."""
        process = subprocess.Popen(
            [str(BIN / "kubectl"), "-n", self.namespace, *argv],
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def house(cluster, namespace):
    found = House(cluster, namespace)
    found.apply(CONFIG, SECRET)
    found.apply(GIVEN, TALKER, ONCE, SICK, WEB, INIT_FAILS, DONE)
    found.ready("given", "talker", "sick", "web")
    return found


# what a container is given


def test_downward_api_and_configuration_as_environment(house):
    found = dict(line.split("=", 1) for line in house.run("given", "env").splitlines() if "=" in line)
    pod = house.pod("given")
    assert (found["NAME"], found["PLACE"], found["APP"]) == ("given", house.namespace, "given")
    assert (found["UID_"], found["NODE"]) == (pod["metadata"]["uid"], pod["spec"]["nodeName"])
    assert (found["IP"], found["HOST"]) == (pod["status"]["podIP"], pod["status"]["hostIP"])
    assert (found["ACCOUNT"], found["PASSWORD"], found["MEMORY"]) == ("default", "s3cret", "64")
    assert (found["JOINED"], found["SET_COLOUR"]) == ("given-given-$(NAME)", "red")
    assert "NONE" not in found


def test_configuration_as_files(house):
    assert house.run("given", "cat", "/etc/settings/file.conf") == "a=1\n"
    assert house.run("given", "cat", "/etc/keys/password") == "s3cret"
    assert house.run("given", "od", "-An", "-tx1", "/etc/keys/binary").split() == ["00", "ff", "0a"]
    assert house.run("given", "stat", "-L", "-c", "%a", "/etc/keys/password").strip() == "400"
    assert house.run("given", "cat", "/etc/about/labels").strip() == 'app="given"'
    assert 'build="7"' in house.run("given", "cat", "/etc/about/annotations")


def test_updates_of_configuration_reach_the_volume(house):
    house.kubectl("patch", "configmap", "settings", "-p", '{"data": {"file.conf": "a=2\\n", "more": "x"}}')
    house.cluster.until(
        lambda: house.run("given", "cat", "/etc/settings/file.conf") == "a=2\n", seconds=90, what="the file follows"
    )
    assert house.run("given", "cat", "/etc/settings/more") == "x"


def test_updates_of_labels_and_annotations_reach_the_volume(house):
    house.kubectl("label", "pod", "given", "colour=blue")
    house.kubectl("annotate", "pod", "given", "note=hello")
    for file, line in (("labels", 'colour="blue"'), ("annotations", 'note="hello"')):
        house.cluster.until(
            lambda file=file, line=line: line in house.run("given", "cat", f"/etc/about/{file}"),
            seconds=90,
            what=f"{file} follow",
        )


@pytest.mark.parametrize("volume", ["settings", "keys", "about"])
def test_what_the_kubelet_writes_is_read_only_in_the_pod(house, volume):
    tried = house.run("given", "sh", "-c", f"touch /etc/{volume}/new 2>&1; true")
    assert "Read-only file system" in tried


def test_init_containers_run_in_order_before_the_others(house):
    assert house.run("given", "cat", "/scratch/order") == "one\ntwo\n"
    states = house.pod("given")["status"]["initContainerStatuses"]
    assert [state["state"]["terminated"]["exitCode"] for state in states] == [0, 0]
    house.cluster.until(lambda: house.pod("init-fails")["status"]["phase"] == "Failed", what="the pod fails")
    status = house.pod("init-fails")["status"]
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 1
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    assert house.kubectl("logs", "init-fails", "-c", "one") == "no\n"


def test_a_termination_message_and_exit_code_are_told(house):
    house.cluster.until(lambda: house.pod("done")["status"]["phase"] == "Failed", what="the pod ends")
    ended = house.container("done")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (4, "Error", "bye\n")


def test_an_empty_dir_outlives_its_container_but_not_its_pod(house):
    house.cluster.until(lambda: house.container("once")["restartCount"] == 1, what="the container starts again")
    house.ready("once")
    assert house.kubectl("logs", "once") == "again\n"
    assert house.kubectl("logs", "once", "--previous") == "first\n"
    assert house.container("once")["lastState"]["terminated"]["exitCode"] == 3
    house.kubectl("delete", "pod", "given", "--wait")
    house.apply(GIVEN)
    house.ready("given")
    assert house.run("given", "cat", "/scratch/order") == "one\ntwo\n"


def test_a_failed_liveness_probe_restarts_the_container(house):
    assert house.container("sick")["restartCount"] == 0
    house.run("sick", "touch", "/tmp/of-the-test-sick")
    house.cluster.until(lambda: house.container("sick")["restartCount"] >= 1, what="the container is restarted")
    told = house.kubectl("describe", "pod", "sick")
    assert re.search(r"Warning +Unhealthy .*Liveness probe failed", told)
    assert re.search(r"Normal +Killing .*failed liveness probe, will be restarted", told)


# the end of a pod


def test_pre_stop_runs_before_the_signal_and_grace_is_kept(house):
    script = "trap 'echo signal; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    hooks = {"preStop": {"exec": {"command": shell("echo hook > /proc/1/fd/1")}}}
    house.apply(pod("polite", command=shell(script), lifecycle=hooks, spec={"terminationGracePeriodSeconds": 20}))
    house.ready("polite")
    with house.running("logs", "-f", "polite") as follower:
        assert follower.stdout.readline() == "up\n"
        house.kubectl("delete", "pod", "polite")
        assert follower.stdout.read() == "hook\nsignal\n"
        assert follower.wait(60) == 0


def test_who_ignores_the_signal_is_ended_after_the_grace(house):
    house.apply(pod("deaf", command=shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done")))
    house.ready("deaf")
    house.cluster.until(lambda: house.kubectl("logs", "deaf") == "deaf\n", what="it has set its trap")
    house.kubectl("delete", "pod", "deaf", "--grace-period=1", "--timeout=100s")
    assert "deaf" not in house.kubectl("get", "pods", "-o", "name")


# kubectl's ways in


def test_logs_whole_tail_and_since(house):
    house.cluster.until(lambda: "bad" in house.kubectl("logs", "talker"), what="all is written")
    assert house.kubectl("logs", "talker").splitlines() == [f"line {n}" for n in range(1, 6)] + ["bad"]
    assert house.kubectl("logs", "talker", "--tail=2").splitlines() == ["line 5", "bad"]
    assert house.kubectl("logs", "talker", "--tail=0") == ""
    assert house.kubectl("logs", "talker", "--limit-bytes=6") == "line 1"
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z line 1\n", house.kubectl("logs", "talker", "--timestamps"))
    assert len(house.kubectl("logs", "-l", "app=talker", "--prefix").splitlines()) == 6
    assert "not found" in house.cluster.refused("logs", "talker", "--previous", "-n", house.namespace)
    assert "container other is not valid" in house.cluster.refused(
        "logs", "talker", "-c", "other", "-n", house.namespace
    )


def test_logs_are_followed(house):
    script = "echo one; while [ ! -e /tmp/of-the-test-go ]; do sleep 0.1; done; echo two; echo three"
    house.apply(pod("speaker", command=shell(script), spec={"restartPolicy": "Never"}))
    house.ready("speaker")
    with house.running("logs", "-f", "speaker") as follower:
        assert follower.stdout.readline() == "one\n"
        house.run("speaker", "touch", "/tmp/of-the-test-go")
        assert follower.stdout.read() == "two\nthree\n"
        assert follower.wait(60) == 0
    house.cluster.until(lambda: house.pod("speaker")["status"]["phase"] == "Succeeded", what="the pod is done")


def test_exec_stdin_output_and_exit_codes(house):
    assert house.run("talker", "cat", text="a line\nand more") == "a line\nand more"
    assert house.run("talker", "wc", "-c", text="x" * 300_000).strip() == "300000"
    done = house.ended("exec", "talker", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (done.returncode, done.stdout) == (42, "out\n")
    assert done.stderr == "err\ncommand terminated with exit code 42\n"
    assert house.ended("exec", "talker", "--", "sh", "-c", "kill -9 $$").returncode == 137
    missing = house.ended("exec", "talker", "--", "no-such-command")
    assert missing.returncode != 0
    assert "no-such-command" in missing.stderr
    assert "not found" in house.cluster.refused("exec", "nobody", "-n", house.namespace, "--", "true")
    size = len(house.run("talker", "head", "-c", "3000000", "/dev/zero"))
    assert size == 3_000_000


def test_an_exec_sees_the_pod_and_not_the_host(house):
    assert house.run("talker", "hostname").strip() == "talker"
    pids = house.run("talker", "sh", "-c", "echo /proc/[0-9]*").split()
    assert len(pids) < 10
    house.run("talker", "sh", "-c", "echo mine > /tmp/of-the-test-only-here")
    assert house.ended("exec", "given", "--", "test", "-e", "/tmp/of-the-test-only-here").returncode == 1


def test_copies_in_and_out(house, tmp_path):
    tree = tmp_path / "in"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "a.bin").write_bytes(bytes(range(256)) * 400)
    house.kubectl("cp", str(tree), "talker:/tmp/of-the-test-copied")
    assert house.run("talker", "wc", "-c", "/tmp/of-the-test-copied/deep/a.bin").split()[0] == "102400"
    house.kubectl("cp", "talker:tmp/of-the-test-copied", str(tmp_path / "out"))
    assert (tmp_path / "out" / "deep" / "a.bin").read_bytes() == bytes(range(256)) * 400


def test_attach_shows_what_a_container_says(house):
    script = "while [ ! -e /tmp/of-the-test-go ]; do echo tick; sleep 0.1; done"
    house.apply(pod("ticker", command=shell(script), spec={"restartPolicy": "Never"}))
    house.ready("ticker")
    with house.running("attach", "ticker") as watcher:
        assert watcher.stdout.readline() == "tick\n"
        house.run("ticker", "touch", "/tmp/of-the-test-go")
        watcher.stdout.read()
        assert watcher.wait(60) == 0


def test_a_port_of_a_pod_is_forwarded(house):
    with house.running("port-forward", "pod/web", ":8080") as tunnel:
        port = int(re.search(r"127\.0\.0\.1:(\d+) -> 8080", tunnel.stdout.readline())[1])
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
                one.sendall(b"GET /COLOUR HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda one=one: one.recv(65536), b""))
            assert answer.endswith(b"\r\n\r\nred")


def test_a_pod_and_a_service_through_the_proxy_of_the_api_server(house):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    house.apply(service)
    base = f"/api/v1/namespaces/{house.namespace}"
    assert house.kubectl("get", "--raw", f"{base}/pods/web:8080/proxy/COLOUR") == "red"
    house.cluster.until(
        lambda: house.ended("get", "--raw", f"{base}/services/web:http/proxy/COLOUR").stdout == "red",
        what="the service answers",
    )
