"""THE table: one row for each built-in resource that is served, in Kubernetes' own order of groups.

Everything that must know which kinds there are reads it: router, discovery, OpenAPI, storage keys, clients, docs.
It knows no schema and no behaviour, so that an agent can import it for next to nothing; `scheme` adds both.
Source: the API reference of Kubernetes 1.37 (versions served by default) and `kubectl api-resources`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .objects import Key

WRITABLE = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
SINGLE_DELETE = ("create", "delete", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)
_PART = ("get", "patch", "update")
_CONNECT = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A subresource. Its bodies are of `kind`; "" as group and version means the parent's."""

    name: str
    kind: str
    group: str = ""
    version: str = ""
    verbs: tuple[str, ...] = _PART


class PrinterColumn(NamedTuple):
    """A column of `kubectl get` that a CustomResourceDefinition defines (additionalPrinterColumns)."""

    name: str
    type: str
    path: str
    format: str = ""
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served resource. `definition` names its schema; `stored_as` names the row whose storage it shares, if any."""

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    singular: str = ""
    definition: str = ""
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = WRITABLE
    parts: tuple[Subresource, ...] = ()
    selectable: tuple[str, ...] = ()
    """Paths that field selectors may name, besides metadata.name and metadata.namespace."""
    stored_as: "Resource | None" = None
    custom: bool = False
    """True for a row that a CustomResourceDefinition added at run time."""
    list_name: str = ""
    """The kind of its lists where it is not the kind and "List" (a custom row may say so)."""
    columns: tuple[PrinterColumn, ...] = ()
    """Of a custom row; without any its objects are shown by name and age."""

    @property
    def api_version(self) -> str:
        """As objects say it: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return self.list_name or f"{self.kind}List"

    @property
    def list_definition(self) -> str:
        """The schema of its lists, beside that of its objects."""
        return f"{self.definition.removesuffix(self.kind)}{self.list_kind}"

    @property
    def qualified(self) -> str:
        """As errors and discovery say it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def subresources(self) -> frozenset[str]:
        return frozenset(part.name for part in self.parts)

    def subresource(self, name: str) -> Subresource | None:
        return next((part for part in self.parts if part.name == name), None)

    @property
    def storage(self) -> "Resource":
        """The row under whose prefix and in whose version objects of this row are stored."""
        return self.stored_as or self

    @property
    def prefix(self) -> str:
        """The start of all its storage keys: "/registry/apps/deployments/"."""
        row = self.storage
        return f"/registry/{row.group or 'core'}/{row.plural}/"

    def key(self, namespace: str, name: str) -> str:
        """The storage key of one object."""
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"

    @property
    def root(self) -> str:
        """The path of its group and version: "/api/v1", "/apis/apps/v1"."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The request path; without a namespace the collection over all namespaces, without a name the collection."""
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "/".join(part for part in (name, subresource) if part)
        return f"{self.root}{scope}/{self.plural}" + (f"/{tail}" if tail else "")

    def path_of(self, key: Key, subresource: str = "") -> str:
        return self.path(key.namespace, key.name, subresource)


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind)


_SCALE = Subresource(name="scale", kind="Scale", group="autoscaling", version="v1")

_DEFINITIONS = {
    "": "io.k8s.api.core",
    "admissionregistration.k8s.io": "io.k8s.api.admissionregistration",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "rbac.authorization.k8s.io": "io.k8s.api.rbac",
    "flowcontrol.apiserver.k8s.io": "io.k8s.api.flowcontrol",
}


def definition_of(group: str, version: str, kind: str) -> str:
    """The schema definition of a built-in kind: ("apps", "v1", "Deployment") -> io.k8s.api.apps.v1.Deployment."""
    package = _DEFINITIONS.get(group) or f"io.k8s.api.{group.removesuffix('.k8s.io')}"
    return f"{package}.{version}.{kind}"


class _Group:
    """Writes the rows of one group and version."""

    def __init__(self, group: str, version: str = "v1") -> None:
        self.group, self.version = group, version

    def row(
        self,
        plural: str,
        kind: str,
        *short: str,
        namespaced: bool = True,
        status: bool = False,
        parts: Iterable[Subresource] = (),
        categories: tuple[str, ...] = (),
        verbs: tuple[str, ...] = WRITABLE,
        selectable: tuple[str, ...] = (),
        stored_as: Resource | None = None,
    ) -> Resource:
        found = [*parts, *([_status(kind)] if status else [])]
        return Resource(
            group=self.group,
            version=self.version,
            plural=plural,
            kind=kind,
            singular=kind.lower(),
            definition=definition_of(self.group, self.version, kind),
            namespaced=namespaced,
            short=short,
            categories=categories,
            verbs=verbs,
            parts=tuple(sorted(found, key=lambda part: part.name)),
            selectable=selectable,
            stored_as=stored_as,
        )


_ALL = ("all",)
_EXTENSIONS = ("api-extensions",)

_core = _Group("")
BINDINGS = _core.row("bindings", "Binding", verbs=CREATE_ONLY)
COMPONENT_STATUSES = _core.row("componentstatuses", "ComponentStatus", "cs", namespaced=False, verbs=("get", "list"))
CONFIG_MAPS = _core.row("configmaps", "ConfigMap", "cm")
ENDPOINTS = _core.row("endpoints", "Endpoints", "ep")
_EVENT_FIELDS = (
    *("involvedObject.apiVersion", "involvedObject.fieldPath", "involvedObject.kind", "involvedObject.name"),
    *("involvedObject.namespace", "involvedObject.resourceVersion", "involvedObject.uid"),
    *("reason", "reportingComponent", "source", "type"),
)
EVENTS = _core.row("events", "Event", "ev", selectable=_EVENT_FIELDS)
LIMIT_RANGES = _core.row("limitranges", "LimitRange", "limits")
NAMESPACES = _core.row(
    "namespaces",
    "Namespace",
    "ns",
    namespaced=False,
    status=True,
    verbs=SINGLE_DELETE,
    selectable=("status.phase",),
    parts=[Subresource(name="finalize", kind="Namespace", verbs=("update",))],
)
NODES = _core.row(
    "nodes",
    "Node",
    "no",
    namespaced=False,
    status=True,
    selectable=("spec.unschedulable",),
    parts=[Subresource(name="proxy", kind="NodeProxyOptions", verbs=_PROXY)],
)
PERSISTENT_VOLUME_CLAIMS = _core.row("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", status=True)
PERSISTENT_VOLUMES = _core.row("persistentvolumes", "PersistentVolume", "pv", namespaced=False, status=True)
PODS = _core.row(
    "pods",
    "Pod",
    "po",
    status=True,
    categories=_ALL,
    selectable=(
        *("spec.hostNetwork", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        *("status.nominatedNodeName", "status.phase", "status.podIP"),
    ),
    parts=[
        Subresource(name="attach", kind="PodAttachOptions", verbs=_CONNECT),
        Subresource(name="binding", kind="Binding", verbs=CREATE_ONLY),
        Subresource(name="ephemeralcontainers", kind="Pod"),
        Subresource(name="eviction", kind="Eviction", group="policy", version="v1", verbs=CREATE_ONLY),
        Subresource(name="exec", kind="PodExecOptions", verbs=_CONNECT),
        Subresource(name="log", kind="Pod", verbs=("get",)),
        Subresource(name="portforward", kind="PodPortForwardOptions", verbs=_CONNECT),
        Subresource(name="proxy", kind="PodProxyOptions", verbs=_PROXY),
        Subresource(name="resize", kind="Pod"),
    ],
)
POD_TEMPLATES = _core.row("podtemplates", "PodTemplate")
REPLICATION_CONTROLLERS = _core.row(
    "replicationcontrollers",
    "ReplicationController",
    "rc",
    status=True,
    categories=_ALL,
    parts=[_SCALE],
    selectable=("status.replicas",),
)
RESOURCE_QUOTAS = _core.row("resourcequotas", "ResourceQuota", "quota", status=True)
SECRETS = _core.row("secrets", "Secret", selectable=("type",))
SERVICE_ACCOUNTS = _core.row(
    "serviceaccounts",
    "ServiceAccount",
    "sa",
    parts=[
        Subresource(name="token", kind="TokenRequest", group="authentication.k8s.io", version="v1", verbs=CREATE_ONLY)
    ],
)
SERVICES = _core.row(
    "services",
    "Service",
    "svc",
    status=True,
    categories=_ALL,
    selectable=("spec.clusterIP", "spec.type"),
    parts=[Subresource(name="proxy", kind="ServiceProxyOptions", verbs=_PROXY)],
)

_registration = _Group("admissionregistration.k8s.io")
MUTATING_ADMISSION_POLICIES = _registration.row(
    "mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False, categories=_EXTENSIONS
)
MUTATING_ADMISSION_POLICY_BINDINGS = _registration.row(
    "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", namespaced=False, categories=_EXTENSIONS
)
MUTATING_WEBHOOKS = _registration.row(
    "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False, categories=_EXTENSIONS
)
VALIDATING_ADMISSION_POLICIES = _registration.row(
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
    status=True,
    categories=_EXTENSIONS,
)
VALIDATING_ADMISSION_POLICY_BINDINGS = _registration.row(
    "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False, categories=_EXTENSIONS
)
VALIDATING_WEBHOOKS = _registration.row(
    "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespaced=False, categories=_EXTENSIONS
)

CUSTOM_RESOURCE_DEFINITIONS = _Group("apiextensions.k8s.io").row(
    "customresourcedefinitions",
    "CustomResourceDefinition",
    "crd",
    "crds",
    namespaced=False,
    status=True,
    categories=_EXTENSIONS,
)
API_SERVICES = _Group("apiregistration.k8s.io").row(
    "apiservices", "APIService", namespaced=False, status=True, categories=_EXTENSIONS
)

_apps = _Group("apps")
CONTROLLER_REVISIONS = _apps.row("controllerrevisions", "ControllerRevision")
DAEMON_SETS = _apps.row("daemonsets", "DaemonSet", "ds", status=True, categories=_ALL)
DEPLOYMENTS = _apps.row("deployments", "Deployment", "deploy", status=True, categories=_ALL, parts=[_SCALE])
REPLICA_SETS = _apps.row(
    "replicasets", "ReplicaSet", "rs", status=True, categories=_ALL, parts=[_SCALE], selectable=("status.replicas",)
)
STATEFUL_SETS = _apps.row("statefulsets", "StatefulSet", "sts", status=True, categories=_ALL, parts=[_SCALE])

_authentication = _Group("authentication.k8s.io")
SELF_SUBJECT_REVIEWS = _authentication.row(
    "selfsubjectreviews", "SelfSubjectReview", namespaced=False, verbs=CREATE_ONLY
)
TOKEN_REVIEWS = _authentication.row("tokenreviews", "TokenReview", namespaced=False, verbs=CREATE_ONLY)

_authorization = _Group("authorization.k8s.io")
LOCAL_SUBJECT_ACCESS_REVIEWS = _authorization.row(
    "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=CREATE_ONLY
)
SELF_SUBJECT_ACCESS_REVIEWS = _authorization.row(
    "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False, verbs=CREATE_ONLY
)
SELF_SUBJECT_RULES_REVIEWS = _authorization.row(
    "selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False, verbs=CREATE_ONLY
)
SUBJECT_ACCESS_REVIEWS = _authorization.row(
    "subjectaccessreviews", "SubjectAccessReview", namespaced=False, verbs=CREATE_ONLY
)

HORIZONTAL_POD_AUTOSCALERS = _Group("autoscaling", "v2").row(
    "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", status=True, categories=_ALL
)
HORIZONTAL_POD_AUTOSCALERS_V1 = _Group("autoscaling", "v1").row(
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    "hpa",
    status=True,
    categories=_ALL,
    stored_as=HORIZONTAL_POD_AUTOSCALERS,
)

_batch = _Group("batch")
CRON_JOBS = _batch.row("cronjobs", "CronJob", "cj", status=True, categories=_ALL)
JOBS = _batch.row("jobs", "Job", status=True, categories=_ALL, selectable=("status.successful",))

_certificates = _Group("certificates.k8s.io")
CERTIFICATE_SIGNING_REQUESTS = _certificates.row(
    "certificatesigningrequests",
    "CertificateSigningRequest",
    "csr",
    namespaced=False,
    status=True,
    selectable=("spec.signerName",),
    parts=[Subresource(name="approval", kind="CertificateSigningRequest")],
)
CLUSTER_TRUST_BUNDLES = _certificates.row(
    "clustertrustbundles", "ClusterTrustBundle", namespaced=False, selectable=("spec.signerName",)
)
POD_CERTIFICATE_REQUESTS = _certificates.row(
    "podcertificaterequests",
    "PodCertificateRequest",
    status=True,
    selectable=("spec.nodeName", "spec.podName", "spec.signerName"),
)

LEASES = _Group("coordination.k8s.io").row("leases", "Lease")
ENDPOINT_SLICES = _Group("discovery.k8s.io").row("endpointslices", "EndpointSlice")
EVENTS_V1 = _Group("events.k8s.io").row(
    "events",
    "Event",
    "ev",
    stored_as=EVENTS,
    selectable=tuple(
        path.replace("involvedObject", "regarding").replace("reportingComponent", "reportingController")
        for path in _EVENT_FIELDS
        if path != "source"
    ),
)

_flow = _Group("flowcontrol.apiserver.k8s.io")
FLOW_SCHEMAS = _flow.row("flowschemas", "FlowSchema", namespaced=False, status=True)
PRIORITY_LEVELS = _flow.row("prioritylevelconfigurations", "PriorityLevelConfiguration", namespaced=False, status=True)

_networking = _Group("networking.k8s.io")
INGRESS_CLASSES = _networking.row("ingressclasses", "IngressClass", namespaced=False)
INGRESSES = _networking.row("ingresses", "Ingress", "ing", status=True)
IP_ADDRESSES = _networking.row("ipaddresses", "IPAddress", "ip", namespaced=False)
NETWORK_POLICIES = _networking.row("networkpolicies", "NetworkPolicy", "netpol")
SERVICE_CIDRS = _networking.row("servicecidrs", "ServiceCIDR", namespaced=False, status=True)

RUNTIME_CLASSES = _Group("node.k8s.io").row("runtimeclasses", "RuntimeClass", namespaced=False)
POD_DISRUPTION_BUDGETS = _Group("policy").row("poddisruptionbudgets", "PodDisruptionBudget", "pdb", status=True)

_rbac = _Group("rbac.authorization.k8s.io")
CLUSTER_ROLE_BINDINGS = _rbac.row("clusterrolebindings", "ClusterRoleBinding", namespaced=False)
CLUSTER_ROLES = _rbac.row("clusterroles", "ClusterRole", namespaced=False)
ROLE_BINDINGS = _rbac.row("rolebindings", "RoleBinding")
ROLES = _rbac.row("roles", "Role")

_devices = _Group("resource.k8s.io")
DEVICE_CLASSES = _devices.row("deviceclasses", "DeviceClass", namespaced=False)
DEVICE_TAINT_RULES = _devices.row("devicetaintrules", "DeviceTaintRule", namespaced=False, status=True)
RESOURCE_CLAIMS = _devices.row("resourceclaims", "ResourceClaim", status=True)
RESOURCE_CLAIM_TEMPLATES = _devices.row("resourceclaimtemplates", "ResourceClaimTemplate")
RESOURCE_SLICES = _devices.row(
    "resourceslices", "ResourceSlice", namespaced=False, selectable=("spec.driver", "spec.nodeName")
)

PRIORITY_CLASSES = _Group("scheduling.k8s.io").row("priorityclasses", "PriorityClass", "pc", namespaced=False)

_storage = _Group("storage.k8s.io")
CSI_DRIVERS = _storage.row("csidrivers", "CSIDriver", namespaced=False)
CSI_NODES = _storage.row("csinodes", "CSINode", namespaced=False, status=True)
CSI_STORAGE_CAPACITIES = _storage.row("csistoragecapacities", "CSIStorageCapacity")
STORAGE_CLASSES = _storage.row("storageclasses", "StorageClass", "sc", namespaced=False)
VOLUME_ATTACHMENTS = _storage.row("volumeattachments", "VolumeAttachment", namespaced=False, status=True)
VOLUME_ATTRIBUTES_CLASSES = _storage.row("volumeattributesclasses", "VolumeAttributesClass", "vac", namespaced=False)

STORAGE_VERSION_MIGRATIONS = _Group("storagemigration.k8s.io").row(
    "storageversionmigrations", "StorageVersionMigration", namespaced=False, status=True
)

RESOURCES: tuple[Resource, ...] = tuple(row for row in list(globals().values()) if isinstance(row, Resource))
"""Every row, in the order written above; group order is the order of discovery."""

_BY_PLURAL: Mapping[tuple[str, str, str], Resource] = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND: Mapping[tuple[str, str, str], Resource] = {(r.group, r.version, r.kind): r for r in RESOURCES}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The built-in row of a path's group, version and plural."""
    return _BY_PLURAL.get((group, version, plural))


def find_kind(api_version: str, kind: str) -> Resource | None:
    """The built-in row of an object's apiVersion and kind."""
    group, _, version = api_version.rpartition("/")
    return _BY_KIND.get((group, version, kind))
