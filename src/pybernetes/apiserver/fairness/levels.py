"""Priority levels and who has which: Kubernetes' suggested configuration as a fixed table, without FlowSchema objects.

Source of names, shares and lendable percents: Kubernetes docs, "API Priority and Fairness", Defaults.
"""

from typing import NamedTuple

from ..route import Route
from ..users import MASTERS, SERVICE_ACCOUNTS, User

_KUBE_SYSTEM = f"{SERVICE_ACCOUNTS}:kube-system"
_NODES = "system:nodes"
_PROBES = ("/healthz", "/livez", "/readyz")
_ELECTION_VERBS = ("get", "create", "update")
_REMEMBERED = 2000


class LevelSpec(NamedTuple):
    """`shares` is the level's weight and its part of the seats; `lendable` percent of those are others' when idle."""

    name: str
    shares: int
    lendable: int


SYSTEM = LevelSpec("system", 30, 33)
NODE_HIGH = LevelSpec("node-high", 40, 25)
ELECTION = LevelSpec("leader-election", 10, 0)
HIGH = LevelSpec("workload-high", 40, 50)
LOW = LevelSpec("workload-low", 100, 90)
DEFAULT = LevelSpec("global-default", 20, 50)
LEVELS = (SYSTEM, NODE_HIGH, ELECTION, HIGH, LOW, DEFAULT)


class Schema(NamedTuple):
    """One kind of traffic; its flows are told apart by user or by namespace. Without a level it never waits."""

    name: str
    level: LevelSpec | None
    by_namespace: bool = False


EXEMPT = Schema("exempt", None)
PROBES = Schema("probes", None)
_SYSTEM_ELECTION = Schema("system-leader-election", ELECTION)
_WORKLOAD_ELECTION = Schema("workload-leader-election", ELECTION)
_NODE_HIGH = Schema("system-node-high", NODE_HIGH)
_MANAGER = Schema("kube-controller-manager", HIGH, by_namespace=True)
_SCHEDULER = Schema("kube-scheduler", HIGH, by_namespace=True)
_KUBE_ACCOUNTS = Schema("kube-system-service-accounts", HIGH, by_namespace=True)
_ACCOUNTS = Schema("service-accounts", LOW)


class _Kind(NamedTuple):
    """What a user's requests are: those on leases, those on nodes, and the rest."""

    rest: Schema
    leases: Schema
    nodes: Schema


class Classifier:
    """Remembers users, so that a request costs a look-up."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, tuple[str, ...]], _Kind] = {}

    def of(self, user: User, route: Route) -> Schema:
        key = (user.name, user.groups)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _REMEMBERED:
                self._kinds.clear()
            kind = self._kinds[key] = _kind(user)
        row = route.resource
        if row is None:
            return PROBES if route.path.startswith(_PROBES) else kind.rest
        if row.plural == "leases":
            return kind.leases if route.verb in _ELECTION_VERBS else kind.rest
        if row.plural == "nodes" and not row.group:
            return kind.nodes
        return kind.rest


def _kind(user: User) -> _Kind:
    groups = user.groups
    if MASTERS in groups:
        return _Kind(EXEMPT, EXEMPT, EXEMPT)
    if _NODES in groups:
        return _Kind(Schema("system-nodes", SYSTEM), _NODE_HIGH, _NODE_HIGH)
    for name, schema in (("system:kube-controller-manager", _MANAGER), ("system:kube-scheduler", _SCHEDULER)):
        if user.name == name:
            return _Kind(schema, _SYSTEM_ELECTION, schema)
    if _KUBE_SYSTEM in groups:
        return _Kind(_KUBE_ACCOUNTS, _SYSTEM_ELECTION, _KUBE_ACCOUNTS)
    if SERVICE_ACCOUNTS in groups:
        return _Kind(_ACCOUNTS, _WORKLOAD_ELECTION, _ACCOUNTS)
    rest = Schema("global-default", DEFAULT)
    return _Kind(rest, rest, rest)
