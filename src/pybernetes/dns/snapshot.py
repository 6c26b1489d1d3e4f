"""The index that answers are read from: services, their slices, namespaces, and who has which address.

Changes are synchronous, so a question never sees half of one, and each says what it touched: the answers that may
differ now are those owned by a touched token, and only they are forgotten (see table.py).
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from pybernetes.api.objects import Key

from .names import unpacked
from .rows import Endpoint, Pod, Port, Service, Slice

Token = Hashable
"""Who owns an answer: a service's Key, an address (bytes), or a namespace's name (all names below it)."""


@dataclass(slots=True)
class Snapshot:
    """All of the cluster that names are made of."""

    services: dict[Key, Service] = field(default_factory=dict)
    slices: dict[Key, dict[Key, Slice]] = field(default_factory=dict)
    """By service, then by the slice's own key; a slice may come before its service."""
    namespaces: set[str] = field(default_factory=set)
    cluster_ips: dict[bytes, dict[Key, None]] = field(default_factory=dict)
    endpoint_ips: dict[bytes, dict[Key, None]] = field(default_factory=dict)
    """Services by the addresses of their endpoints."""
    pods: dict[Key, Pod] = field(default_factory=dict)
    pod_ips: dict[tuple[str, bytes], set[Key]] = field(default_factory=dict)
    """By namespace and address: of the whole cluster only when pod names are verified."""
    clients: dict[str, Pod] = field(default_factory=dict)
    """Pods with a search list of ours, by address as a socket tells it; the newest has it."""
    serial: int = 1
    """Of the zone: the unix time of the latest change."""
    _owners: dict[Key, Key] = field(default_factory=dict)
    """Slice to service, since a slice may be relabelled and a deletion may come without labels."""

    def put_service(self, row: Service) -> set[Token]:
        """Add or replace; returns what is touched, nothing when the row is as before."""
        was = self.services.get(row.key)
        if was == row:
            return set()
        touched = self.drop_service(row.key)
        self.services[row.key] = row
        for address in row.addresses:
            self.cluster_ips.setdefault(address, {})[row.key] = None
        return touched | {row.key, *row.addresses}

    def drop_service(self, key: Key) -> set[Token]:
        was = self.services.pop(key, None)
        if was is None:
            return set()
        for address in was.addresses:
            _discard(self.cluster_ips, address, key)
        return {key, *was.addresses}

    def put_slice(self, row: Slice) -> set[Token]:
        owner = self._owners.get(row.key)
        if owner is not None and self.slices[owner].get(row.key) == row:
            return set()
        touched = self.drop_slice(row.key)
        self._owners[row.key] = row.service
        self.slices.setdefault(row.service, {})[row.key] = row
        for endpoint in row.endpoints:
            self.endpoint_ips.setdefault(endpoint.address, {})[row.service] = None
        return touched | {row.service, *(endpoint.address for endpoint in row.endpoints)}

    def drop_slice(self, key: Key) -> set[Token]:
        service = self._owners.pop(key, None)
        if service is None:
            return set()
        held = self.slices[service]
        was = held.pop(key)
        if not held:
            del self.slices[service]
        left = {endpoint.address for row in held.values() for endpoint in row.endpoints}
        for endpoint in was.endpoints:
            if endpoint.address not in left:
                _discard(self.endpoint_ips, endpoint.address, service)
        return {service, *(endpoint.address for endpoint in was.endpoints)}

    def put_namespace(self, name: str) -> set[Token]:
        if name in self.namespaces:
            return set()
        self.namespaces.add(name)
        return {name}

    def drop_namespace(self, name: str) -> set[Token]:
        if name not in self.namespaces:
            return set()
        self.namespaces.discard(name)
        return {name}

    def put_pod(self, row: Pod) -> set[Token]:
        """Pod names are never kept in the table, so no token is touched."""
        self.drop_pod(row.key)
        self.pods[row.key] = row
        for address in row.addresses:
            self.pod_ips.setdefault((row.key.namespace, address), set()).add(row.key)
            if row.searches is not None:
                self.clients[unpacked(address)] = row
        return set()

    def drop_pod(self, key: Key) -> set[Token]:
        was = self.pods.pop(key, None)
        for address in was.addresses if was else ():
            held = self.pod_ips[key.namespace, address]
            held.discard(key)
            if not held:
                del self.pod_ips[key.namespace, address]
            client = self.clients.get(unpacked(address))
            if client is not None and client.key == key:
                del self.clients[unpacked(address)]
        return set()

    def endpoints(self, service: Key) -> Iterator[tuple[Endpoint, tuple[Port, ...]]]:
        """The ready endpoints of a service with their ports, slice by slice."""
        for row in self.slices.get(service, {}).values():
            for endpoint in row.endpoints:
                yield endpoint, row.ports

    def frozen(self) -> "Snapshot":
        """A copy that later changes leave alone; the rows are shared. Pods are left out."""
        return Snapshot(
            services=dict(self.services),
            slices={key: dict(rows) for key, rows in self.slices.items()},
            namespaces=set(self.namespaces),
            cluster_ips={address: dict(keys) for address, keys in self.cluster_ips.items()},
            endpoint_ips={address: dict(keys) for address, keys in self.endpoint_ips.items()},
            serial=self.serial,
        )

    def dns_services(self, addresses: Iterable[bytes]) -> list[Service]:
        """The services whose cluster address is one of ours: kube-dns."""
        keys = {key: None for address in addresses for key in self.cluster_ips.get(address, ())}
        return [self.services[key] for key in keys]


def _discard(index: dict[bytes, dict[Key, None]], address: bytes, key: Key) -> None:
    held = index.get(address)
    if held is not None:
        held.pop(key, None)
        if not held:
            del index[address]
