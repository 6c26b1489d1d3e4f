"""The applications of the conformance suite's kubectl tests, as process pods: the guestbook.

Its images need an engine; here the parts are small Python servers of the host, with the same manifests around them.
"""

import json
import textwrap
import time
import urllib.parse

import pytest

from .test_pod_semantics import House

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(240)]

DEADLINE = 60.0

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


def test_should_create_and_stop_a_working_application(house):
    """Guestbook: what a frontend is told, the primary writes to the replicas, and every frontend reads it there."""
    manifest = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [*part("replica", 2), *part("frontend", 3), *part("primary", 1)]}
    )
    house.kubectl("create", "-f", "-", text=manifest)
    house.kubectl("wait", "--for=condition=Available", "deployment", "--all", "--timeout=60s")

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
