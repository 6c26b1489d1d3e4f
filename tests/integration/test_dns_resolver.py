"""glibc's resolver, as a pod has it, against the cluster DNS at its own address in a kernel namespace."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybernetes.netlink import namespaces
from pybernetes.netlink.links import Links
from support import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

TESTS = Path(__file__).resolve().parent.parent
DNS4, DNS6 = "10.96.0.10", "fd00:96::a"
SEARCH = "default.svc.cluster.local svc.cluster.local cluster.local"

ASK = """
import json, socket, sys
def ask(name):
    try:
        return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
    except socket.gaierror as error:
        return error.args[0]
def reverse(address):
    try:
        return socket.gethostbyaddr(address)[0]
    except socket.herror:
        return None
names, addresses = ({word: f(word) for word in words.split()} for f, words in zip((ask, reverse), sys.argv[1:]))
print(json.dumps({"names": names, "addresses": addresses}))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """A namespace in which the DNS answers at both addresses."""
    with kernel.namespace("dns") as path:
        with Links(path) as links:
            links.up("lo")
            links.add_address("lo", f"{DNS4}/32")
            links.add_address("lo", f"{DNS6}/128")
        argv = [sys.executable, "-m", "support.dns_server", DNS4, DNS6]
        process = namespaces.run_in(
            path, lambda: subprocess.Popen(argv, cwd=TESTS, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        )
        with process:
            try:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
                yield path
            finally:
                process.terminate()


def resolve(node: str, scratch: Path, *, server: str, names: str, addresses: str = "") -> Any:
    """What libc says in a process whose resolv.conf is a pod's."""
    conf = scratch / "resolv.conf"
    conf.write_text(f"nameserver {server}\nsearch {SEARCH}\noptions ndots:5\n")
    script = f'mount --bind "{conf}" /etc/resolv.conf && exec "$0" -I -c "$1" "$2" "$3"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, sys.executable, ASK, names, addresses]
    done = namespaces.run_in(
        node, lambda: subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("server", [DNS4, DNS6])
def test_names_as_pods_ask_for_them(node: str, tmp_path: Path, server: str) -> None:
    wanted = {
        "web": ["10.96.0.20"],
        "web.default": ["10.96.0.20"],
        "web.default.svc": ["10.96.0.20"],
        "web.default.svc.cluster.local": ["10.96.0.20"],
        "WEB.default.SVC.cluster.local.": ["10.96.0.20"],
        "kube-dns.kube-system": ["127.0.0.1"],
        "dual": ["10.96.0.21", "fd00:96::21"],
        "db": ["10.244.1.6", "10.244.1.7", "10.244.9.6"],
        "db-0.db": ["10.244.1.6", "10.244.9.6"],
        "six": ["fd00:244:1::", "fd00:244::6"],
        "inside": ["10.96.0.20"],
        "10-244-7-7.default.pod": ["10.244.7.7"],
    }
    found = resolve(node, tmp_path, server=server, names=" ".join(wanted))["names"]
    assert found == wanted


def test_names_that_do_not_exist(node: str, tmp_path: Path) -> None:
    found = resolve(node, tmp_path, server=DNS4, names="missing missing.default.svc.cluster.local. unready")["names"]
    assert set(found.values()) <= {-2, -3, -5}, "no such name, or nobody to ask about the rest of the world"
    assert found["missing.default.svc.cluster.local."] == -2


def test_addresses(node: str, tmp_path: Path) -> None:
    wanted = {
        "10.96.0.20": "web.default.svc.cluster.local",
        "10.244.1.7": "db-1.db.default.svc.cluster.local",
        "fd00:244::6": "fd00-244--6.six.default.svc.cluster.local",
        "10.96.44.44": None,
    }
    found = resolve(node, tmp_path, server=DNS4, names="", addresses=" ".join(wanted))["addresses"]
    assert found == wanted
