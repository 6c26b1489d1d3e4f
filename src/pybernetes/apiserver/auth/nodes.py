"""The Node authorizer: a kubelet reads what the pods bound to its node refer to, and no more (KEP-4601 included).

Source: docs, "Using Node Authorization"; plugin/pkg/auth/authorizer/node. What is not told apart by node here is in the
rules of the role system:node, which nobody is bound to.
"""

from collections.abc import Callable, Mapping

from ..users import User
from ..watchcache import WatchCache
from .attributes import Attributes
from .defaults import NODE_RULES
from .graph import CERTIFICATE, CLAIM, CONFIG_MAP, DEVICES, SECRET, SERVICE_ACCOUNT, SLICE, VOLUME, Graph
from .rbac import Answer, compiled

_PREFIX = "system:node:"
_NODES = "system:nodes"
_LEASES = "kube-node-lease"
_OWN = ("get", "create", "update", "patch", "delete")
_YES, _NO = Answer(True), Answer(False)

Check = Callable[["NodeAuthorizer", str, Attributes], Answer]


def node_of(user: User) -> str:
    """The node that a user is; "" for who is none."""
    return user.name[len(_PREFIX) :] if user.name.startswith(_PREFIX) and _NODES in user.groups else ""


class NodeAuthorizer:
    """Has no opinion (not allowed, no reason) of users that are no nodes."""

    def __init__(self, cache: WatchCache) -> None:
        self.graph = Graph(cache)
        self._rules = compiled(NODE_RULES)

    def answer(self, user: User, asked: Attributes) -> Answer:
        node = node_of(user)
        if not node:
            return _NO
        check = _CHECKS.get((asked.group, asked.plural)) if not asked.path else None
        if check is not None:
            return check(self, node, asked)
        return _YES if any(rule.allows(asked) for rule in self._rules) else _NO

    def related(self, node: str, kind: str, asked: Attributes) -> Answer:
        """Whether an object is of a pod on the node."""
        if not asked.name:
            return Answer(False, "No Object name found")
        if self.graph.reaches(node, (kind, asked.namespace, asked.name)):
            return _YES
        return Answer(False, f"no relationship found between node '{node}' and this object")


def _read(kind: str) -> Check:
    def check(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
        if asked.verb not in ("get", "list", "watch"):
            return Answer(False, "can only read resources of this type")
        if asked.part:
            return Answer(False, "cannot read subresource")
        if not asked.namespace:
            return Answer(False, "can only read namespaced object of this type")
        return self.related(node, kind, asked)

    return check


def _get(kind: str) -> Check:
    def check(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
        if asked.verb != "get":
            return Answer(False, "can only get individual resources of this type")
        if asked.part:
            return Answer(False, "cannot get subresource")
        return self.related(node, kind, asked)

    return check


def _claim(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    if asked.part != "status":
        return _get(CLAIM)(self, node, asked)
    if asked.verb not in ("update", "patch"):
        return Answer(False, "can only get/update/patch this type")
    return self.related(node, CLAIM, asked)


def _account(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    """Tokens of the accounts of its pods; and the accounts themselves, for credential providers (KEP-4412)."""
    if asked.verb == "get" and not asked.part:
        return self.related(node, SERVICE_ACCOUNT, asked)
    if asked.verb != "create" or not asked.name:
        return Answer(False, "can only create tokens for individual service accounts")
    if asked.part != "token":
        return Answer(False, "can only create token subresource of serviceaccount")
    return self.related(node, SERVICE_ACCOUNT, asked)


def _lease(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    del self
    if asked.verb not in _OWN:
        return Answer(False, "can only get, create, update, patch, or delete a node lease")
    if asked.namespace != _LEASES:
        return Answer(False, f'can only access leases in the "{_LEASES}" system namespace')
    if asked.verb != "create" and asked.name != node:
        return Answer(False, "can only access node lease with the same name as the requesting node")
    return _YES


def _csi_node(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    del self
    if asked.verb not in _OWN:
        return Answer(False, "can only get, create, update, patch, or delete a CSINode")
    if asked.part:
        return Answer(False, "cannot authorize CSINode subresources")
    if asked.verb != "create" and asked.name != node:
        return Answer(False, "can only access CSINode with the same name as the requesting node")
    return _YES


def _selects(asked: Attributes, path: str, value: str) -> bool:
    return any(term.equal and term.path == path and term.value == value for term in asked.fields)


def _slice(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    if asked.part:
        return Answer(False, "cannot authorize ResourceSlice subresources")
    match asked.verb:
        case "create":
            return _YES
        case "get" | "update" | "patch" | "delete":
            return self.related(node, SLICE, asked)
        case "list" | "watch" | "deletecollection" if _selects(asked, "spec.nodeName", node):
            return _YES
    return Answer(False, "can only list/watch/deletecollection resourceslices with nodeName field selector")


def _certificate(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    """Requests for the certificates of its pods."""
    if asked.part:
        return Answer(False, "nodes may not access the status subresource of PodCertificateRequests")
    match asked.verb:
        case "create":
            return _YES  # NodeRestriction says for which pods
        case "get":
            return self.related(node, CERTIFICATE, asked)
        case "list" | "watch" if _selects(asked, "spec.nodeName", node):
            return _YES
        case "list" | "watch":
            return Answer(False, "can only list/watch podcertificaterequests with spec.nodeName field selector")
    return Answer(False, f"nodes may not {asked.verb} PodCertificateRequests")


def _node(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    """Any node may be made (its admission checks the name); only the own is read or written."""
    del self
    own = asked.name == node
    match (asked.part, asked.verb):
        case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
            return _YES
        case ("", "get" | "list" | "watch"):
            return _YES if own else Answer(False, f"node '{node}' cannot read '{asked.name}', only its own Node object")
    return _NO


def _pod(self: NodeAuthorizer, node: str, asked: Attributes) -> Answer:
    match (asked.part, asked.verb):
        case ("", "get"):
            return self.related(node, "pod", asked)
        case ("", "list" | "watch"):
            if asked.name and self.graph.reaches(node, ("pod", asked.namespace, asked.name)):
                return _YES
            if _selects(asked, "spec.nodeName", node):
                return _YES
            return Answer(False, "can only list/watch pods with spec.nodeName field selector")
        case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
            return _YES  # NodeRestriction says which
    return _NO


_CHECKS: Mapping[tuple[str, str], Check] = {
    ("", "secrets"): _read(SECRET),
    ("", "configmaps"): _read(CONFIG_MAP),
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _get(VOLUME),
    ("resource.k8s.io", "resourceclaims"): _get(DEVICES),
    ("storage.k8s.io", "volumeattachments"): _get("attachment"),
    ("", "serviceaccounts"): _account,
    ("coordination.k8s.io", "leases"): _lease,
    ("storage.k8s.io", "csinodes"): _csi_node,
    ("resource.k8s.io", "resourceslices"): _slice,
    ("certificates.k8s.io", "podcertificaterequests"): _certificate,
    ("", "nodes"): _node,
    ("", "pods"): _pod,
}
"""What is told apart by node, by group and plural."""
