"""The applications of the conformance suite's kubectl tests, as process pods: Update Demo and the guestbook.

Its images need an engine; here the parts are small Python servers of the host, with the same manifests around them.
"""

import json
import textwrap
import time
import urllib.parse

import pytest

from .test_pod_semantics import House

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

DEADLINE = 60.0

DEMO = textwrap.dedent("""
    import http.server, os
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = ('{"image": "%s", "pod": "%s"}' % (os.environ["SHOWN"], os.environ["HOSTNAME"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    http.server.ThreadingHTTPServer(("", 8080), Page).serve_forever()
""")
"""Update Demo: each pod says which image it shows."""

GUESTBOOK = textwrap.dedent("""
    import http.server, json, sys, threading, time, urllib.parse, urllib.request
    role, messages, replicas = sys.argv[1], [], set()

    def ask(host, path):
        with urllib.request.urlopen(f"http://{host}{path}", timeout=5) as answer:
            return answer.read()

    class Part(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, query = self.path.partition("?")
            asked = urllib.parse.parse_qs(query)
            try:
                body = getattr(self, role)(path, asked)
            except OSError as error:
                self.send_error(503, str(error))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def frontend(self, path, asked):
            if asked.get("cmd") == ["set"]:
                return ask("primary", "/set?" + urllib.parse.urlencode({"value": asked["value"][0]}))
            return ask("replica", "/get")

        def primary(self, path, asked):
            if path == "/register":
                replicas.add(asked["host"][0])
                return json.dumps(messages).encode()
            messages.append(asked["value"][0])
            for host in replicas:
                ask(host, "/take?" + urllib.parse.urlencode({"value": asked["value"][0]}))
            return b'{"message": "Updated"}'

        def replica(self, path, asked):
            if path == "/take":
                messages.append(asked["value"][0])
            return json.dumps({"data": messages[-1] if messages else ""}).encode()

    def register(own):
        while True:
            try:
                messages[:] = json.loads(ask("primary", f"/register?host={own}:8080"))
                return
            except OSError:
                time.sleep(0.2)

    if role == "replica":
        register(sys.argv[2])
    http.server.ThreadingHTTPServer(("", 8080), Part).serve_forever()
""")
"""The three parts of the guestbook; they know each other by the names of their Services."""


def demo(replicas):
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "update-demo"},
        "spec": {
            "replicas": replicas,
            "selector": {"name": "update-demo", "version": "nautilus"},
            "template": {
                "metadata": {"labels": {"name": "update-demo", "version": "nautilus"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {"name": "update-demo", "image": "host", "command": ["python3", "-c", DEMO],
                         "env": [{"name": "SHOWN", "value": "nautilus.jpg"}], "ports": [{"containerPort": 8080}]},
                    ],
                },
            },
        },
    }  # fmt: skip


def part(role, replicas):
    labels = {"app": "guestbook", "tier": role}
    container = {
        "name": role,
        "image": "host",
        "command": ["python3", "-c", GUESTBOOK, role, "$(IP)"],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": role, "labels": labels},
         "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": role},
         "spec": {
             "replicas": replicas,
             "selector": {"matchLabels": labels},
             "template": {"metadata": {"labels": labels},
                          "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
         }},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def house(cluster, namespace):
    return House(cluster, namespace)


def eventually(look):
    """The first answer that is not empty."""
    deadline = time.monotonic() + DEADLINE
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
    return found


def running(house):
    """The names of the demo's pods, by kubectl's template as the suite reads them, once `wanted` are ready."""
    template = "{{range .items}}{{.metadata.name}} {{end}}"
    return house.kubectl("get", "pods", "-o", "template", "--template", template, "-l", "name=update-demo").split()


def validate(house, count):
    """`count` pods run, and each says through the API server's proxy what it shows."""
    house.kubectl("wait", "--for", f"jsonpath={{.status.readyReplicas}}={count}", "rc/update-demo", "--timeout=100s")
    names = eventually(lambda: found if len(found := running(house)) == count else [])
    for name in names:
        path = f"/api/v1/namespaces/{house.namespace}/pods/{name}:8080/proxy/data.json"
        said = eventually(lambda path=path: house.ended("get", "--raw", path).stdout)
        assert json.loads(said) == {"image": "nautilus.jpg", "pod": name}


def test_should_create_scale_and_stop_a_replication_controller(house):
    house.kubectl("create", "-f", "-", text=json.dumps(demo(2)))
    validate(house, 2)
    house.kubectl("scale", "rc", "update-demo", "--replicas=1", "--timeout=100s")
    validate(house, 1)
    house.kubectl("scale", "rc", "update-demo", "--replicas=2", "--timeout=100s")
    validate(house, 2)
    described(house)
    exposed(house)
    house.kubectl("delete", "--grace-period=0", "--force", "-f", "-", text=json.dumps(demo(2)))
    assert "No resources found" in house.ended("get", "rc,svc", "-l", "name=update-demo", "--no-headers").stderr
    eventually(lambda: not running(house))


def described(house):
    shown = house.kubectl("describe", "rc", "update-demo")
    for text in ("Replicas:     2 current / 2 desired", "Pods Status:  2 Running / 0 Waiting / 0 Succeeded / 0 Failed",
                 "Selector:     name=update-demo,version=nautilus", "SuccessfulCreate", "Created pod:"):  # fmt: skip
        assert text in shown
    shown = house.kubectl("describe", "pod", running(house)[0])
    assert "Controlled By:  ReplicationController/update-demo" in shown
    assert "Status:           Running" in shown


def exposed(house):
    """Two Services, the second of the first; behind each are the pods of the controller."""
    house.kubectl("expose", "rc", "update-demo", "--name=rm2", "--port=1234", "--target-port=8080")
    house.kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=8080")
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        assert house.kubectl("get", "service", name, "-o", "jsonpath={.spec.ports[0].port}") == str(port)
        path = f"/api/v1/namespaces/{house.namespace}/services/{name}:{port}/proxy/"
        said = eventually(lambda path=path: house.ended("get", "--raw", path).stdout)
        assert json.loads(said)["image"] == "nautilus.jpg"
    house.kubectl("delete", "service", "rm2", "rm3")


def test_should_create_and_stop_a_working_application(house):
    """Guestbook: what a frontend is told, the primary writes to the replicas, and every frontend reads it there."""
    manifest = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [*part("replica", 2), *part("frontend", 3), *part("primary", 1)]}
    )
    house.kubectl("create", "-f", "-", text=manifest)
    house.kubectl("wait", "--for=condition=Available", "deployment", "--all", "--timeout=100s")

    def ask(command, value=""):
        query = urllib.parse.urlencode({"cmd": command, "key": "messages", "value": value})
        path = f"/api/v1/namespaces/{house.namespace}/services/frontend/proxy/guestbook?{query}"
        done = house.ended("get", "--raw", path)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    eventually(lambda: ask("get") == {"data": ""})
    eventually(lambda: ask("set", "TestEntry") == {"message": "Updated"})
    for _ in range(6):  # both replicas, whichever answers
        assert ask("get") == {"data": "TestEntry"}
    house.kubectl("delete", "--grace-period=1", "-f", "-", text=manifest)
    eventually(lambda: "No resources found" in house.ended("get", "pods", "-l", "app=guestbook").stderr)
