"""A machine joins a running cluster by what `pybernetes token create --print-join-command` prints, and works there."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from pybernetes import local
from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links
from support.local import BIN, Local

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

NODE = "joiner"
WEB = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  nodeName: ON
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: host
    command: [python3, -m, http.server, "8080"]
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: 80, targetPort: 8080}]
---
"""
FETCH = "import urllib.request as u; print(u.urlopen('http://{}', timeout=30).status)"


class Machine:
    """On the cluster's network, and with nothing of the cluster: a namespace with an address."""

    def __init__(self, cluster: Local, root: Path) -> None:
        self.cluster = cluster
        self.state = f"{root}/{NODE}/state"
        self.run = f"{root}/{NODE}/run"
        self.log = root / f"{NODE}.log"
        layout = local.find(cluster.name, state_root=f"{root}/state")
        assert layout is not None
        self.layout = layout
        self.namespace = f"{root}/run/{cluster.name}/netns/{NODE}"
        self.address = f"{layout.gateways[0].rpartition('.')[0]}.99"
        self.agent: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        namespaces.create(self.namespace)
        with Links(self.layout.switch) as switch, Links(self.namespace) as inside:
            inside.up("lo")
            switch.add_veth(NODE, "eth0", peer_namespace=self.namespace, master="br0")
            switch.up(NODE)
            inside.add_address("eth0", f"{self.address}/24")
            inside.up("eth0")
            inside.add_route(self.layout.service_range, via=self.layout.gateways[0])  # a default route's part
        sysctl.write("net.ipv4.ip_forward", "1", namespace=self.namespace)

    def start(self, *flags: str) -> None:
        """Run an agent there, with the machine's own directories and these flags."""
        argv = [str(BIN / "pybernetes"), "agent", "--node-name", NODE]
        argv += ["--state-directory", self.state, "--run-directory", self.run, *flags]
        with self.log.open("ab") as output:
            self.agent = namespaces.run_in(
                self.namespace, lambda: subprocess.Popen(argv, stdout=output, stderr=output, env=os.environ)
            )

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.terminate()
            self.agent.wait(60)
            self.agent = None

    def unplug(self) -> None:
        from pybernetes.kubelet import remove_everything

        self.stop()
        remove_everything(Path(self.state), Path(self.run))
        namespaces.delete(self.namespace)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("join")


@pytest.fixture(scope="module")
def cluster(root):
    made = Local("test-join", root)
    try:
        made.pybernetes("up", "--nodes", "1")
        yield made
    finally:
        made.pybernetes("down", check=False)


@pytest.fixture(scope="module")
def machine(cluster, root):
    made = Machine(cluster, root)
    try:
        made.plug_in()
        yield made
    finally:
        made.unplug()


def ready(cluster, name=NODE):
    done = cluster.run(str(BIN / "kubectl"), "get", "node", name, "-o", "json", check=False)
    conditions = json.loads(done.stdout)["status"].get("conditions", ()) if done.returncode == 0 else ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def told(cluster, pod, *argv):
    """What a command in a pod says; "" while it fails."""
    return cluster.run(str(BIN / "kubectl"), "exec", pod, "--", *argv, check=False).stdout.strip()


def test_a_machine_joins_by_the_printed_command(cluster, machine):
    line = cluster.pybernetes("token create", "--print-join-command").stdout
    program, command, *flags = shlex.split(line)
    assert (program, command) == ("pybernetes", "agent")
    machine.start(*flags)
    cluster.until(lambda: ready(cluster), what=f"{NODE} is Ready")
    keys = [path for path in Path(machine.state, "pki").iterdir() if path.suffix in (".kubeconfig", ".pem")]
    assert len(keys) >= 3
    assert [path for path in keys if path.stat().st_mode & 0o077] == []
    signed = cluster.get("csr")["items"]
    assert {one["spec"]["signerName"].rpartition("/")[2] for one in signed} >= {
        "kube-apiserver-client-kubelet",
        "node-component-client",
    }


def test_pods_there_are_reached_by_service_from_the_other_node_and_back(cluster, machine):
    there, here = WEB.replace("NAME", "there").replace("ON", NODE), WEB.replace("NAME", "here").replace("ON", "node-1")
    cluster.kubectl("apply", "-f", "-", text=there + here)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/there", "pod/here", "--timeout=100s")

    def fetched(pod, service):
        done = cluster.run(str(BIN / "kubectl"), "exec", pod, "--", "python3", "-c", FETCH.format(service), check=False)
        return done.stdout.strip() == "200"

    cluster.until(lambda: fetched("here", "there"), what="node-1 reaches the new node")
    cluster.until(lambda: fetched("there", "here"), what="the new node reaches node-1, by its own DNS")
    assert "HTTP" in cluster.kubectl("logs", "there")  # by the serving certificate that was asked for


def test_it_stays_without_the_token_and_its_pods_run_on(cluster, machine):
    before = cluster.get("pod", "there")["status"]["containerStatuses"][0]["containerID"]
    tokens = cluster.pybernetes("token list").stdout.splitlines()[1:]
    for row in tokens:
        cluster.pybernetes("token delete", row.split()[0])
    machine.stop()
    machine.start()
    cluster.until(lambda: machine.said().count("joined node=") == 1 and ready(cluster), what="it is back")
    cluster.until(lambda: told(cluster, "there", "echo", "on") == "on", what="exec works")
    assert cluster.get("pod", "there")["status"]["containerStatuses"][0]["containerID"] == before


def test_a_wrong_hash_or_token_is_refused_with_a_word(cluster, machine):
    line = cluster.pybernetes("token create", "--print-join-command").stdout
    flags = shlex.split(line)[2:]
    wrong = [one.replace("sha256:", "sha256:00") if one.startswith("sha256:") else one for one in flags]
    other = machine.state + "-other"
    argv = ["agent", "--node-name", "other", "--state-directory", other]

    def run(given):
        return namespaces.run_in(
            machine.namespace,
            lambda: subprocess.run(
                [str(BIN / "pybernetes"), *argv, *given], capture_output=True, text=True, timeout=60, check=False
            ),
        )

    refused = run(wrong)
    assert refused.returncode == 1
    assert "does not show an authority of the given hash" in refused.stderr
    stale = run([one if "." not in one or ":" in one else "abcdef.0123456789abcdef" for one in flags])
    assert stale.returncode == 1
    assert "the token is not taken" in stale.stderr
