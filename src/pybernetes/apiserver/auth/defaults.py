"""The default roles and bindings (docs: RBAC, "Default roles and role bindings"), as objects to be seeded at start.

Kubernetes' own names and rules, less the controllers' accounts: ours are one user, system:kube-controller-manager.
"""

from collections.abc import Iterator, Sequence

from pybernetes.api.bootstrap_tokens import JOINING
from pybernetes.api.objects import Obj

_GROUP = "rbac.authorization.k8s.io"
_READ = ("get", "list", "watch")
_EDIT = ("create", "delete", "deletecollection", "patch", "update")
_ALL = ("*",)


def rule(groups: str, resources: str, verbs: Sequence[str], names: Sequence[str] = ()) -> Obj:
    """Groups and resources as words; the core group is "core"."""
    found: Obj = {
        "apiGroups": ["" if one == "core" else one for one in groups.split()],
        "resources": resources.split(),
        "verbs": list(verbs),
    }
    return found | ({"resourceNames": list(names)} if names else {})


def paths(urls: str, verbs: Sequence[str] = ("get",)) -> Obj:
    return {"nonResourceURLs": urls.split(), "verbs": list(verbs)}


_EVENTS = rule("core events.k8s.io", "events", ("create", "patch", "update"))
_REVIEWS = (
    rule("authentication.k8s.io", "tokenreviews", ("create",)),
    rule("authorization.k8s.io", "subjectaccessreviews", ("create",)),
)

_VIEW = (
    rule(
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
        _READ,
    ),
    rule(
        "core",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status namespaces",
        _READ,
    ),
    rule("discovery.k8s.io", "endpointslices", _READ),
    rule(
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        _READ,
    ),
    rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", _READ),
    rule("batch", "cronjobs cronjobs/status jobs jobs/status", _READ),
    rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
    rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", _READ),
    rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", _READ),
)
_EDITOR = (
    rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", _READ),
    rule("core", "serviceaccounts", ("impersonate",)),
    rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", _EDIT),
    rule("core", "pods/eviction", ("create",)),
    rule("core", "pods/resize", ("patch", "update")),
    rule(
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
        _EDIT,
    ),
    rule("core", "serviceaccounts/token", ("create",)),
    rule(
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
        "statefulsets/scale",
        _EDIT,
    ),
    rule("autoscaling", "horizontalpodautoscalers", _EDIT),
    rule("batch", "cronjobs jobs", _EDIT),
    rule("policy", "poddisruptionbudgets", _EDIT),
    rule("networking.k8s.io", "ingresses networkpolicies", _EDIT),
    rule("coordination.k8s.io", "leases", (*_READ, *_EDIT)),
    rule("resource.k8s.io", "resourceclaims resourceclaimtemplates", _EDIT),
)
_ADMIN = (
    rule("authorization.k8s.io", "localsubjectaccessreviews", ("create",)),
    rule(_GROUP, "rolebindings roles", (*_READ, *_EDIT)),
)
NODE_RULES = (
    *_REVIEWS,
    rule("core", "services", _READ),
    rule("core", "nodes", ("create", *_READ, "patch", "update")),
    rule("core", "nodes/status", ("patch", "update")),
    _EVENTS,
    rule("core", "pods", (*_READ, "create", "delete")),
    rule("core", "pods/status", ("patch", "update")),
    rule("core", "pods/eviction", ("create",)),
    rule("core", "configmaps secrets", _READ),
    rule("core", "persistentvolumeclaims persistentvolumes endpoints", ("get",)),
    rule("core", "serviceaccounts/token", ("create",)),
    rule("certificates.k8s.io", "certificatesigningrequests", ("create", *_READ)),
    rule("coordination.k8s.io", "leases", ("create", "delete", "get", "patch", "update")),
    rule("storage.k8s.io", "volumeattachments", ("get",)),
    rule("storage.k8s.io", "csidrivers", _READ),
    rule("storage.k8s.io", "csinodes", ("create", "delete", "get", "patch", "update")),
    rule("node.k8s.io", "runtimeclasses", _READ),
    rule("resource.k8s.io", "resourceclaims", ("get",)),
    rule("resource.k8s.io", "resourceslices", ("create", "delete", "deletecollection", "patch", "update", *_READ)),
)
_SERVICE_READER = (
    rule("core", "endpoints services", _READ),
    rule("core", "nodes", _READ),
    _EVENTS,
    rule("discovery.k8s.io", "endpointslices", ("list", "watch", "get")),
    rule("networking.k8s.io", "servicecidrs", ("list", "watch")),
)
_SCHEDULER = (
    _EVENTS,
    rule("coordination.k8s.io", "leases", ("create",)),
    rule("coordination.k8s.io", "leases", ("get", "update", "list", "watch", "patch"), ("kube-scheduler",)),
    rule("core", "nodes namespaces", _READ),
    rule("core", "pods", ("delete", *_READ)),
    rule("core", "bindings pods/binding", ("create",)),
    rule("core", "pods/status", ("patch", "update")),
    rule("core", "replicationcontrollers services", _READ),
    rule("apps", "replicasets statefulsets daemonsets", _READ),
    rule("policy", "poddisruptionbudgets", _READ),
    rule("core", "persistentvolumeclaims persistentvolumes", (*_READ, "patch", "update")),
    rule("storage.k8s.io", "csinodes csidrivers csistoragecapacities storageclasses volumeattachments", _READ),
    rule("scheduling.k8s.io", "priorityclasses", _READ),
    rule("resource.k8s.io", "deviceclasses resourceclaims resourceslices", _READ),
    rule("resource.k8s.io", "resourceclaims resourceclaims/status", ("patch", "update")),
    *_REVIEWS,
)
_CONTROLLERS = (
    rule("*", "*", (*_READ, *_EDIT)),
    rule("core", "serviceaccounts/token", ("create",)),
    rule(_GROUP, "clusterroles", ("escalate",)),
    rule("certificates.k8s.io", "signers", ("approve", "sign"), ["kubernetes.io/*", "pybernetes.io/*"]),
    paths("*"),
    *_REVIEWS,
)
_CERTIFICATES, _CSRS = "certificates.k8s.io", "certificatesigningrequests"
_PROVISIONER = (
    rule("core", "persistentvolumes", ("create", "delete", *_READ)),
    rule("core", "persistentvolumeclaims", (*_READ, "update")),
    rule("storage.k8s.io", "storageclasses", _READ),
    rule("core", "events", ("watch",)),
    _EVENTS,
)
_VOLUME_SCHEDULER = (
    rule("core", "persistentvolumes persistentvolumeclaims", (*_READ, "patch", "update")),
    rule("storage.k8s.io", "storageclasses", _READ),
)
_DISCOVERY = paths("/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/")
_PUBLIC = paths("/healthz /livez /readyz /version /version/")
_SELF = (
    rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ("create",)),
    rule("authentication.k8s.io", "selfsubjectreviews", ("create",)),
)


def _role(name: str, rules: Sequence[Obj], **labels: str) -> Obj:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(name) | {"labels": _LABEL | labels},
        "rules": list(rules),
    }


_LABEL = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def _metadata(name: str) -> Obj:
    return {
        "name": name,
        "labels": dict(_LABEL),
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }


def _to(part: str) -> dict[str, str]:
    return {f"rbac.authorization.k8s.io/aggregate-to-{part}": "true"}


def _aggregated(name: str, **labels: str) -> Obj:
    role = _role(name, (), **labels)
    return role | {"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": _to(name)}]}}


def cluster_roles() -> Iterator[Obj]:
    yield _role("cluster-admin", (rule("*", "*", _ALL), paths("*", _ALL)))
    yield _aggregated("admin")
    yield _aggregated("edit", **_to("admin"))
    yield _aggregated("view", **_to("edit"), **_to("admin"))
    yield _role("system:aggregate-to-admin", _ADMIN, **_to("admin"))
    yield _role("system:aggregate-to-edit", _EDITOR, **_to("edit"), **_to("admin"))
    yield _role("system:aggregate-to-view", _VIEW, **_to("view"), **_to("edit"), **_to("admin"))
    yield _role("system:basic-user", _SELF)
    yield _role("system:discovery", (_DISCOVERY,))
    yield _role("system:public-info-viewer", (_PUBLIC,))
    yield _role(
        "system:monitoring", (paths("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),)
    )
    yield _role("system:auth-delegator", _REVIEWS)
    yield _role("system:node", NODE_RULES)
    yield _role("kubeadm:get-nodes", (rule("core", "nodes", ("get",)),))
    yield _role("system:node-bootstrapper", (rule(_CERTIFICATES, _CSRS, ("create", *_READ)),))
    for part in ("nodeclient", "selfnodeclient", "selfnodeserver", "nodecomponentclient"):
        yield _role(f"system:{_CERTIFICATES}:{_CSRS}:{part}", (rule(_CERTIFICATES, f"{_CSRS}/{part}", ("create",)),))
    for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown"):
        approve = rule(_CERTIFICATES, "signers", ("approve",), [f"kubernetes.io/{signer}"])
        yield _role(f"system:{_CERTIFICATES}:{signer}-approver", (approve,))
    yield _role("system:cluster-trust-bundle-discovery", (rule(_CERTIFICATES, "clustertrustbundles", _READ),))
    yield _role("system:kube-aggregator", (rule("core", "endpoints services", _READ),))
    yield _role(
        "system:node-problem-detector",
        (rule("core", "nodes", ("get",)), rule("core", "nodes/status", ("patch",)), _EVENTS),
    )
    yield _role("system:persistent-volume-provisioner", _PROVISIONER)
    yield _role("system:volume-scheduler", _VOLUME_SCHEDULER)
    yield _role("system:node-proxier", _SERVICE_READER)
    yield _role("system:kube-dns", (*_SERVICE_READER, rule("core", "pods namespaces configmaps", _READ)))
    yield _role("system:kube-scheduler", _SCHEDULER)
    yield _role("system:kube-controller-manager", _CONTROLLERS)
    yield _role(
        "system:kubelet-api-admin",
        (
            rule("core", "nodes", _READ),
            rule("core", "nodes", ("proxy",)),
            rule("core", "nodes/log nodes/metrics nodes/proxy nodes/spec nodes/stats", _ALL),
        ),
    )
    yield _role(
        "system:service-account-issuer-discovery", (paths("/.well-known/openid-configuration /openid/v1/jwks"),)
    )


_CLUSTER_INFO = "kubeadm:bootstrap-signer-clusterinfo"
"""kubeadm's name; kubeadm binds it to system:anonymous, here it is the bootstrap tokens'."""


_NODE_CONFIG = "pybernetes:node-config"


def roles() -> Iterator[Obj]:
    yield _local_role("kube-public", _CLUSTER_INFO, rule("core", "configmaps", ("get",), ["cluster-info"]))
    yield _local_role("kube-system", _NODE_CONFIG, rule("core", "configmaps", ("get",), ["pybernetes-node"]))


def _local_role(namespace: str, name: str, *rules: Obj) -> Obj:
    metadata = _metadata(name) | {"namespace": namespace}
    return {"apiVersion": f"{_GROUP}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)}


def role_bindings() -> Iterator[Obj]:
    yield _local_binding("kube-public", _CLUSTER_INFO, _subject("Group", "system:bootstrappers"))
    yield _local_binding("kube-system", _NODE_CONFIG, _subject("Group", "system:nodes"))


def _local_binding(namespace: str, name: str, *subjects: Obj) -> Obj:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(name) | {"namespace": namespace},
        "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": name},
        "subjects": list(subjects),
    }


def _subject(kind: str, name: str) -> Obj:
    return {"kind": kind, "apiGroup": _GROUP, "name": name}


_BINDINGS = (
    ("cluster-admin", "Group", "system:masters"),
    ("system:basic-user", "Group", "system:authenticated"),
    ("system:discovery", "Group", "system:authenticated"),
    ("system:public-info-viewer", "Group", "system:authenticated"),
    ("system:monitoring", "Group", "system:monitoring"),
    ("system:node-proxier", "User", "system:kube-proxy"),
    ("system:kube-dns", "User", "system:kube-dns"),
    ("system:kube-scheduler", "User", "system:kube-scheduler"),
    ("system:kube-controller-manager", "User", "system:kube-controller-manager"),
    ("system:cluster-trust-bundle-discovery", "Group", "system:serviceaccounts"),
    ("system:volume-scheduler", "User", "system:kube-scheduler"),
    ("system:service-account-issuer-discovery", "Group", "system:serviceaccounts"),
)
_CSR_ROLE = f"system:{_CERTIFICATES}:{_CSRS}"
_JOINING = (
    ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", JOINING),
    ("kubeadm:get-nodes", "kubeadm:get-nodes", JOINING),
    ("kubeadm:node-autoapprove-bootstrap", f"{_CSR_ROLE}:nodeclient", JOINING),
    ("kubeadm:node-autoapprove-certificate-rotation", f"{_CSR_ROLE}:selfnodeclient", "system:nodes"),
    ("pybernetes:node-autoapprove-serving", f"{_CSR_ROLE}:selfnodeserver", "system:nodes"),
    ("pybernetes:node-autoapprove-components", f"{_CSR_ROLE}:nodecomponentclient", "system:nodes"),
)
"""How nodes join and stay: kubeadm's bindings, and two of ours. Empty one's subjects, with autoupdate off, to approve
by hand."""


def cluster_role_bindings() -> Iterator[Obj]:
    for role, kind, name in _BINDINGS:
        yield _binding(role, role, kind, name)
    for binding, role, group in _JOINING:
        yield _binding(binding, role, "Group", group)


def _binding(name: str, role: str, kind: str, subject: str) -> Obj:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(name),
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [_subject(kind, subject)],
    }
