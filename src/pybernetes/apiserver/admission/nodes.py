"""NodeRestriction: a kubelet writes its own Node, its own Lease and the pods bound to it, and nothing else of theirs.

Source: plugin/pkg/admission/noderestriction. RBAC lets every node write nodes and pods; this says which.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pybernetes.api import resources
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Obj, annotations_of, labels_of, name_of, owners_of, uid_of

from ..auth.attributes import Attributes
from ..auth.graph import CONFIG_MAP, SECRET, named_by
from ..auth.requests import BadRequestBytes, common_name
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
    """Raises Forbidden, NotFound for a pod that is not there."""
    user = call.user
    if not user.name.startswith(_USER) or _NODES not in user.groups:
        return
    if not (node := node_of(call)):
        raise call.forbidden(f'could not determine node from user "{user.name}"')
    check = _CHECKS.get(call.row.qualified)
    if check is not None and (why := check(node, call)):
        raise call.forbidden(why)


def _node(node: str, call: Call) -> str:
    if call.name != node:
        return f'node "{node}" is not allowed to modify node "{call.name}"'
    if call.new is None:
        return ""
    source, old = ((one or {}).get("spec", {}).get("configSource") for one in (call.new, call.old))
    if source is not None and call.old is None:
        return f'node "{node}" is not allowed to create pods with a non-nil configSource'
    if source is not None and source != old:
        return f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
    before = labels_of(call.old) if call.old is not None else {}
    changed = _forbidden(_changed(labels_of(call.new), before))
    if call.old is None:
        return f'node "{node}" is not allowed to set the following labels: {", ".join(changed)}' if changed else ""
    if (call.new.get("spec") or {}).get("taints") != (call.old.get("spec") or {}).get("taints"):
        return f'node "{node}" is not allowed to modify taints'
    if owners_of(call.new) != owners_of(call.old):  # with one that is gone it would have itself deleted
        return f'node "{node}" is not allowed to modify ownerReferences'
    return f"is not allowed to modify labels: {', '.join(changed)}" if changed else ""


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
    if call.part:
        check = _PARTS.get(call.part)
        if check is None:
            return f"unexpected pod subresource \"{call.part}\", only 'status' and 'eviction' are allowed"
        return check(node, call)
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
    """A static pod needs nothing of the API: its node could read what is not meant for it (HasAPIObjectReference)."""
    named, spec = [kind for kind, name in named_by(pod) if name], pod["spec"]
    what = (
        ("serviceaccounts" if spec.get("serviceAccountName") else "")
        or ("secrets" if SECRET in named else "")
        or ("configmaps" if CONFIG_MAP in named else "")
        or ("resourceclaims" if spec.get("resourceClaims") else "")
        or next((found for volume in spec.get("volumes") or () if (found := _of_volume(volume))), "")
    )
    return f'node "{node}" can not create pods that reference {what}' if what else ""


_VOLUMES = {
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
}
_SOURCES = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def _of_volume(volume: Obj) -> str:
    """The objects of the API that a volume needs; "" for none."""
    for field, what in _VOLUMES.items():
        if volume.get(field) is not None:
            return what
    sources = (volume.get("projected") or {}).get("sources") or ()
    return next((what for one in sources for field, what in _SOURCES.items() if one.get(field) is not None), "")


def _pod_status(node: str, call: Call) -> str:
    if _bound(call.old) != node:
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    assert call.new is not None
    assert call.old is not None
    if labels_of(call.new) != labels_of(call.old):
        return f'node "{node}" cannot update labels through pod status'
    if _claims_of(call.new) != _claims_of(call.old):
        return f'node "{node}" cannot update resource claim statues'
    return ""


def _claims_of(pod: Obj) -> list[tuple[Any, Any]]:
    found = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return [(one.get("name"), one.get("resourceClaimName")) for one in found]


def _eviction(node: str, call: Call) -> str:
    own = _bound(_read_pod(call, call.name)) == node
    return "" if own else f"node {node} can only evict pods with spec.nodeName set to itself"


def _read_pod(call: Call, name: str) -> Obj:
    """Raises NotFound."""
    pod = call.registry.read(resources.PODS, call.namespace, name)
    if pod is None:
        raise NotFound.of("pods", name)
    return pod


def _claim(node: str, call: Call) -> str:
    """Of a claim's status a node tells how large the volume is, and how its growing goes."""
    if call.part != "status" or call.new is None or call.old is None:
        return "may only update PVC status"
    if _rest_of_claim(call.new) != _rest_of_claim(call.old):
        return f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
    return ""


def _rest_of_claim(claim: Obj) -> Obj:
    status = {key: value for key, value in (claim.get("status") or {}).items() if key not in _OF_NODE}
    meta = {key: value for key, value in claim["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    return claim | {"metadata": meta, "status": status}


_OF_NODE = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")


def _account(node: str, call: Call) -> str:
    """A kubelet may only ask for tokens of the pods it runs, and for the audiences that they name (KEP-4935)."""
    if call.operation != "CREATE" or call.part != "token":
        return ""
    spec = call.obj.get("spec") or {}
    reference = spec.get("boundObjectRef") or {}
    if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
        return "node requested token not bound to a pod"
    if not reference.get("uid"):
        return "node requested token with a pod binding without a uid"
    pod = _read_pod(call, reference["name"])
    if uid_of(pod) != reference["uid"]:
        return (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    if _bound(pod) != node:
        return "node requested token bound to a pod scheduled on a different node"
    return _audience(call, pod, spec.get("audiences") or [])


def _audience(call: Call, pod: Obj, asked: list[str]) -> str:
    if len(asked) > 1:
        return "node may only request 0 or 1 audiences"
    audience = asked[0] if asked else ""
    if audience in set(_audiences_of(call, pod)):
        return ""
    right = Attributes("request-serviceaccounts-token-audience", "", audience, namespace=call.namespace, name=call.name)
    if audience and call.registry.authorizer.allows(call.user, right):
        return ""
    return f'audience "{audience}" not found in pod spec volume'


def _audiences_of(call: Call, pod: Obj) -> Iterator[str]:
    """Those of its projected tokens, and those that the CSI drivers of its volumes ask for."""
    for volume in pod["spec"].get("volumes") or ():
        for part in (volume.get("projected") or {}).get("sources") or ():
            if (token := part.get("serviceAccountToken")) is not None:
                yield str(token.get("audience") or "")
        if driver := _driver_of(call, pod, volume):
            found = call.registry.read(resources.CSI_DRIVERS, "", driver) or {}
            for one in (found.get("spec") or {}).get("tokenRequests") or ():
                yield str(one.get("audience") or "")


def _driver_of(call: Call, pod: Obj, volume: Obj) -> str:
    """The CSI driver behind a volume, "" for none."""
    if csi := volume.get("csi"):
        return str(csi.get("driver", ""))
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName") or (
        f"{name_of(pod)}-{volume['name']}" if volume.get("ephemeral") is not None else ""
    )
    if not claim:
        return ""
    bound = call.registry.read(resources.PERSISTENT_VOLUME_CLAIMS, call.namespace, claim) or {}
    name = (bound.get("spec") or {}).get("volumeName", "")
    found = call.registry.read(resources.PERSISTENT_VOLUMES, "", name) if name else None
    return str((((found or {}).get("spec") or {}).get("csi") or {}).get("driver", ""))


def _lease(node: str, call: Call) -> str:
    if call.namespace != _LEASES:
        return f'can only access leases in the "{_LEASES}" system namespace'
    return "" if call.name == node else "can only access node lease with the same name as the requesting node"


def _csi_node(node: str, call: Call) -> str:
    return "" if call.name == node else "can only access CSINode with the same name as the requesting node"


def _slice(node: str, call: Call) -> str:
    """What changes one that is there is asked of the authorizer, which knows whose it is."""
    if call.operation not in ("CREATE", "DELETE") or (call.obj.get("spec") or {}).get("nodeName") == node:
        return ""
    return f"can only {call.operation.lower()} ResourceSlice with the same NodeName as the requesting node"


def _certificate_request(node: str, call: Call) -> str:
    if not call.is_new(resources.CERTIFICATE_SIGNING_REQUESTS) or call.obj["spec"].get("signerName") not in _SIGNERS:
        return ""
    try:
        name = common_name(call.obj["spec"].get("request") or "")
    except BadRequestBytes as error:
        return f"unable to parse csr: {error}"
    return "" if name == f"{_USER}{node}" else f"can only create a node CSR with CN={_USER}{node}"


def _pod_certificate(node: str, call: Call) -> str:
    """For a pod that it runs, as that pod's account, and by its own name."""
    if not call.is_new(resources.POD_CERTIFICATE_REQUESTS):
        return ""
    spec = call.obj["spec"]
    pod = _read_pod(call, spec.get("podName", ""))
    account = (pod["spec"].get("serviceAccountName")) or "default"
    owner = call.registry.read(resources.SERVICE_ACCOUNTS, call.namespace, account)
    own = call.registry.read(resources.NODES, "", node)
    if spec.get("nodeName") != node or _bound(pod) != node:
        return f'PodCertificateRequest for a pod that is not on the requesting node "{node}"'
    if _MIRROR in annotations_of(pod):
        return "pod is a mirror pod"
    for field, wanted in (
        ("podUID", uid_of(pod)),
        ("serviceAccountName", account),
        ("serviceAccountUID", uid_of(owner) if owner is not None else ""),
        ("nodeUID", uid_of(own) if own is not None else ""),
    ):
        if spec.get(field) != wanted:
            return f'PodCertificateRequest.Spec.{field[0].upper()}{field[1:]} is "{spec.get(field)}", not "{wanted}"'
    return ""


_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
_PARTS: Mapping[str, Callable[[str, Call], str]] = {"status": _pod_status, "eviction": _eviction}
_CHECKS: Mapping[str, Callable[[str, Call], str]] = {
    "nodes": _node,
    "pods": _pod,
    "persistentvolumeclaims": _claim,
    "serviceaccounts": _account,
    "leases.coordination.k8s.io": _lease,
    "csinodes.storage.k8s.io": _csi_node,
    "resourceslices.resource.k8s.io": _slice,
    "certificatesigningrequests.certificates.k8s.io": _certificate_request,
    "podcertificaterequests.certificates.k8s.io": _pod_certificate,
}
"""What is wrong with a kubelet's write, by resource; "" for nothing."""
