"""What all workers of a node share."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pybernetes.api.objects import Obj
from pybernetes.client import Client
from pybernetes.control import EventSink

from .admission import Refusal
from .config import KubeletConfig
from .network import PodNetwork
from .references import References
from .runtime.protocol import Runtime


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The node as a worker meets it."""

    config: KubeletConfig
    client: Client
    runtime: Runtime
    network: PodNetwork
    events: EventSink
    references: References
    services: Callable[[], Iterable[Obj]]
    services_synced: asyncio.Event
    """Set once Services are known: no container starts before."""
    allocatable: Mapping[str, str]
    clock: Callable[[], float]
    refusal: Callable[[Obj], Refusal | None]
    """Why the node does not take a pod that it has not taken before; None if it does."""
