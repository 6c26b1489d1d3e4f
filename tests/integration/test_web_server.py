"""The server of examples/web-server, run as its ConfigMap holds it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "web-server"
HEALTHY = b'{"status": {"code": 0, "msg": "success"}, "data": "success"}'


def manifest(file: str) -> Any:
    return yaml.safe_load((EXAMPLE / file).read_text())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    program = tmp_path / "app.py"
    program.write_text(manifest("configmap.yaml")["data"]["app.py"])
    environment = (
        os.environ
        | {"PORT": "0", "POD_NAME": "web-0", "NODE_NAME": "node-1", "POD_IP": "127.0.0.1"}
        | {"DRAIN_SECONDS": "5"}
    )
    with subprocess.Popen(
        [sys.executable, "-u", program], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr
            first = process.stderr.readline()
            yield process, int(first.rpartition("port=")[2])
        finally:
            process.kill()


def get(port: int, path: str = "/api/v1/healthz") -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("X-Pod")
    finally:
        connection.close()


def test_answers(server: tuple[subprocess.Popen[str], int]) -> None:
    _, port = server
    assert get(port) == (200, HEALTHY, "web-0")
    status, body, _ = get(port, "/api/v1/whoami")
    assert (status, json.loads(body)["data"]) == (200, {"pod": "web-0", "node": "node-1", "ip": "127.0.0.1"})
    assert get(port, "/nothing")[0] == 404


def test_ends_without_losing_a_call(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    answers: list[tuple[int, bytes, str | None]] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            answers.append(get(port))

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    while len(answers) < 50:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    before = len(answers)
    while len(answers) < before + 20:
        time.sleep(0.01)
    stop.set()
    for caller in callers:
        caller.join()
    assert set(answers) == {(200, HEALTHY, "web-0")}
    assert process.wait(60) == 0


def test_manifests_agree() -> None:
    pod = manifest("deployment.yaml")["spec"]["template"]
    service = manifest("service.yaml")
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    settings = manifest("configmap.yaml")["data"]
    assert settings["port"] == str(port["containerPort"])
    keys = [entry["valueFrom"].get("configMapKeyRef", {}).get("key") for entry in container["env"]]
    assert {key for key in keys if key} <= settings.keys()
    assert float(settings["drain-seconds"]) + 5 < pod["spec"]["terminationGracePeriodSeconds"]
