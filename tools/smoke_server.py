"""Is the installed wheel whole? Starts the server from it, applies and reads an object with kubectl, stops it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: smoke}
spec: {ports: [{port: 80}], selector: {app: smoke}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    commands = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory, "kubeconfig")
        server = subprocess.Popen(
            [commands / "pybernetes", "server", "--state-directory", f"{directory}/state",
             "--listen", f"127.0.0.1:{free_port()}", "--kubeconfig", kubeconfig],
        )  # fmt: skip
        try:
            environment = os.environ | {"KUBECONFIG": str(kubeconfig), "HOME": directory}

            def kubectl(*argv: str, text: str = "") -> str:
                done = subprocess.run(
                    [commands / "kubectl", *argv],
                    env=environment,
                    input=text,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise SystemExit(f"kubectl {' '.join(argv)}: {done.stderr}")
                return done.stdout

            deadline = time.monotonic() + 30
            while not kubeconfig.exists() or server_refuses(kubeconfig):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the server from the wheel did not start")
                time.sleep(0.1)
            kubectl("apply", "-f", "-", text=MANIFEST)
            address = kubectl("get", "service", "smoke", "-o", "jsonpath={.spec.clusterIP}")
            explained = kubectl("explain", "service.spec.clusterIP")
            if not address.startswith("10.96.") or "clusterIP" not in explained:
                raise SystemExit(f"unexpected answers: {address!r} {explained!r}")
            print(f"the wheel works: Service smoke has {address}")
        finally:
            server.send_signal(signal.SIGTERM)
            if server.wait(20) != 0:
                raise SystemExit(f"the server ended with {server.returncode} on SIGTERM")


def server_refuses(kubeconfig: Path) -> bool:
    text = kubeconfig.read_text()
    host, _, port = text.split("server: https://")[1].split()[0].partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


if __name__ == "__main__":
    main()
