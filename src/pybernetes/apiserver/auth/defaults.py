"""The default roles and bindings (docs: RBAC, "Default roles and role bindings"), as objects to be seeded at start.

Names and rules are Kubernetes' (bootstrappolicy/policy.go, namespace_policy.go); what differs says why. Those of the
controllers are in controller_roles.py.
"""

from collections.abc import Iterator, Sequence

from pybernetes.api.bootstrap_tokens import JOINING
from pybernetes.api.objects import Obj

from .controller_roles import CONTROLLER_ROLES, PREFIX
from .rules import ALL, EDIT, EVENTS, GROUP, READ, REVIEWS, paths, rule

_VIEW = (
    rule(
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
        READ,
    ),
    rule(
        "core",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
        READ,
    ),
    rule("core", "namespaces", READ),
    rule("events.k8s.io", "events", READ),
    rule("discovery.k8s.io", "endpointslices", READ),
    rule(
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        READ,
    ),
    rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
    rule("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
    rule(
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status "
        "networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
        READ,
    ),
    rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
    rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
    rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", READ),
)
_EDITOR = (
    rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
    rule("core", "serviceaccounts", ("impersonate",)),
    rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", EDIT),
    rule("core", "pods/eviction", ("create",)),
    rule(
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
        EDIT,
    ),
    rule("core", "serviceaccounts/token", ("create",)),
    rule("events.k8s.io", "events", EDIT),
    rule(
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
        "statefulsets/scale",
        EDIT,
    ),
    rule("autoscaling", "horizontalpodautoscalers", EDIT),
    rule("batch", "cronjobs jobs", EDIT),
    rule(
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
        "replicasets/scale replicationcontrollers/scale",
        EDIT,
    ),
    rule("policy", "poddisruptionbudgets", EDIT),
    rule("networking.k8s.io", "ingresses networkpolicies", EDIT),
    rule("coordination.k8s.io", "leases", (*READ, *EDIT)),
    rule("resource.k8s.io", "resourceclaims resourceclaimtemplates", EDIT),
)
_ADMIN = (
    rule("authorization.k8s.io", "localsubjectaccessreviews", ("create",)),
    rule(GROUP, "rolebindings roles", (*READ, *EDIT)),
)
NODE_RULES = (
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
    rule("core", "services", READ),
    rule("core", "nodes", ("create", *READ)),
    rule("core", "nodes/status", "patch update"),
    rule("core", "nodes", "patch update"),
    EVENTS,
    rule("core", "pods", READ),
    rule("core", "pods", "create delete"),
    rule("core", "pods/status", "patch update"),
    rule("core", "pods/eviction", "create"),
    rule("core", "configmaps secrets", READ),
    rule("core", "persistentvolumeclaims persistentvolumes", "get"),
    rule("core", "endpoints", "get"),
    rule("certificates.k8s.io", "certificatesigningrequests", ("create", *READ)),
    rule("coordination.k8s.io", "leases", "create delete get patch update"),
    rule("storage.k8s.io", "volumeattachments", "get"),
    rule("core", "serviceaccounts/token", "create"),
    rule("core", "persistentvolumeclaims/status", "get patch update"),
    rule("storage.k8s.io", "csidrivers", READ),
    rule("storage.k8s.io", "csinodes", "create delete get patch update"),
    rule("node.k8s.io", "runtimeclasses", READ),
    rule("resource.k8s.io", "resourceclaims", "get"),
    rule("resource.k8s.io", "resourceslices", "deletecollection"),
    rule("certificates.k8s.io", "clustertrustbundles", READ),
    rule("core", "serviceaccounts", "get"),
    rule("certificates.k8s.io", "podcertificaterequests", ("create", *READ)),
)
_MONITORING = (
    paths("/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz"),
    rule("core", "nodes/metrics", "get"),
)
_PROXY = (
    rule("core", "endpoints services", "list watch"),
    rule("core", "nodes", READ),
    EVENTS,
    rule("networking.k8s.io", "servicecidrs", "list watch"),
    rule("discovery.k8s.io", "endpointslices", "list watch"),
)
_DNS = (
    rule("core", "endpoints services pods namespaces", "list watch"),
    rule("discovery.k8s.io", "endpointslices", "list watch"),
    EVENTS,
)
"""CoreDNS' own (its manifests name it system:coredns), and the events that ours records."""
_SCHEDULER = (
    EVENTS,
    rule("coordination.k8s.io", "leases", "create"),
    rule("coordination.k8s.io", "leases", "get list update watch", ["kube-scheduler"]),
    rule("coordination.k8s.io", "leasecandidates", (*READ, *EDIT)),
    rule("core", "nodes", READ),
    rule("core", "pods", ("delete", *READ)),
    rule("core", "bindings pods/binding", "create"),
    rule("core", "pods/status", "patch update"),
    rule("core", "replicationcontrollers services", READ),
    rule("apps extensions", "replicasets", READ),
    rule("apps", "statefulsets", READ),
    rule("policy", "poddisruptionbudgets", READ),
    rule("core", "persistentvolumeclaims persistentvolumes", READ),
    *REVIEWS,
    rule("storage.k8s.io", "csinodes", READ),
    rule("storage.k8s.io", "volumeattachments", READ),
    rule("core", "namespaces", READ),
    rule("storage.k8s.io", "csidrivers", READ),
    rule("storage.k8s.io", "csistoragecapacities", READ),
    rule("resource.k8s.io", "deviceclasses", READ),
    rule("resource.k8s.io", "resourceclaims", (*READ, "patch", "update")),
    rule("resource.k8s.io", "resourceclaims/status", (*READ, "patch", "update")),
    rule("resource.k8s.io", "resourceclaims", "create delete"),
    rule("resource.k8s.io", "resourceclaims/binding", "patch update"),
    rule("core", "pods/finalizers", "update"),
    rule("resource.k8s.io", "resourceslices devicetaintrules", READ),
)
_MANAGER = (
    EVENTS,
    rule("coordination.k8s.io", "leases", "create"),
    rule("coordination.k8s.io", "leases", "get update", ["kube-controller-manager"]),
    rule("core", "secrets serviceaccounts", "create"),
    rule("core", "secrets", "delete"),
    rule("core", "configmaps namespaces secrets serviceaccounts", "get"),
    rule("core", "secrets serviceaccounts", "update"),
    *REVIEWS,
    rule("*", "*", "list watch"),
    rule("core", "serviceaccounts/token", "create"),
    rule("core", "secrets", "patch"),  # ours: tokens of accounts are patched into their Secrets
)
"""What the controllers share: reading for all of them, their accounts and their tokens."""
_CERTIFICATES, _CSRS = "certificates.k8s.io", "certificatesigningrequests"
_PROVISIONER = (
    rule("core", "persistentvolumes", ("create", "delete", *READ)),
    rule("core", "persistentvolumeclaims", (*READ, "update")),
    rule("storage.k8s.io", "storageclasses", READ),
    rule("core", "events", ("watch",)),
    EVENTS,
)
_VOLUME_SCHEDULER = (
    rule("core", "persistentvolumes", (*READ, "patch", "update")),
    rule("storage.k8s.io", "storageclasses", READ),
    rule("core", "persistentvolumeclaims", (*READ, "patch", "update")),
)
_DISCOVERY = paths("/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/")
_PUBLIC = paths("/healthz /livez /readyz /version /version/")
_SELF = (
    rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ("create",)),
    rule("authentication.k8s.io", "selfsubjectreviews", ("create",)),
)


def _role(name: str, rules: Sequence[Obj], **labels: str) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1",
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
    yield _role("cluster-admin", (rule("*", "*", ALL), paths("*", ALL)))
    yield _aggregated("admin")
    yield _aggregated("edit", **_to("admin"))
    yield _aggregated("view", **_to("edit"))
    yield _role("system:aggregate-to-admin", _ADMIN, **_to("admin"))
    yield _role("system:aggregate-to-edit", _EDITOR, **_to("edit"))
    yield _role("system:aggregate-to-view", _VIEW, **_to("view"))
    yield _role("system:basic-user", _SELF)
    yield _role("system:discovery", (_DISCOVERY,))
    yield _role("system:public-info-viewer", (_PUBLIC,))
    yield _role("system:monitoring", _MONITORING)
    yield _role("system:auth-delegator", REVIEWS)
    yield _role("system:node", NODE_RULES)
    yield _role("kubeadm:get-nodes", (rule("core", "nodes", ("get",)),))
    yield _role("system:node-bootstrapper", (rule(_CERTIFICATES, _CSRS, ("create", *READ)),))
    for part in ("nodeclient", "selfnodeclient", "selfnodeserver", "nodecomponentclient"):
        yield _role(f"system:{_CERTIFICATES}:{_CSRS}:{part}", (rule(_CERTIFICATES, f"{_CSRS}/{part}", ("create",)),))
    for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown"):
        approve = rule(_CERTIFICATES, "signers", ("approve",), [f"kubernetes.io/{signer}"])
        yield _role(f"system:{_CERTIFICATES}:{signer}-approver", (approve,))
    yield _role("system:cluster-trust-bundle-discovery", (rule(_CERTIFICATES, "clustertrustbundles", READ),))
    yield _role("system:kube-aggregator", (rule("core", "endpoints services", READ),))
    yield _role(
        "system:node-problem-detector",
        (rule("core", "nodes", ("get",)), rule("core", "nodes/status", ("patch",)), EVENTS),
    )
    yield _role("system:persistent-volume-provisioner", _PROVISIONER)
    yield _role("system:volume-scheduler", _VOLUME_SCHEDULER)
    yield _role("system:node-proxier", _PROXY)
    yield _role("system:kube-dns", (rule("core", "endpoints services", "list watch"),))
    yield _role("system:coredns", _DNS)
    yield _role("system:kube-scheduler", _SCHEDULER)
    yield _role("system:kube-controller-manager", _MANAGER)
    yield _role(
        "system:heapster", (rule("core", "events namespaces nodes pods", READ), rule("extensions", "deployments", READ))
    )
    yield _role(
        "system:kubelet-api-admin",
        (
            rule("core", "nodes", READ),
            rule("core", "nodes", ("proxy",)),
            rule("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", ALL),
            rule("core", "nodes/configz nodes/healthz nodes/pods", ALL),
        ),
    )
    documents = "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
    yield _role("system:service-account-issuer-discovery", (paths(documents),))
    for name, rules in CONTROLLER_ROLES.items():
        yield _role(f"{PREFIX}{name}", rules)


_CLUSTER_INFO = "kubeadm:bootstrap-signer-clusterinfo"
"""kubeadm's name; kubeadm binds it to system:anonymous, here it is the bootstrap tokens'."""


_LOCKS = rule("coordination.k8s.io", "leases leasecandidates", "get watch list create update")
_LOCAL: tuple[tuple[str, str, tuple[Obj, ...], tuple[str, ...]], ...] = (
    (
        "kube-system",
        "extension-apiserver-authentication-reader",
        (rule("core", "configmaps", READ, ["extension-apiserver-authentication"]),),
        (),
    ),
    ("kube-system", f"{PREFIX}bootstrap-signer", (rule("core", "secrets", READ),), ("bootstrap-signer",)),
    (
        "kube-system",
        f"{PREFIX}cloud-provider",
        (rule("core", "configmaps", ("create", *READ)),),
        ("cloud-provider",),
    ),
    (
        "kube-system",
        f"{PREFIX}token-cleaner",
        (rule("core", "secrets", (*READ, "delete")), EVENTS),
        ("token-cleaner",),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        (_LOCKS,),
        ("system:kube-controller-manager", "kube-controller-manager", "leader-election-controller"),
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        (_LOCKS,),
        ("system:kube-scheduler", "kube-scheduler"),
    ),
    (
        "kube-public",
        f"{PREFIX}bootstrap-signer",
        (
            rule("core", "configmaps", READ),
            rule("core", "configmaps", "update patch", ["cluster-info"]),
            rule("core", "configmaps", "create"),  # kubeadm makes it there; here the signer does
            EVENTS,
        ),
        ("bootstrap-signer",),
    ),
    ("kube-public", _CLUSTER_INFO, (rule("core", "configmaps", "get", ["cluster-info"]),), ("system:bootstrappers",)),
    # ours
    (
        "kube-system",
        "pybernetes:node-config",
        (rule("core", "configmaps", "get", ["pybernetes-node"]),),
        ("system:nodes",),
    ),
    (
        "kube-system",
        f"{PREFIX}node-config",
        (
            rule("core", "configmaps", "get update patch", ["pybernetes-node"]),
            rule("core", "configmaps", "create"),
            EVENTS,
        ),
        ("node-config",),
    ),
    (
        "kube-system",
        f"{PREFIX}cluster-dns",
        (
            rule("core", "services endpoints", "get update patch", ["kube-dns"]),
            rule("core", "services endpoints", "create"),
            EVENTS,
        ),
        ("cluster-dns",),
    ),
    (
        "kube-system",
        "pybernetes:dns-config",
        (rule("core", "configmaps", READ, ["pybernetes-dns"]),),
        ("system:kube-dns",),
    ),
)
"""Namespace, name, rules, subjects: groups, users (system:...) and accounts of kube-system."""
_GROUPS = ("system:bootstrappers", "system:nodes")


def roles() -> Iterator[Obj]:
    for namespace, name, rules, _ in _LOCAL:
        metadata = _metadata(name) | {"namespace": namespace}
        yield {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)}


def role_bindings() -> Iterator[Obj]:
    for namespace, name, _, subjects in _LOCAL:
        if subjects:
            yield _local_binding(namespace, name, name, *map(_local_subject, subjects))
    reader = "extension-apiserver-authentication-reader"
    users = [_subject("User", f"system:kube-{part}") for part in ("controller-manager", "scheduler")]
    yield _local_binding("kube-system", f"system::{reader}", reader, *users)


def _local_subject(name: str) -> Obj:
    if name in _GROUPS:
        return _subject("Group", name)
    if name.startswith("system:"):
        return _subject("User", name)
    return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}


def _local_binding(namespace: str, name: str, role: str, *subjects: Obj) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(name) | {"namespace": namespace},
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": role},
        "subjects": list(subjects),
    }


def _subject(kind: str, name: str) -> Obj:
    return {"kind": kind, "apiGroup": GROUP, "name": name}


_BINDINGS = (
    ("cluster-admin", "Group", "system:masters"),
    ("system:basic-user", "Group", "system:authenticated"),
    ("system:discovery", "Group", "system:authenticated"),
    ("system:public-info-viewer", "Group", "system:authenticated"),
    ("system:monitoring", "Group", "system:monitoring"),
    ("system:node-proxier", "User", "system:kube-proxy"),
    ("system:coredns", "User", "system:kube-dns"),
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
        yield _binding(role, role, _subject(kind, name))
    for binding, role, group in _JOINING:
        yield _binding(binding, role, _subject("Group", group))
    yield _binding("system:kube-dns", "system:kube-dns", _local_subject("kube-dns"))
    yield _binding("system:node", "system:node")  # to nobody: the Node authorizer says what a node may
    for name in CONTROLLER_ROLES:
        yield _binding(f"{PREFIX}{name}", f"{PREFIX}{name}", _local_subject(name))


def _binding(name: str, role: str, *subjects: Obj) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }
