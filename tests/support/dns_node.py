"""The golden servers at addresses of their own in a network namespace, and programs run there as by a pod."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pybernetes.netlink import namespaces
from pybernetes.netlink.links import Links
from support import kernel
from support.dns_golden import SEARCH, SERVERS

TESTS = Path(__file__).resolve().parent.parent
ADDRESSES = {name: f"10.96.0.{10 + at}" for at, name in enumerate(SERVERS)}
SIX = "fd00:96::a"
"""The default server's other address."""
WORLD = "10.96.9.9"


class Node:
    """The namespace in which they answer."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, argv: Sequence[str], *, text: str = "", check: bool = True) -> str:
        """The output of a program run there."""
        done = namespaces.run_in(
            self.path,
            lambda: subprocess.run(argv, input=text, capture_output=True, text=True, timeout=120, check=False),
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    def run_as_pod(self, argv: Sequence[str], scratch: Path, *, server: str, text: str = "") -> str:
        """The same with the resolv.conf of a pod, which asks the server at an address (musl waits out a REFUSED)."""
        conf = scratch / "resolv.conf"
        conf.write_text(f"nameserver {server}\nsearch {SEARCH}\noptions ndots:5 timeout:3\n")
        script = f'mount --bind "{conf}" /etc/resolv.conf && exec "$@"'
        own = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
        return self.run([*own, *argv], text=text)


@contextmanager
def node() -> Iterator[Node]:
    with kernel.namespace("dns") as path:
        with Links(path) as links:
            links.up("lo")
            for address in (*ADDRESSES.values(), WORLD):
                links.add_address("lo", f"{address}/32")
            links.add_address("lo", f"{SIX}/128")
        own = [f"{name}={address}" for name, address in ADDRESSES.items()]
        own[0] += f",{SIX}"
        argv = [sys.executable, "-m", "support.dns_server", *own, f"WORLD={WORLD}"]
        process = namespaces.run_in(
            path, lambda: subprocess.Popen(argv, cwd=TESTS, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        )
        with process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
                yield Node(path)
            finally:
                process.terminate()
