"""What each controller may do: a ClusterRole system:controller:NAME, bound to the account NAME in kube-system.

Names and rules are Kubernetes' (bootstrappolicy/controller_policy.go), also those of controllers that are not here, as
tools and documentation name them. `_OURS` is what a controller of this cluster needs besides, most often since it
patches a status where Kubernetes' replaces it.
"""

from collections.abc import Mapping

from pybernetes.api.objects import Obj

from .rules import EVENTS, GROUP, rule

PREFIX = "system:controller:"
Rules = tuple[Obj, ...]

_OLD = "extensions apps"
_POD_MAKER = rule("core", "pods", "list watch create delete patch")
_SLICES = rule("discovery.k8s.io", "endpointslices", "get list watch create update delete")
_REVISIONS = rule("apps", "controllerrevisions", "get list watch create delete update patch")
_CERTIFICATES, _CSRS = "certificates.k8s.io", "certificatesigningrequests"
_SIGNED = ("legacy-unknown", "kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")

_KUBERNETES: Mapping[str, Rules] = {
    "attachdetach-controller": (
        rule("core", "persistentvolumes persistentvolumeclaims", "list watch"),
        rule("core", "nodes", "get list watch"),
        rule("core", "nodes/status", "patch update"),
        rule("core", "pods", "list watch"),
        EVENTS,
        rule("storage.k8s.io", "volumeattachments", "get create delete list watch"),
        rule("storage.k8s.io", "csidrivers", "get watch list"),
        rule("storage.k8s.io", "csinodes", "get watch list"),
    ),
    "clusterrole-aggregation-controller": (rule(GROUP, "clusterroles", "escalate get list watch update patch"),),
    "cronjob-controller": (
        rule("batch", "cronjobs", "get list watch update"),
        rule("batch", "jobs", "get list watch create update delete patch"),
        rule("batch", "cronjobs/status", "update"),
        rule("batch", "cronjobs/finalizers", "update"),
        rule("core", "pods", "list watch delete"),
        EVENTS,
    ),
    "daemon-set-controller": (
        rule(_OLD, "daemonsets", "get list watch"),
        rule(_OLD, "daemonsets/status", "update"),
        rule(_OLD, "daemonsets/finalizers", "update"),
        rule("core", "nodes", "list watch"),
        _POD_MAKER,
        rule("core", "pods/binding", "create"),
        _REVISIONS,
        EVENTS,
    ),
    "deployment-controller": (
        rule(_OLD, "deployments", "get list watch update"),
        rule(_OLD, "deployments/status", "update"),
        rule(_OLD, "deployments/finalizers", "update"),
        rule(_OLD, "replicasets", "get list watch create update patch delete"),
        rule("core", "pods", "get list watch update"),
        EVENTS,
    ),
    "disruption-controller": (
        rule(_OLD, "deployments", "get list watch"),
        rule(_OLD, "replicasets", "get list watch"),
        rule("core", "replicationcontrollers", "get list watch"),
        rule("policy", "poddisruptionbudgets", "get list watch"),
        rule("apps", "statefulsets", "get list watch"),
        rule("policy", "poddisruptionbudgets/status", "update"),
        rule("core", "pods/status", "patch update"),
        rule("*", "*/scale", "get"),
        EVENTS,
    ),
    "endpoint-controller": (
        rule("core", "services pods", "get list watch"),
        rule("core", "endpoints", "get list watch create update delete"),
        rule("core", "endpoints/restricted", "create"),
        EVENTS,
    ),
    "endpointslice-controller": (
        rule("core", "services pods nodes", "get list watch"),
        rule("core", "services/finalizers", "update"),
        _SLICES,
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        rule("core", "services endpoints", "get list watch"),
        rule("core", "services/finalizers", "update"),
        rule("core", "endpoints/finalizers", "update"),
        _SLICES,
        EVENTS,
    ),
    "expand-controller": (
        rule("core", "persistentvolumes", "get list watch update patch"),
        rule("core", "persistentvolumeclaims/status", "update patch"),
        rule("core", "persistentvolumeclaims", "get list watch"),
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        rule("core", "pods", "get list watch"),
        rule("core", "pods/finalizers", "update"),
        rule("core", "persistentvolumeclaims", "get list watch create"),
        EVENTS,
    ),
    "resource-claim-controller": (
        rule("core", "pods", "get list watch"),
        rule("core", "pods/finalizers", "update"),
        rule("resource.k8s.io", "resourceclaims", "get list watch create delete"),
        rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaims/binding", "update patch"),
        rule("core", "pods/status", "update patch"),
        EVENTS,
    ),
    "device-taint-eviction-controller": (
        rule("core", "pods", "get list watch delete"),
        rule("core", "pods/status", "update patch"),
        rule("resource.k8s.io", "resourceclaims resourceslices deviceclasses devicetaintrules", "get list watch"),
        rule("resource.k8s.io", "devicetaintrules/status", "update patch"),
        EVENTS,
    ),
    "generic-garbage-collector": (rule("*", "*", "get list watch patch update delete"), EVENTS),
    "horizontal-pod-autoscaler": (
        rule("autoscaling", "horizontalpodautoscalers", "get list watch"),
        rule("autoscaling", "horizontalpodautoscalers/status", "update"),
        rule("*", "*/scale", "get update"),
        rule("core", "pods", "list watch"),
        rule("metrics.k8s.io", "pods", "list watch"),
        rule("custom.metrics.k8s.io", "*", "get list watch"),
        rule("external.metrics.k8s.io", "*", "get list watch"),
        EVENTS,
    ),
    "job-controller": (
        rule("batch", "jobs", "get list watch update patch"),
        rule("batch", "jobs/status", "update"),
        rule("batch", "jobs/finalizers", "update"),
        _POD_MAKER,
        EVENTS,
    ),
    "namespace-controller": (
        rule("core", "namespaces", "get list watch delete"),
        rule("core", "namespaces/finalize namespaces/status", "update"),
        rule("*", "*", "get list watch delete deletecollection"),
    ),
    "node-controller": (
        rule("core", "nodes", "get list watch update delete patch"),
        rule("core", "nodes/status", "patch update"),
        rule("core", "pods/status", "patch update"),
        rule("core", "pods", "list watch get delete"),
        rule("coordination.k8s.io", "leases", "get list watch"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        rule("core", "persistentvolumes", "get list watch update create delete"),
        rule("core", "persistentvolumes/status", "update"),
        rule("core", "persistentvolumeclaims", "get list watch update"),
        rule("core", "persistentvolumeclaims/status", "update"),
        rule("core", "pods", "list watch get create delete"),
        rule("storage.k8s.io", "storageclasses", "get list watch"),
        rule("core", "nodes", "list watch"),
        EVENTS,
        rule("core", "events", "watch"),
    ),
    "pod-garbage-collector": (
        rule("core", "pods", "list watch delete"),
        rule("core", "nodes", "get list watch"),
        rule("core", "pods/status", "patch"),
    ),
    "replicaset-controller": (
        rule(_OLD, "replicasets", "get list watch update"),
        rule(_OLD, "replicasets/status", "update"),
        rule(_OLD, "replicasets/finalizers", "update"),
        _POD_MAKER,
        EVENTS,
    ),
    "replication-controller": (
        rule("core", "replicationcontrollers", "get list watch update"),
        rule("core", "replicationcontrollers/status", "update"),
        rule("core", "replicationcontrollers/finalizers", "update"),
        _POD_MAKER,
        EVENTS,
    ),
    "resourcequota-controller": (
        rule("*", "*", "list watch"),
        rule("core", "resourcequotas/status", "update"),
        EVENTS,
    ),
    "route-controller": (
        rule("core", "nodes", "list watch"),
        rule("core", "nodes/status", "patch"),
        EVENTS,
    ),
    "service-account-controller": (rule("core", "serviceaccounts", "create"), EVENTS),
    "service-controller": (
        rule("core", "services", "get list watch"),
        rule("core", "services/status", "patch update"),
        rule("core", "nodes", "list watch"),
        EVENTS,
    ),
    "service-cidrs-controller": (
        rule("networking.k8s.io", "servicecidrs", "get list watch patch update"),
        rule("networking.k8s.io", "servicecidrs/finalizers", "patch update"),
        rule("networking.k8s.io", "servicecidrs/status", "patch update"),
        rule("networking.k8s.io", "ipaddresses", "get list watch"),
        EVENTS,
    ),
    "statefulset-controller": (
        rule("core", "pods", "list watch"),
        rule("apps", "statefulsets", "get list watch"),
        rule("apps", "statefulsets/status", "update"),
        rule("apps", "statefulsets/finalizers", "update"),
        rule("core", "pods", "get create delete update patch"),
        _REVISIONS,
        rule("core", "persistentvolumeclaims", "get create list watch"),
        rule("core", "persistentvolumeclaims", "update delete"),
        rule("core", "pods/finalizers", "update"),
        EVENTS,
    ),
    "ttl-controller": (rule("core", "nodes", "update patch list watch"), EVENTS),
    "certificate-controller": (
        rule(_CERTIFICATES, _CSRS, "get list watch delete"),
        rule(_CERTIFICATES, f"{_CSRS}/status {_CSRS}/approval", "update"),
        rule(_CERTIFICATES, "signers", "approve", ["kubernetes.io/kube-apiserver-client-kubelet"]),
        rule(_CERTIFICATES, "signers", "sign", [f"kubernetes.io/{one}" for one in _SIGNED]),
        rule("authorization.k8s.io", "subjectaccessreviews", "create"),
        EVENTS,
    ),
    "pvc-protection-controller": (
        rule("core", "persistentvolumeclaims", "get list watch update"),
        rule("core", "persistentvolumeclaims/status", "update"),
        rule("core", "pods", "list watch get"),
        EVENTS,
    ),
    "pv-protection-controller": (rule("core", "persistentvolumes", "get list watch update"), EVENTS),
    "volumeattributesclass-protection-controller": (
        rule("core", "persistentvolumeclaims", "list watch get"),
        rule("core", "persistentvolumes", "list watch get"),
        rule("storage.k8s.io", "volumeattributesclasses", "get list watch update"),
        EVENTS,
    ),
    "ttl-after-finished-controller": (rule("batch", "jobs", "get list watch delete"), EVENTS),
    "root-ca-cert-publisher": (rule("core", "configmaps", "create update"), EVENTS),
    "podcertificaterequestcleaner": (rule(_CERTIFICATES, "podcertificaterequests", "get list watch delete"),),
    "kube-apiserver-serving-clustertrustbundle-publisher": (
        rule(_CERTIFICATES, "signers", "attest", ["kubernetes.io/kube-apiserver-serving"]),
        rule(_CERTIFICATES, "clustertrustbundles", "create update delete list watch"),
        EVENTS,
    ),
    "validatingadmissionpolicy-status-controller": (
        rule("admissionregistration.k8s.io", "validatingadmissionpolicies", "get list watch"),
        rule("admissionregistration.k8s.io", "validatingadmissionpolicies/status", "get patch update"),
        EVENTS,
    ),
    "storage-version-migrator-controller": (
        rule("*", "*", "list patch"),
        rule("apiextensions.k8s.io", "customresourcedefinitions", "get"),
        rule("apiextensions.k8s.io", "customresourcedefinitions/status", "patch"),
        rule("storagemigration.k8s.io", "storageversionmigrations/status", "update"),
    ),
    "legacy-service-account-token-cleaner": (
        rule("core", "configmaps", "get", ["kube-apiserver-legacy-service-account-token-tracking"]),
        rule("core", "secrets", "patch delete"),
    ),
    "selinux-warning-controller": (
        EVENTS,
        rule("core", "persistentvolumes", "get list watch"),
        rule("core", "persistentvolumeclaims", "get list watch"),
        rule("core", "pods", "get list watch"),
        rule("storage.k8s.io", "csidrivers", "get list watch"),
    ),
}

_OURS: Mapping[str, Rules] = {
    "certificate-controller": (
        rule(_CERTIFICATES, "signers", "approve", ["kubernetes.io/kubelet-serving"]),
        rule(_CERTIFICATES, "signers", "approve sign", ["pybernetes.io/node-component-client"]),
    ),
    "cronjob-controller": (rule("batch", "cronjobs/status", "patch"),),
    "daemon-set-controller": (rule("apps", "daemonsets/status", "patch"),),
    "deployment-controller": (rule("apps", "deployments deployments/status", "patch"),),
    "horizontal-pod-autoscaler": (rule("autoscaling", "horizontalpodautoscalers/status", "patch"),),
    "job-controller": (  # which clears finished jobs away as well
        rule("batch", "jobs/status", "patch"),
        rule("batch", "jobs", "delete"),
    ),
    "namespace-controller": (rule("core", "namespaces/status", "patch"),),
    "replicaset-controller": (rule("apps", "replicasets/status", "patch"),),
    "replication-controller": (rule("core", "replicationcontrollers/status", "patch"),),
    "resourcequota-controller": (rule("core", "resourcequotas", "get"),),
    "root-ca-cert-publisher": (rule("core", "configmaps", "patch"),),
    "statefulset-controller": (rule("apps", "statefulsets/status", "patch"),),
}

CONTROLLER_ROLES: Mapping[str, Rules] = {name: (*rules, *_OURS.get(name, ())) for name, rules in _KUBERNETES.items()}
"""Rules by account."""

ACCOUNTS = frozenset({*CONTROLLER_ROLES, "bootstrap-signer", "token-cleaner", "cluster-dns", "node-config"})
"""All accounts of controllers, also those whose roles are of one namespace."""
CONTROLLER_USERS = frozenset(f"system:serviceaccount:kube-system:{name}" for name in ACCOUNTS)
