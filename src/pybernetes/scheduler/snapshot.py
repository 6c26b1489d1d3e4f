"""What the scheduler knows of the cluster: nodes and the pods on them, kept up to date by deltas.

A pod is counted on its node from the moment it is decided ("assumed"), not from when the API says so: the next
decision must not give the same room away again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pybernetes.api.objects import Key, Obj, controller_of, is_deleting, key_of, labels_of, name_of, namespace_of
from pybernetes.control.hostports import HostPort, host_ports
from pybernetes.control.pods import is_terminal, node_of
from pybernetes.control.taints import taints_of

from .resources import Amounts, amounts, requests_of, scored


@dataclass(frozen=True, slots=True)
class Placed:
    """One pod on a node, with what scheduling asks of it worked out once."""

    pod: Obj
    requests: Amounts
    ports: tuple[HostPort, ...]
    owner: str

    @classmethod
    def of(cls, pod: Obj) -> "Placed":
        owner = controller_of(pod)
        return cls(pod, requests_of(pod), tuple(host_ports(pod)), str(owner["uid"]) if owner else "")

    @property
    def key(self) -> Key:
        return key_of(self.pod)

    @property
    def namespace(self) -> str:
        return namespace_of(self.pod)

    @property
    def labels(self) -> Mapping[str, str]:
        return labels_of(self.pod)

    @property
    def leaving(self) -> bool:
        return is_deleting(self.pod)

    @property
    def anti_affinity(self) -> list[Obj]:
        """Its required anti-affinity terms."""
        affinity = ((self.pod.get("spec") or {}).get("affinity") or {}).get("podAntiAffinity") or {}
        found: list[Obj] = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or []
        return found


@dataclass(slots=True)
class NodeInfo:
    """A node and what is on it. `node` is None while pods are known on a node that is not (yet, or any more)."""

    name: str
    node: Obj | None = None
    allocatable: Amounts = field(default_factory=Counter)
    requested: Amounts = field(default_factory=Counter)
    scored_cpu: int = 0
    scored_memory: int = 0
    pods: dict[Key, Placed] = field(default_factory=dict)
    owners: Counter[str] = field(default_factory=Counter)
    """Pods that are not leaving, by controlling owner."""
    ports: Counter[HostPort] = field(default_factory=Counter)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: list[Obj] = field(default_factory=list)
    cordoned: bool = False

    def set_node(self, node: Obj | None) -> None:
        self.node = node
        self.labels, self.taints = labels_of(node or {}), taints_of(node or {})
        self.cordoned = bool(((node or {}).get("spec") or {}).get("unschedulable"))
        status = (node or {}).get("status") or {}
        self.allocatable = amounts(status.get("allocatable") or status.get("capacity"))

    def add(self, placed: Placed) -> None:
        self.pods[placed.key] = placed
        self._count(placed, 1)

    def remove(self, key: Key) -> None:
        if (placed := self.pods.pop(key, None)) is not None:
            self._count(placed, -1)

    def _count(self, placed: Placed, sign: int) -> None:
        cpu, memory = scored(placed.requests)
        self.scored_cpu += sign * cpu
        self.scored_memory += sign * memory
        for name, amount in placed.requests.items():
            self.requested[name] += sign * amount
        for port in placed.ports:
            self.ports[port] += sign
            if not self.ports[port]:
                del self.ports[port]
        if placed.owner and not placed.leaving:
            self.owners[placed.owner] += sign


class Snapshot:
    """All nodes. Changed only by the methods here, synchronously."""

    def __init__(self, nodes: Iterable[Obj] = (), pods: Iterable[Obj] = ()) -> None:
        self.infos: dict[str, NodeInfo] = {}
        self._where: dict[Key, str] = {}
        self._assumed: set[Key] = set()
        self._guarded: set[Key] = set()
        self._present: list[NodeInfo] | None = None
        for node in nodes:
            self.set_node(node)
        for pod in pods:
            self.set_pod(pod)

    @property
    def present(self) -> Sequence[NodeInfo]:
        """The nodes that are there, in order of arrival."""
        if self._present is None:
            self._present = [info for info in self.infos.values() if info.node is not None]
        return self._present

    def __iter__(self) -> Iterator[NodeInfo]:
        return iter(self.present)

    def __len__(self) -> int:
        return len(self.present)

    @property
    def guarded(self) -> Iterator[tuple[NodeInfo, Placed]]:
        """The pods that keep others away: those with required anti-affinity."""
        for key in self._guarded:
            info = self.infos[self._where[key]]
            yield info, info.pods[key]

    def set_node(self, node: Obj) -> None:
        info = self._info(name_of(node))
        if info.node is None:
            self._present = None
        info.set_node(node)

    def remove_node(self, name: str) -> None:
        if (info := self.infos.get(name)) is not None:
            self._present = None
            info.set_node(None)
            if not info.pods:
                del self.infos[name]

    def set_pod(self, pod: Obj) -> None:
        """A pod as the API has it: on its node, or (still) on the one it is assumed on, or nowhere."""
        key, name = key_of(pod), node_of(pod)
        if is_terminal(pod):
            self.remove_pod(key)
        elif name:
            self._assumed.discard(key)
            self._place(pod, name)
        elif key not in self._assumed:
            self.remove_pod(key)

    def assume(self, pod: Obj, name: str) -> None:
        """Count the pod on a node before the API does."""
        self._assumed.add(key_of(pod))
        self._place(pod, name)

    def is_assumed(self, key: Key) -> bool:
        return key in self._assumed

    def forget(self, key: Key) -> None:
        """The binding failed."""
        if key in self._assumed:
            self.remove_pod(key)

    def remove_pod(self, key: Key) -> None:
        self._assumed.discard(key)
        self._guarded.discard(key)
        name = self._where.pop(key, "")
        info = self.infos.get(name)
        if info is not None:
            info.remove(key)
            if info.node is None and not info.pods:
                del self.infos[name]

    def _place(self, pod: Obj, name: str) -> None:
        key = key_of(pod)
        old = self._where.get(key)
        if old is not None:
            self.infos[old].remove(key)
        placed = Placed.of(pod)
        self._where[key] = name
        self._info(name).add(placed)
        if placed.anti_affinity:
            self._guarded.add(key)
        else:
            self._guarded.discard(key)

    def _info(self, name: str) -> NodeInfo:
        if name not in self.infos:
            self.infos[name] = NodeInfo(name)
        return self.infos[name]
