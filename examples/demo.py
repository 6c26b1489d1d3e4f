"""The story of pybernetes, told with the real kubectl: a service called by name from every node, whatever happens.

Run it as root: `make demo`, or `python examples/demo.py [--name demo] [--keep] [--quiet]`.
"""

import argparse
import collections
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from stage import Calls, Endpoints, Failed, Stage

NAMESPACE = "kube-system"
SERVICE = "web-server-service"
HEALTHZ = "/api/v1/healthz"
ANSWER = {"status": {"code": 0, "msg": "success"}, "data": "success"}
FULL_NAME = f"http://{SERVICE}.{NAMESPACE}.svc.cluster.local:80{HEALTHZ}"
EXAMPLES = Path(__file__).resolve().parent


class Story:
    """The steps in order; each leaves the cluster as the next expects it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.callers: dict[str, str] = {}
        self.api_address = ""

    # looking

    def pods(self, app: str = "web-server") -> list[Any]:
        found: list[Any] = self.stage.objects("pods", "-n", NAMESPACE, "-l", f"app={app}")["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def endpoints(self) -> dict[str, str]:
        """Ready addresses of the Service, with the pod behind each."""
        label = f"kubernetes.io/service-name={SERVICE}"
        slices = self.stage.objects("endpointslices", "-n", NAMESPACE, "-l", label)["items"]
        return {
            endpoint["addresses"][0]: endpoint["targetRef"]["name"]
            for one in slices
            for endpoint in one.get("endpoints") or []
            if endpoint["conditions"].get("ready", True)
        }

    def told(self, node: str, revision: int) -> float:
        """When a node's rules have come as far as this resourceVersion; 0 until then."""
        applied = fetch(f"http://{self.node_addresses()[node]}:10256/applied")["endpoint_slices"]
        return time.time() if int(applied or 0) >= revision else 0.0

    def left(self, watched: Endpoints, pods: set[str], *, node: str, what: str) -> float:
        """Wait until these pods are no endpoints any more, and a node's rules say so; when that was."""
        revision = self.stage.until(what, lambda: watched.without(pods), seconds=90)
        return self.stage.until(f"{node} knows it", lambda: self.told(node, revision), seconds=60)

    def node_addresses(self) -> dict[str, str]:
        return {
            node["metadata"]["name"]: next(
                a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"
            )
            for node in self.stage.objects("nodes")["items"]
        }

    def call(self, node: str, url: str) -> Any:
        output = self.stage.kubectl(
            "exec", "-n", NAMESPACE, self.callers[node], "--", "curl", "-sS", "-m", "5", url, show=False
        )
        return json.loads(output)

    def spread(self, node: str, count: int) -> collections.Counter[str]:
        """Which pod answered each of so many calls from a node's caller."""
        script = f"for i in $(seq {count}); do curl -s -m 5 -o /dev/null -D - {FULL_NAME} | grep -i '^x-pod:'; done"
        output = self.stage.kubectl("exec", "-n", NAMESPACE, self.callers[node], "--", "sh", "-c", script, show=False)
        return collections.Counter(line.split()[1] for line in output.splitlines() if line.strip())

    # the story

    def up(self) -> None:
        stage = self.stage
        with stage.step("A cluster of three nodes comes up"):
            stage.pybernetes("up", "--name", stage.name, "--nodes", "3")
            stage.environment["KUBECONFIG"] = stage.pybernetes("kubeconfig", "--name", stage.name).strip()
            nodes = stage.kubectl("get", "nodes", "-o", "wide")
            stage.check("three nodes are Ready", nodes.count(" Ready ") == 3)
            stage.kubectl("version")
            self.api_address = stage.objects("service", "kubernetes")["spec"]["clusterIP"]

    def deploy(self) -> None:
        stage = self.stage
        with stage.step("Manifests are applied"):
            stage.kubectl("apply", "-f", str(EXAMPLES / "web-server"))
            stage.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/web-server", "--timeout=100s")
            stage.kubectl("rollout", "status", "-n", NAMESPACE, "daemonset/rest-server-ver2-ds", "--timeout=100s")
            again = stage.kubectl("apply", "-f", str(EXAMPLES / "web-server"), show=False)
            stage.check("a second apply changes nothing", "configured" not in again and "created" not in again, again)
            self.callers = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in self.pods("rest-server-ver2")}
            stage.check("one caller runs on each node", len(self.callers) == 3, ", ".join(sorted(self.callers)))

    def look(self) -> None:
        stage = self.stage
        with stage.step("kubectl shows what runs"):
            stage.kubectl("get", "pods,svc,endpointslices", "-n", NAMESPACE, "-o", "wide")
            described = stage.kubectl("describe", "service", SERVICE, "-n", NAMESPACE)
            for row in ("Name:", "Namespace:", "Type:", "ClusterIP", "IP:", "Port:", "TargetPort:",
                        "web-server-port/TCP", "Endpoints:", "Session Affinity:", "Events:"):  # fmt: skip
                stage.check(f"describe service shows {row}", row in described)
            stage.until("three endpoints are ready", lambda: len(self.endpoints()) == 3, seconds=60)

    def by_name(self) -> None:
        stage = self.stage
        with stage.step("The service is called by name from every node"):
            names = [FULL_NAME, f"http://{SERVICE}.{NAMESPACE}.svc{HEALTHZ}", f"http://{SERVICE}.{NAMESPACE}{HEALTHZ}",
                     f"http://{SERVICE}{HEALTHZ}"]  # fmt: skip
            stage.say(f"   $ kubectl exec -n {NAMESPACE} <caller on each node> -- curl {FULL_NAME}")
            for node in sorted(self.callers):
                for url in names:
                    right = lambda node=node, url=url: self.call(node, url) == ANSWER  # noqa: E731
                    stage.until(f"{node}: {url}", right, seconds=60)
            total: collections.Counter[str] = collections.Counter()
            for node in sorted(self.callers):
                total += self.spread(node, 100)
            running = {pod["metadata"]["name"] for pod in self.pods()}
            shown = ", ".join(f"{pod} {count}" for pod, count in sorted(total.items()))
            stage.check("300 calls all answered", total.total() == 300, shown)
            stage.check("they were spread over all pods", set(total) == running and min(total.values()) > 50)

    def node_port(self) -> None:
        stage = self.stage
        with stage.step("As NodePort, from outside, on every node"):
            stage.kubectl("scale", "-n", NAMESPACE, "deployment/web-server", "--replicas=2")
            stage.until("two endpoints are left", lambda: len(self.endpoints()) == 2, seconds=60)
            stage.kubectl("patch", "service", SERVICE, "-n", NAMESPACE, "-p", '{"spec": {"type": "NodePort"}}')
            port = stage.objects("service", SERVICE, "-n", NAMESPACE)["spec"]["ports"][0]["nodePort"]
            hosts = {pod["spec"]["nodeName"] for pod in self.pods()}
            for node, address in sorted(self.node_addresses().items()):
                url = f"http://{address}:{port}{HEALTHZ}"
                note = "has a pod of it" if node in hosts else "has no pod of it"
                answer = stage.until(f"{node} ({note}): {url}", lambda url=url: fetch(url), seconds=60)
                stage.check("with the right answer", answer == ANSWER)

    def scale(self) -> None:
        stage = self.stage
        with stage.step("Scaled to five, the new ones take traffic"):
            stage.kubectl("scale", "-n", NAMESPACE, "deployment/web-server", "--replicas=5")
            stage.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/web-server", "--timeout=100s")
            stage.until("five endpoints are ready", lambda: len(self.endpoints()) == 5, seconds=60)
            seen = self.spread(sorted(self.callers)[0], 150)
            stage.check("all five answer", len(seen) == 5, ", ".join(f"{p} {n}" for p, n in sorted(seen.items())))

    def kill(self) -> None:
        stage = self.stage
        with stage.step("A server process is killed with -9"):
            victim = self.pods()[0]
            name = victim["metadata"]["name"]
            before = restarts(victim)
            node, caller = next((node, pod) for node, pod in self.callers.items() if node != victim["spec"]["nodeName"])
            calls = Calls(stage, pod=caller, namespace=NAMESPACE, url=FULL_NAME, seconds=300)
            watched = Endpoints(stage, service=SERVICE, namespace=NAMESPACE)
            try:
                stage.until("calls are under way", lambda: len(calls.results) > 20 and watched.states, seconds=60)
                process = find_process(name)
                stage.say(f"   $ kill -9 {process}   # the server of {name}")
                kill(process)
                left = self.left(watched, {name}, node=node, what="it leaves the endpoints")
                stage.until("its container is restarted", lambda: restarts(self.pod(name)) > before, seconds=60)
                stage.until("it returns to the endpoints", lambda: name in self.endpoints().values(), seconds=60)
                stage.until("calls went on", lambda: calls.after(left + 0.2)[0] > 50, seconds=60)
            finally:
                calls.stop()
                watched.stop()
            count, errors = calls.after(left + 0.2)
            stage.check("no call failed once it had left", errors == 0, f"{count} calls, {errors} errors")
            stage.kubectl("get", "pods", "-n", NAMESPACE, "-l", "app=web-server")

    def pod(self, name: str) -> Any:
        return self.stage.objects("pod", name, "-n", NAMESPACE)

    def delete(self) -> None:
        stage = self.stage
        with stage.step("A deleted pod is replaced"):
            old = {pod["metadata"]["name"] for pod in self.pods()}
            name = sorted(old)[0]
            stage.kubectl("delete", "pod", name, "-n", NAMESPACE)
            stage.until(
                "a new pod takes its place", lambda: {p["metadata"]["name"] for p in self.pods()} - old, seconds=60
            )
            stage.until("five endpoints are ready", lambda: len(self.endpoints()) == 5, seconds=60)

    def cut(self) -> None:
        stage = self.stage
        with stage.step("A node is cut off, and returns"):
            lost = next(
                node for node in sorted(self.callers) if any(p["spec"]["nodeName"] == node for p in self.pods())
            )
            there = {pod["metadata"]["name"] for pod in self.pods() if pod["spec"]["nodeName"] == lost}
            near, caller = next((node, pod) for node, pod in self.callers.items() if node != lost)
            calls = Calls(stage, pod=caller, namespace=NAMESPACE, url=FULL_NAME, seconds=300)
            watched = Endpoints(stage, service=SERVICE, namespace=NAMESPACE)
            try:
                stage.until("calls are under way", lambda: len(calls.results) > 20 and watched.states, seconds=60)
                stage.pybernetes("node", "isolate", lost, "--name", stage.name)
                stage.until(f"{lost} is NotReady", lambda: not self.ready(lost), seconds=90)
                left = self.left(watched, there, node=near, what="its pods leave the endpoints")
                stage.kubectl("get", "nodes")
                after = left + Calls.SECONDS + 0.2  # those that had begun before have ended then
                stage.until("calls from the other nodes go on", lambda: calls.after(after)[0] > 50, seconds=60)
                count, errors = calls.after(after)
                stage.check("without an error", errors == 0, f"{count} calls, {errors} errors")
                stage.pybernetes("node", "connect", lost, "--name", stage.name)
                stage.until(f"{lost} is Ready again", lambda: self.ready(lost), seconds=90)
                stage.until("its pods are endpoints again", lambda: there <= set(self.endpoints().values()), seconds=60)
            finally:
                calls.stop()
                watched.stop()
            stage.until("its caller calls again", lambda: self.call(lost, FULL_NAME) == ANSWER, seconds=60)

    def ready(self, name: str) -> bool:
        conditions = self.stage.objects("node", name)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def down(self) -> None:
        stage = self.stage
        with stage.step("Down: nothing is left"):
            processes = set(cluster_processes(self.api_address))
            stage.pybernetes("down", "--name", stage.name)
            stage.check(
                "no process is left",
                not [pid for pid in processes if Path(f"/proc/{pid}/cmdline").exists() and alive(pid)],
            )
            stage.check(
                "no mount is left", f"/pybernetes/{stage.name}/" not in Path("/proc/self/mountinfo").read_text()
            )
            for directory in ("/var/lib/pybernetes", "/run/pybernetes", "/var/log/pybernetes"):
                stage.check(f"{directory}/{stage.name} is gone", not Path(directory, stage.name).exists())

    def tell(self) -> None:
        for step in (self.up, self.deploy, self.look, self.by_name, self.node_port, self.scale, self.kill,
                     self.delete, self.cut):  # fmt: skip
            step()


def fetch(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)
    except OSError as error:
        raise Failed(f"{url}: {error}") from error


def restarts(pod: Any) -> int:
    return sum(int(status["restartCount"]) for status in pod["status"].get("containerStatuses") or [])


def find_process(pod: str) -> int:
    """The pid, on this machine, of the web server of a pod: by its environment, as the kubelet gave it."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"HOSTNAME={pod}".encode() in environment and b"app.py" in command:
            return int(entry.name)
    raise Failed(f"no process of pod {pod} found")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def cluster_processes(api_address: str) -> list[int]:
    """The pids of the processes in this cluster's pods: they know its API server's address."""
    if not api_address:
        return []
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"KUBERNETES_SERVICE_HOST={api_address}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="demo", help="the cluster's name")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, also after a failure")
    parser.add_argument("--quiet", action="store_true", help="show the table only")
    options = parser.parse_args()
    stage = Stage(name=options.name, quiet=options.quiet)
    story = Story(stage)
    failed = ""
    try:
        story.tell()
    except Exception as error:  # noqa: BLE001 - told below, and the exit status says it
        failed = f"{type(error).__name__}: {error}"
    if options.keep:
        print(f"\nThe cluster is still up: export KUBECONFIG={stage.environment.get('KUBECONFIG', '')}")
    else:
        if failed:
            kept = Path(f"/tmp/pybernetes-demo-logs-{int(time.time())}")
            keep_logs(stage.name, kept)
            failed += f"\nThe logs are in {kept}"
        try:
            story.down()
        except Exception as error:  # noqa: BLE001 - as above
            failed += f"\n{type(error).__name__}: {error}"
    print("\n" + stage.table())
    if failed:
        print(f"\nThe demo failed: {failed}", file=sys.stderr)
    return 1 if failed else 0


def keep_logs(name: str, target: Path) -> None:
    source = Path("/var/log/pybernetes", name)
    if source.exists():
        shutil.copytree(source, target)


if __name__ == "__main__":
    sys.exit(main())
