"""What is there from the start: namespaces, default roles, priority classes, the `kubernetes` Service, by whom clients'
certificates are signed."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from pybernetes.api import resources
from pybernetes.api.errors import AlreadyExists
from pybernetes.api.objects import Obj, copied, metadata, name_of
from pybernetes.api.resources import Resource

from .auth.defaults import cluster_role_bindings, cluster_roles, role_bindings, roles
from .auth.escalation import lacking
from .auth.rbac import compiled
from .published_trust import joined, published
from .registry import Registry
from .users import AUTHENTICATED, MASTERS, User
from .writes import Write

log = logging.getLogger("pybernetes.apiserver.bootstrap")

SELF = User("system:apiserver", (MASTERS, AUTHENTICATED))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_OURS = {"component": "apiserver", "provider": "kubernetes"}

Seed = tuple[Resource, Obj]


async def bootstrap(
    registry: Registry, *, service_ranges: Iterable[str], address: str, port: int, client_ca: str = ""
) -> None:
    """Make what is missing, and set right what is ours alone. Safe to run at every start. `client_ca` is PEM."""
    ranges = tuple(service_ranges)
    trust = [(resources.CONFIG_MAPS, published(client_ca))] if client_ca else []
    for wave in (_namespaces(), _roles(), _cluster(ranges, address, port), trust):
        await asyncio.gather(*(_ensure(registry, row, obj) for row, obj in wave))


async def _ensure(registry: Registry, row: Resource, obj: Obj) -> None:
    """There, with the content that is ours (rules, subjects, addresses)."""
    write = Write(user=SELF, manager="pybernetes")
    namespace = metadata(obj).get("namespace", "")
    found = registry.read(row, namespace, name_of(obj))
    if found is None:
        with contextlib.suppress(AlreadyExists):  # another server was first
            await registry.create(row, copied(obj), namespace=namespace, write=write)
        return
    if metadata(found).get("annotations", {}).get("rbac.authorization.kubernetes.io/autoupdate") == "false":
        return
    wanted = _reconciled(row, copied(found), obj)
    if wanted != found:
        await registry.update(
            row,
            name_of(obj),
            lambda old: _reconciled(row, old, obj),
            namespace=namespace,
            write=write,
        )


_CONTENT: dict[Resource, tuple[str, ...]] = {
    resources.ENDPOINTS: ("subsets",),
    resources.ENDPOINT_SLICES: ("endpoints", "ports"),
}


def _reconciled(row: Resource, found: Obj, ours: Obj) -> Obj:
    """What is there with what of ours it lacks; further rules and subjects that somebody added stay (docs: RBAC,
    "Auto-reconciliation"). `found` is the caller's own."""
    if row == resources.CONFIG_MAPS:
        return joined(found, ours, now=datetime.now(UTC))
    for name in _CONTENT.get(row, ()):
        found[name] = copied(ours)[name]
    if row.group != resources.ROLES.group:
        return found
    for name in ("labels", "annotations"):
        values = metadata(ours).get(name) or {}
        found["metadata"][name] = values | (metadata(found).get(name) or {})
    if ours.get("aggregationRule"):
        return found | {"aggregationRule": found.get("aggregationRule") or ours["aggregationRule"]}
    if "rules" in ours:
        missing = lacking(compiled(found.get("rules")), ours["rules"])
        found["rules"] = [*(found.get("rules") or ()), *missing]
    else:
        subjects = found.get("subjects") or []
        found["subjects"] = [*subjects, *(one for one in ours["subjects"] if one not in subjects)]
    return found


def _namespaces() -> Iterator[Seed]:
    for name in NAMESPACES:
        yield resources.NAMESPACES, _object(resources.NAMESPACES, name)


def _roles() -> Iterator[Seed]:
    yield from ((resources.CLUSTER_ROLES, role) for role in cluster_roles())
    yield from ((resources.CLUSTER_ROLE_BINDINGS, binding) for binding in cluster_role_bindings())
    yield from ((resources.ROLES, role) for role in roles())
    yield from ((resources.ROLE_BINDINGS, binding) for binding in role_bindings())


def _cluster(ranges: tuple[str, ...], address: str, port: int) -> Iterator[Seed]:
    for name, value, text in (
        ("system-cluster-critical", 2_000_000_000, "cluster critical pods that can move to another node"),
        ("system-node-critical", 2_000_001_000, "pods that their node cannot do without"),
    ):
        row = resources.PRIORITY_CLASSES
        yield row, _object(row, name) | {"value": value, "description": f"Used for {text}."}
    row = resources.SERVICE_CIDRS
    yield row, _object(row, "kubernetes") | {"spec": {"cidrs": list(ranges)}}
    yield from _kubernetes(str(ip_network(ranges[0])[1]), address, port)


def _kubernetes(cluster_ip: str, address: str, port: int) -> Iterator[Seed]:
    """The Service under which pods find this server, with its endpoints."""
    service = _object(resources.SERVICES, "kubernetes", namespace="default", labels=_OURS)
    service["spec"] = {
        "type": "ClusterIP",
        "clusterIP": cluster_ip,
        "clusterIPs": [cluster_ip],
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        "sessionAffinity": "None",
    }
    yield resources.SERVICES, service
    if ip_address(address).is_loopback:
        return  # no pod reaches it: the Service has no endpoints, which the API would not take either
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    endpoints = _object(resources.ENDPOINTS, "kubernetes", namespace="default", labels=labels)
    yield resources.ENDPOINTS, endpoints | {"subsets": [{"addresses": [{"ip": address}], "ports": ports}]}
    labels = {"kubernetes.io/service-name": "kubernetes"}
    piece = _object(resources.ENDPOINT_SLICES, "kubernetes", namespace="default", labels=labels)
    yield (
        resources.ENDPOINT_SLICES,
        piece
        | {
            "addressType": f"IPv{ip_address(address).version}",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": ports,
        },
    )


def _object(row: Resource, name: str, *, namespace: str = "", labels: dict[str, str] | None = None) -> Obj:
    meta: Obj = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = dict(labels)
    return {"apiVersion": row.api_version, "kind": row.kind, "metadata": meta}
