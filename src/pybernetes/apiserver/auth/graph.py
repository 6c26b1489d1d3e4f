"""What belongs to which node: node <- pod <- secret, config map, account, claim <- volume <- secret; kept by watch.

Each change of a pod, volume, attachment or slice costs what that object names; an answer costs a look-up or three.
"""

from collections.abc import Callable, Iterator
from functools import partial

from pybernetes.api import resources
from pybernetes.api.objects import Obj, annotations_of, decode, name_of, namespace_of
from pybernetes.api.resources import Resource
from pybernetes.store import Record

from ..watchcache import WatchCache

SECRET, CONFIG_MAP, SERVICE_ACCOUNT = "secret", "configmap", "serviceaccount"
CLAIM, VOLUME, DEVICES, SLICE, POD, NODE = "claim", "volume", "devices", "slice", "pod", "node"
ATTACHMENT = "attachment"
CERTIFICATE = "certificate"
_MIRROR = "kubernetes.io/config.mirror"

Vertex = tuple[str, str, str]
"""(kind, namespace, name)."""
Edges = Iterator[tuple[Vertex, Vertex]]
EdgesOf = Callable[[Obj], Edges]


class Graph:
    """`users[vertex]` are those that need a vertex: a secret's pods, a pod's node."""

    def __init__(self, cache: WatchCache) -> None:
        self._users: dict[Vertex, set[Vertex]] = {}
        self._needs: dict[str, frozenset[tuple[Vertex, Vertex]]] = {}
        edges_of: dict[Resource, EdgesOf] = {
            resources.PODS: _of_pod,
            resources.PERSISTENT_VOLUMES: _of_volume,
            resources.VOLUME_ATTACHMENTS: _of_attachment,
            resources.RESOURCE_SLICES: _of_slice,
            resources.POD_CERTIFICATE_REQUESTS: _of_certificate,
        }
        for row, edges in edges_of.items():
            cache.observe(row.prefix, partial(self._changed, edges))

    def reaches(self, node: str, vertex: Vertex) -> bool:
        """Whether the node needs it, through whatever lies between."""
        goal, seen, todo = (NODE, "", node), {vertex}, [vertex]
        while todo:
            users = self._users.get(todo.pop(), ())
            if goal in users:
                return True
            fresh = [one for one in users if one not in seen]
            seen.update(fresh)
            todo += fresh
        return False

    def _changed(self, edges: EdgesOf, key: str, record: Record | None) -> None:
        before = self._needs.pop(key, frozenset())
        after = frozenset(edges(decode(record.value))) if record is not None else frozenset()
        if after:
            self._needs[key] = after
        for vertex, user in before - after:
            users = self._users[vertex]
            users.discard(user)
            if not users:
                del self._users[vertex]
        for vertex, user in after - before:
            self._users.setdefault(vertex, set()).add(user)


def _of_pod(pod: Obj) -> Edges:
    """A mirror pod was written by its node, so that what it names proves nothing."""
    spec, namespace = pod.get("spec") or {}, namespace_of(pod)
    node = spec.get("nodeName")
    if not node:
        return
    me = (POD, namespace, name_of(pod))
    yield me, (NODE, "", node)
    if _MIRROR in annotations_of(pod):
        return
    yield (SERVICE_ACCOUNT, namespace, spec.get("serviceAccountName") or "default"), me
    for kind, name in named_by(pod):
        if name:
            yield (kind, namespace, name), me
    for status in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        if name := status.get("resourceClaimName"):
            yield (DEVICES, namespace, name), me
    extended = (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}
    if claim := extended.get("resourceClaimName"):
        yield (DEVICES, namespace, str(claim)), me


def named_by(pod: Obj) -> Iterator[tuple[str, str]]:
    """(kind, name) of what a pod's spec names in its namespace; names may be ""."""
    spec = pod.get("spec") or {}
    for one in spec.get("imagePullSecrets") or ():
        yield SECRET, one.get("name", "")
    for claim in spec.get("resourceClaims") or ():
        yield DEVICES, claim.get("resourceClaimName", "")
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            yield from _of_environment(container)
    for volume in spec.get("volumes") or ():
        yield from _of_pod_volume(volume, name_of(pod))


def _of_environment(container: Obj) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield CONFIG_MAP, (source.get("configMapRef") or {}).get("name", "")
        yield SECRET, (source.get("secretRef") or {}).get("name", "")
    for entry in container.get("env") or ():
        value = entry.get("valueFrom") or {}
        yield CONFIG_MAP, (value.get("configMapKeyRef") or {}).get("name", "")
        yield SECRET, (value.get("secretKeyRef") or {}).get("name", "")


_SECRET_REFS = ("secretRef", "nodePublishSecretRef")


def _of_pod_volume(volume: Obj, pod: str) -> Iterator[tuple[str, str]]:
    if "ephemeral" in volume:
        yield CLAIM, f"{pod}-{volume['name']}"
    yield CLAIM, (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
    for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        secret = source.get("secret") or {}
        yield SECRET, secret.get("secretName") or secret.get("name", "")
        yield CONFIG_MAP, (source.get("configMap") or {}).get("name", "")
    for kind, source in volume.items():
        if isinstance(source, dict):
            for reference in _SECRET_REFS:
                yield SECRET, (source.get(reference) or {}).get("name", "")
            if kind == "azureFile":
                yield SECRET, source.get("secretName", "")


def _of_volume(volume: Obj) -> Edges:
    """A volume is its claim's; the secrets that it names for nodes (not for its controller) are the volume's."""
    spec = volume.get("spec") or {}
    claim = spec.get("claimRef") or {}
    if not claim.get("name"):
        return
    me = (VOLUME, "", name_of(volume))
    namespace = claim.get("namespace", "")
    yield me, (CLAIM, namespace, claim["name"])
    for source in spec.values():
        if isinstance(source, dict):
            for field, reference in source.items():
                named = field == "secretRef" or (field.startswith("node") and field.endswith("SecretRef"))
                if named and isinstance(reference, dict) and reference.get("name"):
                    yield (SECRET, reference.get("namespace") or namespace, reference["name"]), me
    azure = spec.get("azureFile") or {}
    if azure.get("secretName"):
        yield (SECRET, azure.get("secretNamespace") or namespace, azure["secretName"]), me


def _of_attachment(attachment: Obj) -> Edges:
    if node := (attachment.get("spec") or {}).get("nodeName"):
        yield (ATTACHMENT, "", name_of(attachment)), (NODE, "", node)


def _of_slice(slice_: Obj) -> Edges:
    if node := (slice_.get("spec") or {}).get("nodeName"):
        yield (SLICE, "", name_of(slice_)), (NODE, "", node)


def _of_certificate(request: Obj) -> Edges:
    if node := (request.get("spec") or {}).get("nodeName"):
        yield (CERTIFICATE, namespace_of(request), name_of(request)), (NODE, "", node)
