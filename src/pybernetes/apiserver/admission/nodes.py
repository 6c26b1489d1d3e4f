"""NodeRestriction: a kubelet writes its own Node, its own Lease and the pods bound to it, and nothing else of theirs.

Source: plugin/pkg/admission/noderestriction. RBAC lets every node write nodes and pods; this says which.
"""

from collections.abc import Callable, Mapping

from pybernetes.api import resources
from pybernetes.api.objects import Obj, annotations_of, labels_of, owners_of, uid_of

from .call import Call

_USER = "system:node:"
_NODES = "system:nodes"
_MIRROR = "kubernetes.io/config.mirror"
_LEASES = "kube-node-lease"
_RESTRICTED = "node-restriction.kubernetes.io"
_OWN_LABELS = frozenset(
    {
        *("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"),
        *("topology.kubernetes.io/zone", "topology.kubernetes.io/region", "node.kubernetes.io/instance-type"),
        *("failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"),
        *("beta.kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type"),
    }
)
_OWN_LABEL_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")


def node_of(call: Call) -> str:
    """The name of the node that asks; "" when no kubelet does."""
    user = call.user
    return user.name[len(_USER) :] if user.name.startswith(_USER) and _NODES in user.groups else ""


def node_restriction(call: Call) -> None:
    """Raises Forbidden."""
    if not call.user.name.startswith(_USER):
        return
    node = node_of(call)
    check = _CHECKS.get((call.row.qualified, call.part)) if node else None
    if check is not None and (why := check(node, call)):
        raise call.forbidden(why)


def _node(node: str, call: Call) -> str:
    if call.name != node:
        return f'node "{node}" is not allowed to modify node "{call.name}"'
    if call.new is None:
        return ""
    before = labels_of(call.old) if call.old is not None else {}
    changed = _forbidden(_changed(labels_of(call.new), before))
    if call.old is None:
        return f'node "{node}" is not allowed to set the following labels: {", ".join(changed)}' if changed else ""
    if (call.new.get("spec") or {}).get("taints") != (call.old.get("spec") or {}).get("taints"):
        return f'node "{node}" is not allowed to modify taints'
    return f"is not allowed to modify labels: {', '.join(changed)}" if changed else ""


def _node_status(node: str, call: Call) -> str:
    """Spec and labels are beyond a status write; only whose it is remains to be asked."""
    return "" if call.name == node else f'node "{node}" is not allowed to modify node "{call.name}"'


def _changed(new: Mapping[str, str], old: Mapping[str, str]) -> set[str]:
    return {key for key in {*new, *old} if new.get(key) != old.get(key)}


def _forbidden(changed: set[str]) -> list[str]:
    return sorted(key for key in changed if _is_restricted(key) or (_is_kubernetes(key) and not _is_own(key)))


def _within(namespace: str, domain: str) -> bool:
    return namespace == domain or namespace.endswith(f".{domain}")


def _is_restricted(key: str) -> bool:
    return "/" in key and _within(key.partition("/")[0], _RESTRICTED)


def _is_kubernetes(key: str) -> bool:
    namespace = key.partition("/")[0] if "/" in key else ""
    return _within(namespace, "kubernetes.io") or _within(namespace, "k8s.io")


def _is_own(key: str) -> bool:
    namespace = key.partition("/")[0]
    return key in _OWN_LABELS or any(_within(namespace, domain) for domain in _OWN_LABEL_NAMESPACES)


def _bound(pod: Obj | None) -> str:
    return str(((pod or {}).get("spec") or {}).get("nodeName", ""))


def _pod(node: str, call: Call) -> str:
    match call.operation:
        case "CREATE":
            return _mirror(node, call.obj, call.registry.read(resources.NODES, "", node))
        case "DELETE":
            bound = _bound(call.old) == node
            return "" if bound else f'node "{node}" can only delete pods with spec.nodeName set to itself'
    return f'unexpected operation "{call.operation}", node "{node}" can only create and delete mirror pods'


def _mirror(node: str, pod: Obj, own: Obj | None) -> str:
    """A kubelet shows its static pods, and must not smuggle in anything else."""
    if _MIRROR not in annotations_of(pod):
        return f'pod does not have "{_MIRROR}" annotation, node "{node}" can only create mirror pods'
    if _bound(pod) != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    owners = owners_of(pod)
    if len(owners) > 1:
        return f'node "{node}" can only create pods with a single owner reference set to itself'
    if not any((one.get("apiVersion"), one.get("kind"), one.get("name")) == ("v1", "Node", node) for one in owners):
        return f'node "{node}" can only create pods with an owner reference set to itself'
    owner = owners[0]
    if not owner.get("controller"):
        return f'node "{node}" can only create pods with a controller owner reference set to itself'
    if owner.get("blockOwnerDeletion"):
        return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
    if own is None or owner.get("uid") != uid_of(own):
        found = uid_of(own) if own is not None else ""
        return f"node {node} UID mismatch: expected {owner.get('uid')} got {found}"
    return _references(node, pod)


def _references(node: str, pod: Obj) -> str:
    spec = pod["spec"]
    what = ""
    if spec.get("serviceAccountName"):
        what = "a service account"
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            for field, name in _REFERENCES:
                what = what or (name if source.get(field) is not None else "")
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        sources = [one.get("valueFrom") or {} for one in container.get("env") or ()]
        for source in (*sources, *(container.get("envFrom") or ())):
            for field, name in _ENV_REFERENCES:
                what = what or (name if source.get(field) is not None else "")
    return f'node "{node}" can not create pods that reference {what}' if what else ""


_REFERENCES = (
    ("secret", "secrets"),
    ("configMap", "configmaps"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
)
_ENV_REFERENCES = (
    *(("secretKeyRef", "secrets"), ("secretRef", "secrets")),
    *(("configMapKeyRef", "configmaps"), ("configMapRef", "configmaps")),
)


def _pod_status(node: str, call: Call) -> str:
    if _bound(call.old) != node:
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    assert call.new is not None
    assert call.old is not None
    if labels_of(call.new) != labels_of(call.old):
        return f'node "{node}" cannot update labels through pod status'
    return ""


def _eviction(node: str, call: Call) -> str:
    pod = call.registry.read(resources.PODS, call.namespace, call.name)
    return "" if _bound(pod) == node else f"node {node} can only evict pods with spec.nodeName set to itself"


def _token(node: str, call: Call) -> str:
    """A kubelet may only ask for tokens of the pods it runs."""
    reference = ((call.obj.get("spec") or {}).get("boundObjectRef")) or {}
    if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
        return "node requested token not bound to a pod"
    if not reference.get("uid"):
        return "node requested token with a pod binding without a uid"
    pod = call.registry.read(resources.PODS, call.namespace, reference["name"])
    if pod is None:
        return f'pod "{reference["name"]}" not found'
    if uid_of(pod) != reference["uid"]:
        return (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    return "" if _bound(pod) == node else "node requested token bound to a pod scheduled on a different node"


def _lease(node: str, call: Call) -> str:
    if call.namespace != _LEASES:
        return f'can only access leases in the "{_LEASES}" system namespace'
    return "" if call.name == node else f'can only access node lease with the same name as the requesting node "{node}"'


def _csi_node(node: str, call: Call) -> str:
    return "" if call.name == node else f'can only access CSINode with the same name as the requesting node "{node}"'


_CHECKS: Mapping[tuple[str, str], Callable[[str, Call], str]] = {
    ("nodes", ""): _node,
    ("nodes", "status"): _node_status,
    ("pods", ""): _pod,
    ("pods", "status"): _pod_status,
    ("pods", "eviction"): _eviction,
    ("serviceaccounts", "token"): _token,
    ("leases.coordination.k8s.io", ""): _lease,
    ("csinodes.storage.k8s.io", ""): _csi_node,
}
"""What is wrong with a kubelet's write, by resource and subresource; "" for nothing."""
