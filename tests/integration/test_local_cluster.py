"""`up` and `down` as a user meets them: again, after a crash, side by side, and where they cannot work."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pybernetes import local
from support.local import BIN, Local, alive, container_processes, leftovers

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

PR_CAPBSET_DROP = 24
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21

POD = """
apiVersion: v1
kind: Pod
metadata: {name: sleeper}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: host, command: [sleep, "3600"]}]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def cluster(root):
    local = Local("test-local", root)
    try:
        local.pybernetes("up", "--nodes", "2")
        yield local
    finally:
        local.pybernetes("down", check=False)


def started(local, name):
    status = local.get("pod", name)["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def test_up_twice_is_one_cluster(cluster):
    before = cluster.processes()
    again = cluster.pybernetes("up", "--nodes", "2")
    assert "is known" in again.stderr
    assert cluster.processes() == before


def test_the_kubeconfig_is_printed_again_and_private(cluster):
    path = Path(cluster.pybernetes("kubeconfig").stdout.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert "node-1" in cluster.kubectl("--kubeconfig", str(path), "get", "nodes")


def test_private_keys_are_private(cluster):
    keys = [path for path in Path(cluster.root, "state").rglob("*") if path.suffix == ".key"]
    assert keys
    assert [path for path in keys if path.stat().st_mode & 0o077] == []


def test_a_crash_of_server_and_agent_loses_nothing_and_up_mends_it(cluster):
    cluster.kubectl("apply", "-f", "-", text=POD)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=100s")
    before = started(cluster, "sleeper")
    node = cluster.get("pod", "sleeper")["spec"]["nodeName"]
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    pids = cluster.processes()
    for part in ("server", node):
        os.kill(pids[part], signal.SIGKILL)
    cluster.until(lambda: cluster.pybernetes("status", check=False).returncode == 1, what="status shows the crash")
    cluster.pybernetes("up")
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    assert cluster.pybernetes("status").returncode == 0
    cluster.kubectl("exec", "sleeper", "--", "true")
    assert started(cluster, "sleeper") == before


def test_a_pod_deleted_while_its_agent_was_away_is_ended(cluster):
    cluster.kubectl("apply", "-f", "-", text=POD.replace("sleeper", "orphan"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/orphan", "--timeout=100s")
    node = cluster.get("pod", "orphan")["spec"]["nodeName"]
    os.kill(cluster.processes()[node], signal.SIGKILL)
    cluster.kubectl("delete", "pod", "orphan", "--force", "--grace-period=0")
    cluster.pybernetes("up")
    cluster.until(lambda: not processes_of("orphan"), what="the orphan's processes end")


def processes_of(pod):
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOSTNAME={pod}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_two_clusters_side_by_side(cluster, root):
    other = Local("test-other", root)
    try:
        other.pybernetes("up", "--nodes", "1")
        mine = cluster.get("service", "kubernetes")["spec"]["clusterIP"]
        theirs = other.get("service", "kubernetes")["spec"]["clusterIP"]
        assert mine != theirs
        assert len(other.get("nodes")["items"]) == 1
    finally:
        other.pybernetes("down", check=False)
    assert len(cluster.get("nodes")["items"]) == 2


def test_a_range_in_use_is_named_and_nothing_is_built(cluster, root):
    taken = json.loads(Path(root, "state/test-local/cluster.json").read_bytes())["pod_range"]
    other = Local("test-clash", root)
    try:
        done = other.pybernetes("up", "--pod-range", taken, "--nodes", "1", check=False)
    finally:
        other.pybernetes("down", check=False)
    assert done.returncode == 1
    assert f"{taken} is in use" in done.stderr
    assert not Path(root, "state/test-clash").exists()


AS_NOBODY = """
import os
from pybernetes.app import local, main  # before the change: the interpreter may be in root's home
from pybernetes.cli import Progress
os.setresuid(65534, 65534, 65534)
main.main(["up"])
"""


def test_not_root_is_a_message():
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "run it as root" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        (CAP_NET_ADMIN, "the kernel cannot do veth pairs and bridges"),
        (CAP_SYS_ADMIN, "no network namespace can be made"),
    ],
)
def test_a_missing_capability_is_named_and_nothing_is_built(tmp_path, capability, words):
    other = Local("test-less", tmp_path)

    def drop():
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0

    done = subprocess.run(
        [BIN / "pybernetes", "up", "--name", "test-less"],
        env=other.environment, preexec_fn=drop, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_down_leaves_nothing(cluster, root):
    cluster.kubectl("apply", "-f", "-", text=POD.replace("sleeper", "left-running"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/left-running", "--timeout=100s")
    layout = local.find("test-local", state_root=str(root / "state"))
    processes = container_processes(cluster.get("service", "kubernetes")["spec"]["clusterIP"])
    groups = cgroups()
    assert layout
    assert processes
    down = cluster.pybernetes("down")
    assert "nothing of it is left" in down.stderr
    assert leftovers(layout, root) == []
    assert [pid for pid in processes if alive(Path(f"/proc/{pid}"))] == []
    assert [path for part in ("state", "run", "log") for path in Path(root, part).glob("test-*")] == []
    assert cgroups() < groups or not groups
    assert cluster.pybernetes("down").returncode == 0


def cgroups():
    """The control groups of all nodes on this machine."""
    return {path.name for path in Path("/sys/fs/cgroup").glob("*/pybernetes/*") if path.is_dir()}
