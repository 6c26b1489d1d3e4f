"""A kubelet with processes in real namespaces and the real API server: the node is a namespace of the test's own."""

import asyncio
import contextlib
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Key, condition_is, uid_of
from pybernetes.api.resources import CONFIG_MAPS, EVENTS, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS
from pybernetes.apiserver import ApiServerConfig
from pybernetes.kubelet import Kubelet, KubeletConfig, remove_everything
from pybernetes.kubelet.hostports.layout import TABLE
from pybernetes.kubelet.runtime import Phase
from pybernetes.netlink import namespaces
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import IP, IP6, AddTable, DeleteTable, KernelNftables, Transaction
from pybernetes.pki import Authority
from pybernetes.wire import Request
from pybernetes.wire.loopback import LoopbackTransport
from support.kernel import missing, namespace
from support.server import api_server, client_of

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]

ADDRESS = "172.31.99.1"
SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *a: (print("bye", flush=True), sys.exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["GREETING"].encode())
    def log_message(self, *args): pass
server = http.server.HTTPServer(("", 8080), Handler)
print("listening", os.environ["POD_IP"], flush=True)
server.serve_forever()
"""


def exists(path):
    return os.path.exists(path)


def mounts():
    return Path("/proc/self/mountinfo").read_text()


class Story:
    """One node, one API, and what the tests do with them."""

    def __init__(self, directory, client):
        self.directory = directory
        self.client = client
        self.config = KubeletConfig(
            node_name="node-1",
            node_addresses=(ADDRESS,),
            pod_ranges=("10.199.7.0/24",),
            cluster_dns=("10.96.0.10",),
            state_directory=str(directory / "state"),
            run_directory=str(directory / "run"),
        )
        self.kubelet = None

    @asynccontextmanager
    async def agent(self):
        kubelet = self.kubelet = Kubelet(self.client, self.config)
        kubelet.handler.open = True
        task = asyncio.create_task(kubelet.run())
        try:
            await self.until(lambda: task.done() or not kubelet._problem())
            if task.done():
                await task
            yield kubelet
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, check, seconds=60.0):
        """The first true answer of a function, plain or async."""
        async with asyncio.timeout(seconds):
            while True:
                found = check()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
                await asyncio.sleep(0.01)

    async def pod(self, name):
        with contextlib.suppress(NotFound):
            return await self.client.get(PODS, Key("default", name))
        return None

    async def ready(self, name):
        async def check():
            pod = await self.pod(name)
            return pod if pod and condition_is(pod, "Ready") else None

        return await self.until(check)

    async def gone(self, *names):
        async def check():
            return not any([await self.pod(name) for name in names])

        await self.until(check)

    def server(self, name, **fields):
        (self.directory / "server.py").write_text(SERVER)
        probe = {"httpGet": {"path": "/", "port": "http"}}
        container = {
            "name": "web",
            "image": "host",
            "command": ["python3", str(self.directory / "server.py")],
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [
                {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "greeting"}}},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "readinessProbe": probe,
            "livenessProbe": probe,
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/web"},
                {"name": "scratch", "mountPath": "/data/new"},
            ],
        } | fields
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": "node-1",
                "containers": [container],
                "volumes": [{"name": "config", "configMap": {"name": "config"}}, {"name": "scratch", "emptyDir": {}}],
            },
        }

    async def logs(self, name, container="web", **query):
        query = {key: [value] for key, value in query.items()}
        transport = LoopbackTransport(self.kubelet.handler)
        return (
            await transport.send(Request(path=f"/containerLogs/default/{name}/{container}", query=query))
        ).body.decode()

    async def exec(self, name, *argv):
        """(output, exit status message)"""
        transport = LoopbackTransport(self.kubelet.handler)
        query = {"command": list(argv), "output": ["1"], "error": ["1"]}
        request = Request(path=f"/exec/default/{name}/web", query=query)
        channel = await transport.connect(request, protocols=["v5.channel.k8s.io"])
        output, status = b"", ""
        while (message := await channel.receive()) is not None:
            if message[0] == 3:
                status = message[1:].decode()
            else:
                output += message[1:]
        return output.decode(), status


async def prepare(client):
    """What the controllers would make."""
    for name in ("default", "kube-system", "kube-node-lease"):
        with contextlib.suppress(Exception):
            await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    place = {"namespace": "default"}
    with contextlib.suppress(Exception):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place | {"name": "default"}}
        await client.create(SERVICE_ACCOUNTS, account)
    for name, data in (("kube-root-ca.crt", {"ca.crt": "x"}), ("config", {"greeting": "hello", "file.txt": "one"})):
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place | {"name": name}, "data": data}
        await client.create(CONFIG_MAPS, config)


@pytest.fixture
def story(tmp_path):
    """Runs an async function(story) inside a namespace that stands for the node; nothing is left after it."""

    def run(tell):
        async def body():
            keys = Authority.ensure(tmp_path / "pki").service_account_keys()
            config = ApiServerConfig(service_account_key=keys.private, service_account_public_key=keys.public)
            async with api_server(None, config) as server:
                client = client_of(server)
                await prepare(client)
                await tell(Story(tmp_path, client))

        def inside():
            with Links() as links:
                links.up("lo")
                links.add_address("lo", f"{ADDRESS}/32")
            try:
                asyncio.run(body())
            finally:
                remove_everything(tmp_path / "state", tmp_path / "run")

        with namespace("node") as path:
            namespaces.run_in(path, inside)

    return run


def test_pods_run_talk_log_and_end(story):
    async def tell(s):
        async with s.agent() as kubelet:
            await s.until(lambda: node_ready(s))
            for name in ("one", "two"):
                await s.client.create(PODS, s.server(name))
            one, two = await s.ready("one"), await s.ready("two")
            assert one["status"]["podIP"] != two["status"]["podIP"]
            assert await s.logs("one") == f"listening {one['status']['podIP']}\n"

            url = f"http://{two['status']['podIP']}:8080"
            fetch = f"import urllib.request as u; print(u.urlopen('{url}', timeout=30).read())"
            output, status = await s.exec("one", "python3", "-c", fetch)
            assert (output, '"Success"' in status) == ("b'hello'\n", True)
            output, status = await s.exec(
                "one", "sh", "-c", "hostname; tail -1 /etc/hosts; cat /etc/resolv.conf; exit 3"
            )
            assert output.splitlines()[:2] == ["one", f"{one['status']['podIP']}\tone"]
            assert "search default.svc.cluster.local svc.cluster.local cluster.local" in output
            assert '"ExitCode","message":"3"' in status
            output, _ = await s.exec("one", "ls", "/var/run/secrets/kubernetes.io/serviceaccount")
            assert output.split() == ["ca.crt", "namespace", "token"]

            await s.client.patch(CONFIG_MAPS, Key("default", "config"), {"data": {"file.txt": "two"}})
            await s.until(lambda: changed(s))

            for name in ("one", "two"):
                await s.client.delete(PODS, Key("default", name))
            await s.gone("one", "two")
            assert await kubelet.runtime.list() == []
            assert os.listdir(s.directory / "run" / "netns") == []
            assert os.listdir(s.directory / "state" / "pods") == []
            with Links() as links:
                await s.until(lambda: [link.name for link in links.list()] == ["lo"])

    async def node_ready(s):
        return condition_is(await s.client.get(NODES, Key("", "node-1")), "Ready")

    async def changed(s):
        return (await s.exec("one", "cat", "/etc/web/file.txt"))[0] == "two"

    story(tell)


def test_a_killed_process_leaves_and_returns(story):
    async def tell(s):
        async with s.agent() as kubelet:
            await s.client.create(PODS, s.server("one"))
            pod = await s.ready("one")
            (state,) = [one for one in await kubelet.runtime.list() if one.sandbox == uid_of(pod)]
            after = pod["metadata"]["resourceVersion"]
            async with (
                asyncio.timeout(60),
                s.client.watch(PODS, namespace="default", after=after, timeout_seconds=90) as changes,
            ):
                os.kill(state.pid, 9)
                async for event in changes:  # for a moment only: it is there again at once
                    if event.type == "MODIFIED" and not condition_is(event.object, "Ready"):
                        break
            pod = await s.ready("one")
            status = pod["status"]["containerStatuses"][0]
            assert status["restartCount"] == 1
            assert status["lastState"]["terminated"]["exitCode"] == 137
            assert "listening" in await s.logs("one", previous="true")

    story(tell)


def test_pods_survive_the_agent_and_those_deleted_meanwhile_are_ended(story):
    async def tell(s):
        async with s.agent() as kubelet:
            for name in ("stays", "goes"):
                await s.client.create(PODS, s.server(name))
                await s.ready(name)
            pids = {state.sandbox: state.pid for state in await kubelet.runtime.list()}
        stays = await s.pod("stays")
        assert all(exists(f"/proc/{pid}") for pid in pids.values())
        await s.client.delete(PODS, Key("default", "goes"), grace_seconds=0)
        async with s.agent() as kubelet:
            await s.gone("goes")

            async def one_left():
                return [state.pid for state in await kubelet.runtime.list()] == [pids[uid_of(stays)]]

            await s.until(one_left)
            pod = await s.ready("stays")
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
            assert pod["status"]["podIP"] == stays["status"]["podIP"]
            assert "listening" in await s.logs("stays")

    story(tell)


def test_bad_pods_say_why(story):
    async def tell(s):
        async with s.agent():
            await s.client.create(PODS, s.server("command", command=["nope"]))
            await s.client.create(PODS, s.server("image", image="nginx:1.27"))

            async def waiting(name, reason):
                statuses = ((await s.pod(name)).get("status") or {}).get("containerStatuses") or [{}]
                return ((statuses[0].get("state") or {}).get("waiting") or {}).get("reason") == reason

            await s.until(lambda: waiting("command", "CrashLoopBackOff"))
            await s.until(lambda: waiting("image", "ImagePullBackOff"))
            status = (await s.pod("command"))["status"]["containerStatuses"][0]
            assert status["lastState"]["terminated"]["reason"] == "StartError"
            assert 'exec: "nope": executable file not found in $PATH' in status["lastState"]["terminated"]["message"]

            async def events():
                found = (await s.client.list(EVENTS, namespace="default")).items
                return {event["reason"] for event in found} >= {"Pulled", "Created", "Failed", "BackOff", "Pulling"}

            await s.until(events)

    story(tell)


def test_a_pod_without_privileges_has_its_networks_low_ports_and_pings(story):
    async def tell(s):
        async with s.agent():
            plain = {
                "command": ["python3", "-m", "http.server", "80"],
                "ports": [{"name": "http", "containerPort": 80}],
                "securityContext": {"runAsUser": 65534, "capabilities": {"drop": ["ALL"]}},
            }
            await s.client.create(PODS, s.server("plain", **plain))
            await s.ready("plain")
            ping = "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM, s.IPPROTO_ICMP).close()"
            output, status = await s.exec("plain", "python3", "-c", ping)
            assert (output, '"Success"' in status) == ("", True)

    story(tell)


def test_the_hosts_network_is_the_nodes(story):
    async def tell(s):
        async with s.agent() as kubelet:
            pod = s.server("host")
            pod["spec"]["hostNetwork"] = True
            await s.client.create(PODS, pod)
            found = await s.ready("host")
            assert found["status"]["podIP"] == ADDRESS
            assert not kubelet.network.known()

    story(tell)


def test_an_ephemeral_container_sees_the_processes_of_its_target(story):
    async def tell(s):
        async with s.agent():
            await s.client.create(PODS, s.server("watched"))
            pod = await s.ready("watched")
            look = "for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; echo; done"
            debug = {"name": "debug", "image": "host", "command": ["sh", "-c", look]}
            debug["targetContainerName"] = pod["spec"]["containers"][0]["name"]
            body = {"spec": {"ephemeralContainers": [debug]}}
            await s.client.patch(PODS, Key("default", "watched"), body, subresource="ephemeralcontainers")

            async def ended():
                found = ((await s.pod("watched")).get("status") or {}).get("ephemeralContainerStatuses") or [{}]
                return (found[0].get("state") or {}).get("terminated")

            assert (await s.until(ended))["exitCode"] == 0
            assert "server.py" in await s.logs("watched", "debug")
            assert condition_is(await s.pod("watched"), "Ready")

    story(tell)


async def answer(address, port):
    """The body of an HTTP answer; "refused"."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return "refused"
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text.rpartition("\r\n")[2]


def tables():
    with contextlib.closing(KernelNftables()) as nft:
        return [nft.comment(family, TABLE) for family in (IP, IP6)]


def test_a_host_port_leads_to_its_pod_across_agents(story):
    port = {"name": "http", "containerPort": 8080, "hostPort": 18080}

    async def tell(s):
        async with s.agent():
            await s.client.create(PODS, s.server("one", ports=[port]))
            await s.ready("one")
            for address in (ADDRESS, "127.0.0.1"):
                assert await answer(address, 18080) == "hello"
        assert await answer(ADDRESS, 18080) == "hello"  # without an agent
        with contextlib.closing(KernelNftables()) as nft:
            nft.commit(Transaction(IP, TABLE, [AddTable(), DeleteTable()]))
        assert await answer(ADDRESS, 18080) == "refused"
        async with s.agent():  # it is ready only once they are there again
            for address in (ADDRESS, "127.0.0.1"):
                assert await answer(address, 18080) == "hello"
            await s.client.delete(PODS, Key("default", "one"), grace_seconds=1)
            await s.gone("one")
            for address in (ADDRESS, "127.0.0.1"):
                assert await answer(address, 18080) == "refused"
            assert tables() == [None, None]

    story(tell)


def test_everything_is_removed_after_a_crash(story):
    async def tell(s):
        async with s.agent() as kubelet:
            await s.client.create(
                PODS, s.server("one", ports=[{"name": "http", "containerPort": 8080, "hostPort": 80}])
            )
            await s.ready("one")
            (state,) = await kubelet.runtime.list()
            assert state.phase is Phase.RUNNING
        assert tables()[0]
        for _ in range(2):
            remove_everything(s.directory / "state", s.directory / "run")
        assert not exists(f"/proc/{state.pid}")
        assert not (s.directory / "state").exists()
        assert not (s.directory / "run").exists()
        assert str(s.directory) not in mounts()
        assert tables() == [None, None]

    story(tell)
