"""What the proxy knows of a Service port: the addresses it answers on, and the endpoints behind it.

Values only, small and frozen: the truth of two moments is compared with `==`. Addresses are text of either family; a
data plane takes those of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


class ServicePort(NamedTuple):
    """One port of a Service: the key of everything here."""

    namespace: str
    name: str
    port: str
    """The port's name, "" for the only one."""
    protocol: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port or self.protocol}"


FULL_WEIGHT = 100
"""The share of new connections of an endpoint about which nothing is said."""


class Backend(NamedTuple):
    """One endpoint; `local` is on this node. `weight` is its share of new connections among the others' (0: none)."""

    address: str
    port: int
    local: bool = False
    weight: int = FULL_WEIGHT


class HealthCheck(NamedTuple):
    """What a load balancer asks about a Service with externalTrafficPolicy Local."""

    port: int
    local: int
    """How many endpoints on this node are ready and take new connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A Service port as it is to be balanced.

    `vips` are its cluster IPs, `externals` its external addresses, `balancers` those of its load balancer, `node_port`
    is open on the node's own addresses (0 for none). `backends` serve cluster-wide traffic; of `local_backends` the
    Local policies take; `resting` still serve, but take nothing new.
    """

    vips: tuple[str, ...]
    port: int
    protocol: str = "TCP"
    node_port: int = 0
    externals: tuple[str, ...] = ()
    balancers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """CIDRs from which the load balancer's addresses may be called, of either family; () for all."""
    backends: tuple[Backend, ...] = ()
    local_backends: tuple[Backend, ...] = ()
    resting: tuple[Backend, ...] = ()
    internal_local: bool = False
    external_local: bool = False
    affinity_seconds: int = 0
    """A client stays with its endpoint for so long after its last new connection; 0 is no affinity."""
    drain_seconds: int | None = None
    """TCP connections to an endpoint that went are reset after so long; None: they are left to end by themselves."""


class Dataplane(Protocol):
    """Whatever does the balancing. Whole truth in, differences inside; the same truth twice changes nothing."""

    async def sync(self, desired: "Desired", *, changed: frozenset[ServicePort] | None = None) -> None:
        """Make it so; `changed` names all keys that may differ from the last call, None for any.

        Raises OSError; the next call should be one without `changed`.
        """
        ...

    async def open_at(self, node_addresses: Sequence[str]) -> None:
        """Node ports are open at these addresses from now on; what was synced is moved at once. Raises as `sync`."""
        ...

    async def house(self, pods: Sequence[str]) -> None:
        """The node's own pods are in these ranges from now on, () for any of the cluster's. Raises as `sync`."""
        ...

    async def check(self, desired: "Desired") -> int:
        """Compare what really is with what should be, and repair; returns how many entries differed."""
        ...

    async def clear(self) -> None:
        """Take away all that it ever put in place."""
        ...

    async def close(self) -> None: ...


Desired = dict[ServicePort, Front]
