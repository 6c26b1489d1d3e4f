"""The cluster of the packet table in kernel namespaces: two nodes, three pods, a caller outside, in both families.

Every host answers on its ports with its own name and the caller's address. Sockets are opened inside the namespaces and
served by one thread of the test; leaving the `with` closes all and deletes the namespaces.
"""

import asyncio
import contextlib
import random
import selectors
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Any

from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import Links
from pybernetes.proxy.config import ProxyConfig
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.loop import kernel_dataplane
from pybernetes.proxy.model import Desired
from support import kernel, sctp
from support.proxy_cases import DNS, FAMILIES, HOSTS, NODES, PODS, SIX, Addresses, config, node_of

PORTS = (8080, 8081)
UDP_PORTS = (5353,)
LOOPBACK_PORTS = (30080, 30026, 30022)
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW)
GATEWAYS = ("169.254.1.1", "fd00:169::1")
_CONNECT_SECONDS = 2.0
"""What the kernel does by itself: a first packet that got lost is sent again after one second."""
_ANSWER_SECONDS = 30.0
"""What a thread of this process does, on a busy machine too; a lost answer never comes."""
_DROPPED_SECONDS = 0.3


class Answers:
    """One thread that answers on all sockets: "<name> <caller's address>"."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._serve, name="answers", daemon=True)
        self.thread.start()

    def add(self, name: str, namespace: str, address: str, port: int, kind: socket.SocketKind) -> socket.socket:
        def listen() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, kind, sctp.PROTOCOL if kind == socket.SOCK_RAW else 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port if kind != socket.SOCK_RAW else 0))
            if kind == socket.SOCK_STREAM:
                sock.listen(128)
            sock.setblocking(False)
            return sock

        sock = namespaces.run_in(namespace, listen)
        with self.lock:
            self.selector.register(sock, selectors.EVENT_READ, (name, port))
        return sock

    def remove(self, sock: socket.socket) -> None:
        with self.lock:
            self.selector.unregister(sock)
        sock.close()

    def _serve(self) -> None:
        while not self.stopping:
            with self.lock:
                ready = self.selector.select(timeout=0.02) if self.selector.get_map() else []
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    with contextlib.suppress(OSError):
                        self._answer(key.fileobj, *key.data)

    def _answer(self, sock: socket.socket, name: str, port: int) -> None:
        if sock.type == socket.SOCK_RAW:
            sctp.answered(sock, port, name)
            return
        if sock.type == socket.SOCK_STREAM:
            connection, caller = sock.accept()
            with connection:
                connection.sendall(f"{name} {caller[0]}".encode())
            return
        _, caller = sock.recvfrom(100)
        sock.sendto(f"{name} {caller[0]}".encode(), caller)

    def close(self) -> None:
        self.stopping = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self.selector.close()


class Net:
    """The namespaces by host name, and calls between them."""

    def __init__(self, paths: dict[str, str], answers: Answers) -> None:
        self.paths = paths
        self.answers = answers

    def config(self, at: Addresses, node: str, *more: Addresses, **settings: Any) -> ProxyConfig:
        return config(at, node, *more, namespace=self.paths[node], **settings)

    def sync(self, configs: Mapping[str, ProxyConfig], wanted: Mapping[str, Desired]) -> None:
        """What the proxy of each node does with its wanted state."""

        async def body() -> None:
            for node, desired in wanted.items():
                dataplane: NftDataplane = kernel_dataplane(configs[node])
                try:
                    await dataplane.sync(desired)
                finally:
                    await dataplane.close()

        asyncio.run(body())

    def call(
        self, caller: str, address: str, port: int, protocol: str = "TCP", *, seconds: float = _ANSWER_SECONDS
    ) -> tuple[str, str]:
        """(who answered, which caller's address it saw); "refused" or "dropped" in the place of the name."""
        ask = {"TCP": _by_tcp, "UDP": _by_udp, "SCTP": _by_sctp}[protocol]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            answer = ask(self.paths[caller], family, (address, port), seconds)
        except ConnectionRefusedError:
            return "refused", ""
        except TimeoutError:
            return "dropped", ""
        name, _, seen = answer.partition(" ")
        return name, seen

    def dropped(self, caller: str, address: str, port: int, protocol: str = "TCP") -> bool:
        """Whether nothing at all comes back, not even a refusal, for a moment."""
        return self.call(caller, address, port, protocol, seconds=_DROPPED_SECONDS)[0] == "dropped"


Target = tuple[str, int]


def _by_tcp(namespace: str, family: int, to: Target, seconds: float) -> str:
    with namespaces.run_in(namespace, lambda: socket.socket(family, socket.SOCK_STREAM)) as sock:
        sock.settimeout(min(seconds, _CONNECT_SECONDS))
        sock.connect(to)
        sock.settimeout(_ANSWER_SECONDS)
        return sock.recv(200).decode()


def _by_udp(namespace: str, family: int, to: Target, seconds: float) -> str:
    with namespaces.run_in(namespace, lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(seconds)
        sock.connect(to)
        with contextlib.suppress(PermissionError):  # refused, or dropped, on its way out: only the first is told again
            sock.send(b"?")
        return sock.recv(200).decode()


def _by_sctp(namespace: str, family: int, to: Target, seconds: float) -> str:
    with namespaces.run_in(namespace, lambda: sctp.opened(family)) as sock:
        sock.settimeout(seconds)
        sock.connect((to[0], 0))
        return sctp.asked(sock, source_port=random.randrange(20000, 60000), port=to[1])


@contextmanager
def network() -> Iterator[Net]:
    """Build it, and take it away again whatever happens."""
    with ExitStack() as stack:
        paths = {host: stack.enter_context(kernel.namespace(host)) for host in ("switch", *HOSTS)}
        for path in paths.values():  # a link-local address still being checked for duplicates cannot ask for neighbours
            sysctl.write("net.ipv6.conf.default.accept_dad", 0, namespace=path)
        answers = Answers()
        stack.callback(answers.close)
        _switch(paths)
        for node in NODES:
            _node(paths, node)
        for pod in PODS:
            _pod(paths, pod)
        _answers(paths, answers)
        yield Net(paths, answers)


def _switch(paths: dict[str, str]) -> None:
    with Links(paths["switch"]) as switch:
        switch.add_bridge("br0")
        for host in (*NODES, "outside"):
            switch.add_veth(host, "eth0", peer_namespace=paths[host], master="br0")
            with Links(paths[host]) as links:
                links.up("lo")
                links.up("eth0")
                links.add_address("eth0", FAMILIES[0].hosts[host] + "/24")
                links.add_address("eth0", FAMILIES[1].hosts[host] + "/64")
                if host == "outside":
                    for at in FAMILIES:
                        links.add_route(at.balancers, via=at.hosts["node-1"])


def _node(paths: dict[str, str], node: str) -> None:
    # ICMP is limited in bursts of 50 for the whole namespace (and nothing counts it): refusals by UDP would get lost
    values: dict[str, str | int] = {
        "net.ipv4.ip_forward": 1,
        "net.ipv6.conf.all.forwarding": 1,
        "net.ipv4.icmp_msgs_per_sec": 1_000_000,
        "net.ipv4.icmp_msgs_burst": 100_000,
        "net.ipv4.icmp_ratelimit": 0,
        "net.ipv6.icmp.ratelimit": 0,
    }
    sysctl.write_all(values, namespace=paths[node])
    other = next(each for each in NODES if each != node)
    with Links(paths[node]) as links:
        for at in FAMILIES:
            full = 32 if at.version == 4 else 128
            links.add_address("lo", f"{at.service(DNS)}/{full}")
            links.add_route(at.services, via=at.hosts["outside"])
            links.add_route(at.balancers, via=at.hosts["outside"])
            links.add_route(_pod_range(at, other), via=at.hosts[other])


def _pod_range(at: Addresses, node: str) -> str:
    pod = next(each for each in PODS if node_of(each) == node)
    return str(ip_network(f"{at.hosts[pod]}/{24 if at.version == 4 else 48}", strict=False))


def _pod(paths: dict[str, str], pod: str) -> None:
    """Wired as the kubelet does it: one link-local gateway for all pods, on the node's end of each pair."""
    with Links(paths[node_of(pod)]) as node, Links(paths[pod]) as inside:
        node.add_veth(pod, "eth0", peer_namespace=paths[pod])
        inside.up("lo")
        inside.up("eth0")
        # Masqueraded callers share an address: a port that comes again too soon meets a server's TIME_WAIT, which drops
        # the SYN (PAWSTimewait, some 50 of 20,000; with static rules too). Nothing of that is the proxy's.
        sysctl.write("net.ipv4.tcp_max_tw_buckets", 0, namespace=paths[pod])
        for at, gateway in zip(FAMILIES, GATEWAYS, strict=True):
            full = 32 if at.version == 4 else 128
            host = node_of(pod)
            node.add_address(pod, f"{gateway}/{full}")
            node.add_route(f"{at.hosts[pod]}/{full}", link=pod, source=at.hosts[host])
            inside.add_address("eth0", f"{at.hosts[pod]}/{full}")
            inside.add_route(f"{gateway}/{full}", link="eth0")
            inside.add_route("default" if at.version == 4 else "::/0", via=gateway, link="eth0", onlink=True)


def _answers(paths: dict[str, str], answers: Answers) -> None:
    for at in FAMILIES:
        for host in (*PODS, *NODES):
            for kind in KINDS:
                for port in PORTS:
                    answers.add(host, paths[host], at.hosts[host], port, kind)
        for pod in PODS:
            for port in UDP_PORTS:
                answers.add(pod, paths[pod], at.hosts[pod], port, socket.SOCK_DGRAM)
        for node in NODES:
            for kind in KINDS:
                if at is SIX:
                    for port in LOOPBACK_PORTS:
                        answers.add("node", paths[node], at.hosts["loopback"], port, kind)
