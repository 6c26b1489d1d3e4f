"""Connections while the endpoints of their Service change as fast as the kernel takes it, with the care that the proxy
takes and with each piece of it left out. All endpoints live, so whatever is refused or late was lost by an update, and
whoever answers must have been an endpoint at some moment of the call.

Three namespaces: a caller, a node with the proxy's table, a server with all endpoints' addresses. The transactions are
the ones that the proxy's plan makes, but made beforehand, so that the kernel is what bounds the changes. Needs two
CPUs: what is lost is lost between two lookups of one packet, while another CPU commits.
"""

import array
import itertools
import socket
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.expressions import Lookup, Rule
from pybernetes.netlink.links import Links
from pybernetes.netlink.nft import (
    IP,
    IP6,
    AddTable,
    DeleteChain,
    DeleteTable,
    FlushChain,
    KernelNftables,
    Operation,
    Transaction,
)
from pybernetes.proxy.layout import TABLE, Class, Layout, Made, Ranges
from pybernetes.proxy.model import Backend, Front, ServicePort
from pybernetes.proxy.plan import Book, Change, Planner
from support import kernel

SERVICE_PORT, NODE_PORT, POD_PORT = 80, 30080, 9000
KEY = ServicePort("default", "called", "", "TCP")
CALLER = Path(__file__).with_name("proxy_caller.py")
_LIMIT_SECONDS = 240
_CATCH_UP_SECONDS = 0.1
_FIRST_SEGMENT, _SEGMENT_STEP = 1000, 10
_OPTIONS = 12
"""Bytes of a segment that TCP timestamps take."""

SETS = (slice(2), slice(2, 3), slice(10), slice(4, 5))
"""Of the pods. Growth, shrink and replacement, over and over: each shrink empties nine of ten or one of two slots."""
DISTINCT = (slice(2), slice(2, 3), slice(10), slice(4, 9))
"""Four size classes, so that each can be away for a while before it comes again."""


class Addresses(NamedTuple):
    """Where everything is in one family. Pods are ten, callers 16."""

    family: int
    full: int
    """Bits of an address."""
    node: str
    gateway: str
    service: str
    balancer: str
    service_range: str
    pod_range: str
    callers: tuple[str, ...]
    pods: tuple[str, ...]
    sources: tuple[str, ...]
    """Who may call the balancer. A rule each, so that a packet is under way for long before it gets further."""


FOUR = Addresses(
    family=IP,
    full=32,
    node="172.30.0.11",
    gateway="169.254.1.1",
    service="10.96.1.0",
    balancer="192.0.2.1",
    service_range="10.96.0.0/16",
    pod_range="10.244.0.0/16",
    callers=tuple(f"10.244.1.{number}" for number in range(2, 18)),
    pods=tuple(f"10.244.2.{number}" for number in range(1, 11)),
    sources=(*(f"198.{18 + number // 256}.{number % 256}.0/24" for number in range(512)), "10.244.1.0/24"),
)
SIX = Addresses(
    family=IP6,
    full=128,
    node="fd00:30::11",
    gateway="fd00:169::1",
    service="fd00:96::100",
    balancer="2001:db8::1",
    service_range="fd00:96::/112",
    pod_range="fd00:244::/32",
    callers=tuple(f"fd00:244:1::{number:x}" for number in range(2, 18)),
    pods=tuple(f"fd00:244:2::{number:x}" for number in range(1, 11)),
    sources=(*(f"2001:db8:{number:x}::/48" for number in range(1, 513)), "fd00:244:1::/48"),
)


# Carelessness


class NoSlotZero(Layout):
    """Whoever finds the slot empty that chance gave is lost."""

    def _balance_rules(self, wanted: Class) -> Iterator[Rule]:
        rules = list(super()._balance_rules(wanted))
        yield from rules[:-1] if wanted.size > 1 else rules


class NoMembers(Layout):
    """A client goes to the endpoint that it is remembered to have had, whether it still serves or not."""

    def _affinity_rules(self, wanted: Class) -> Iterator[Rule]:
        known, _, chosen = super()._affinity_rules(wanted)
        yield tuple(each for each in known if not (isinstance(each, Lookup) and each.set == "members"))
        yield chosen


Transactions = list[list[Operation]]


def apart(change: Change) -> Transactions:
    """The proxy's order: chains that are new, then all elements at once."""
    return [operations for operations in (change.chains, change.elements) if operations]


def together(change: Change) -> Transactions:
    """Careless: a chain in the transaction that first leads to it."""
    return [[*change.chains, *change.elements]]


def one_by_one(change: Change) -> Transactions:
    """Careless: what goes, then what comes, set by set, each in a transaction of its own."""
    return [*([change.chains] if change.chains else []), *([each] for each in change.elements)]


class Way(NamedTuple):
    """How the Service is called and changed; `layout` and `order` are the proxy's own unless they are careless."""

    name: str
    door: Literal["service", "node", "balancer"] = "service"
    at: Addresses = FOUR
    affinity_seconds: int = 0
    renewed: bool = False
    """Each change leads to chains that are new; old ones are taken away afterwards, which the proxy never does."""
    layout: type[Layout] = Layout
    order: Callable[[Change], Transactions] = apart

    @property
    def where(self) -> tuple[str, int]:
        at = self.at
        address = {"service": at.service, "node": at.node, "balancer": at.balancer}[self.door]
        return address, NODE_PORT if self.door == "node" else SERVICE_PORT


CAREFUL = (
    Way("cluster_ip"),
    Way("node_port", door="node"),
    Way("affinity", affinity_seconds=60),
    Way("node_port_affinity", door="node", affinity_seconds=60),
    Way("ipv6", at=SIX),
    Way("ipv6_node_port_affinity", door="node", at=SIX, affinity_seconds=60),
    Way("new_chains", door="balancer", renewed=True),
)
CARELESS = (
    Way("no_slot_zero", layout=NoSlotZero),
    Way("no_slot_zero_node_port", door="node", layout=NoSlotZero),
    Way("no_slot_zero_affinity", affinity_seconds=60, layout=NoSlotZero),
    Way("no_slot_zero_ipv6_node_port", door="node", at=SIX, layout=NoSlotZero),
    Way("no_members", affinity_seconds=60, layout=NoMembers),
    Way("one_by_one", order=one_by_one),
    Way("one_by_one_node_port", door="node", order=one_by_one),
    Way("chains_together", door="balancer", renewed=True, order=together),
)


class Outcome(NamedTuple):
    connections: int
    refused: int
    late: int
    """Answered once the first packet, which got lost, had been sent again."""
    misled: int
    """Answered by an endpoint that was none at any moment of the call."""
    changes: int
    seconds: float

    @property
    def lost(self) -> int:
        return self.refused + self.late + self.misled

    def __add__(self, other: "Outcome") -> "Outcome":  # type: ignore[override]
        return Outcome._make(mine + its for mine, its in zip(self, other, strict=True))


NOTHING = Outcome(0, 0, 0, 0, 0, 0.0)


# The namespaces


class Net:
    """The caller's, the node's and the server's namespace, by name; endpoints listen while it is there."""

    def __init__(self, paths: dict[str, str]) -> None:
        self.paths = paths


@contextmanager
def network() -> Iterator[Net]:
    with ExitStack() as stack:
        paths = {name: stack.enter_context(kernel.namespace(name)) for name in ("client", "node", "server")}
        for path in paths.values():  # a link-local address still being checked for duplicates cannot ask for neighbours
            sysctl.write("net.ipv6.conf.default.accept_dad", 0, namespace=path)
        _pod(paths, "client", (*FOUR.callers, *SIX.callers))
        _pod(paths, "server", (*FOUR.pods, *SIX.pods))
        node: dict[str, str | int] = {
            "net.ipv4.ip_forward": 1,
            "net.ipv6.conf.all.forwarding": 1,
            "net.netfilter.nf_conntrack_tcp_timeout_close": 1,  # a caller's port may come again after that time
        }
        sysctl.write_all(node, namespace=paths["node"])
        sysctl.write("net.ipv4.ip_local_port_range", "1024 65000", namespace=paths["client"])
        with Links(paths["node"]) as links:
            links.up("lo")
            for at in (FOUR, SIX):
                links.add_address("lo", f"{at.node}/{at.full}")
                links.add_address("lo", f"{at.balancer}/{at.full}")
                links.add_route(at.service_range, link="client")  # else what is not translated is dropped, not refused
        for sock in namespaces.run_in(paths["server"], _listeners):
            stack.enter_context(sock)
        yield Net(paths)


def _pod(paths: dict[str, str], name: str, addresses: Sequence[str]) -> None:
    with Links(paths["node"]) as node, Links(paths[name]) as inside:
        node.add_veth(name, "eth0", peer_namespace=paths[name])
        inside.up("lo")
        inside.up("eth0")
        for each in addresses:
            full = 128 if ":" in each else 32
            node.add_route(f"{each}/{full}", link=name)
            inside.add_address("eth0", f"{each}/{full}")
        for at, default in ((FOUR, "default"), (SIX, "::/0")):
            node.add_address(name, f"{at.gateway}/{at.full}")
            inside.add_route(f"{at.gateway}/{at.full}", link="eth0")
            inside.add_route(default, via=at.gateway, link="eth0", onlink=True)


def _listeners() -> list[socket.socket]:
    """One for each endpoint, told apart by its segments. Nobody accepts: a connection is made by the kernel when the
    caller has been answered, and waits for data that never comes.
    """
    found = []
    for at in (FOUR, SIX):
        family = socket.AF_INET if at is FOUR else socket.AF_INET6
        for number, pod in enumerate(at.pods):
            sock = socket.create_server((pod, POD_PORT), family=family, backlog=4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _FIRST_SEGMENT + number * _SEGMENT_STEP)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
            found.append(sock)
    return found


def _number_of(answer: float) -> int:
    """Which pod answered."""
    return (int(answer) + _OPTIONS - _FIRST_SEGMENT) // _SEGMENT_STEP


# Calls, and changes meanwhile


class State(NamedTuple):
    """The transactions that lead to it, and its endpoints."""

    transactions: list[Transaction]
    pods: range


class Stress:
    """One way, in a network; `run` may be called again and goes on."""

    def __init__(self, net: Net, way: Way, *, changes_per_second: float = 1e9) -> None:
        self.net = net
        self.way = way
        self.pause = 1 / changes_per_second
        self.nft = KernelNftables(net.paths["node"])
        at = way.at
        layout = way.layout(at.family, Ranges(services=(at.service_range,), pods=(at.pod_range,)))
        self.book = Book(Planner(layout, node_addresses=(at.node,)))
        self.nft.commit(Transaction(at.family, TABLE, [AddTable(), DeleteTable(), *layout.skeleton()]))
        self._last: frozenset[Made] = frozenset()
        turns = [[self._state(pods) for pods in (DISTINCT if way.renewed else SETS)] for _ in range(2)]
        for state in turns[0]:
            self._apply(state)
        self._now = turns[0][-1]
        self._coming = itertools.cycle(turns[1])  # what follows the first turn follows each

    def close(self) -> None:
        self.nft.close()

    def run(self, connections: int) -> Outcome:
        """So many connections while endpoints change."""
        with tempfile.TemporaryFile() as output:
            caller = self._start(connections, output)
            try:
                history = [Moment(time.monotonic(), time.monotonic(), self._now.pods)]
                history += self._change(caller)
                if caller.wait(timeout=_LIMIT_SECONDS):
                    raise RuntimeError(f"the caller ended with {caller.returncode}")
            finally:
                caller.kill()
                caller.wait()
            output.seek(0)
            return judged(array.array("d", output.read()), history)

    def _start(self, connections: int, output: BinaryIO) -> "subprocess.Popen[bytes]":
        host, port = self.way.where
        argv = [sys.executable, "-I", str(CALLER), host, str(port), str(connections), *self.way.at.callers]
        return namespaces.run_in(self.net.paths["client"], lambda: subprocess.Popen(argv, stdout=output))

    def _change(self, caller: "subprocess.Popen[bytes]") -> Iterator["Moment"]:
        due = time.monotonic()
        deadline = due + _LIMIT_SECONDS
        for state in self._coming:
            began = time.monotonic()
            self._apply(state)
            yield Moment(began, time.monotonic(), state.pods)
            if caller.poll() is not None:
                return
            if began > deadline:
                raise RuntimeError(f"the caller did not end in {_LIMIT_SECONDS} s")
            due = max(due + self.pause, began - _CATCH_UP_SECONDS)
            if (left := due - time.monotonic()) > 0:
                time.sleep(left)

    def _apply(self, state: State) -> None:
        for transaction in state.transactions:
            self.nft.commit(transaction)
        self._now = state

    def _state(self, pods: slice) -> State:
        """The next in the book: what the proxy would send the kernel."""
        way, at = self.way, self.way.at
        front = Front(
            vips=(at.service,),
            port=SERVICE_PORT,
            node_port=NODE_PORT,
            balancers=(at.balancer,) if way.door == "balancer" else (),
            sources=at.sources if way.door == "balancer" else (),
            backends=tuple(Backend(pod, POD_PORT) for pod in at.pods[pods]),
            affinity_seconds=way.affinity_seconds,
        )
        operations = way.order(self.book.update({KEY: front}))
        if way.renewed:
            operations += self._without_chains()
        return State([Transaction(at.family, TABLE, each) for each in operations], range(len(at.pods))[pods])

    def _without_chains(self) -> Transactions:
        """Take away the chains that only the last state but one used, out of the book too."""
        book = self.book
        used = {made for placement in book.placements.values() for made in book.planner.elements(placement)[1]}
        old = book.chains - used - self._last
        self._last = frozenset(used)
        book.chains -= old
        gone: list[Operation] = [each for made in old for each in (FlushChain(made.chain), DeleteChain(made.chain))]
        return [gone] if gone else []


class Moment(NamedTuple):
    """When the kernel was told, when it had done it, and the endpoints from then on."""

    began: float
    done: float
    pods: range


def judged(answers: Sequence[float], history: Sequence[Moment]) -> Outcome:
    """`answers` are the caller's: began, ended, who."""
    began, done = [each.began for each in history], [each.done for each in history[1:]]
    refused = late = misled = 0
    for start, end, who in zip(answers[0::3], answers[1::3], answers[2::3], strict=True):
        if who < 0:
            refused += 1
        elif who == 0:
            late += 1
        else:
            meanwhile = history[bisect_left(done, start) : bisect_right(began, end)]
            misled += not any(_number_of(who) in each.pods for each in meanwhile)
    return Outcome(len(answers) // 3, refused, late, misled, len(history) - 1, history[-1].done - history[0].began)
