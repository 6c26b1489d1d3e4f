"""Rows of rbac, storage, scheduling, certificates, coordination, admission, flow control and aggregation."""

from collections.abc import Iterable
from typing import Any

from .. import times
from ..objects import Obj, annotations_of, condition, is_deleting, metadata
from .cells import NONE, UNSET, age, count, labels, name, seconds, since, spec, status
from .column import Cells, Printer, columns

_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _binding(obj: Obj, now: float) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or []
    users = [one.get("name", "") for one in subjects if one.get("kind") == "User"]
    groups = [one.get("name", "") for one in subjects if one.get("kind") == "Group"]
    accounts = [
        f"{one.get('namespace', '')}/{one.get('name', '')}" for one in subjects if one.get("kind") == "ServiceAccount"
    ]
    role_text = f"{role.get('kind', '')}/{role.get('name', '')}"
    return [name(obj), role_text, age(obj, now), *(", ".join(found) for found in (users, groups, accounts))]


def storage_classes(objs: Iterable[Obj]) -> Cells:
    """The cells in a list: (default) stands at the class that claims get, the newest of those that say so."""
    marked = [obj for obj in objs if any(annotations_of(obj).get(key) == "true" for key in _DEFAULT_CLASS)]
    first = min(marked, key=lambda obj: (-_created(obj), name(obj)), default=None)
    default = None if first is None else name(first)

    def cells(obj: Obj, now: float) -> list[Any]:
        shown, *rest = _storage_class(obj, now)
        return [f"{shown} (default)" if shown == default else shown, *rest]

    return cells


def _created(obj: Obj) -> float:
    stamp = metadata(obj).get("creationTimestamp")
    return seconds(stamp) if stamp else 0.0


def _storage_class(obj: Obj, now: float) -> list[Any]:
    return [
        name(obj),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _attributes_class(obj: Obj, now: float) -> list[Any]:
    return [name(obj), obj.get("driverName", ""), age(obj, now)]


def _attachment(obj: Obj, now: float) -> list[Any]:
    volume = (spec(obj).get("source") or {}).get("persistentVolumeName", "")
    attached = bool(status(obj).get("attached"))
    return [name(obj), spec(obj).get("attacher", ""), volume, spec(obj).get("nodeName", ""), attached, age(obj, now)]


def _csi_driver(obj: Obj, now: float) -> list[Any]:
    found = spec(obj)
    tokens = found.get("tokenRequests")
    return [
        name(obj),
        bool(found.get("attachRequired", True)),
        bool(found.get("podInfoOnMount")),
        bool(found.get("storageCapacity")),
        UNSET if tokens is None else ",".join(one.get("audience", "") for one in tokens),
        bool(found.get("requiresRepublish")),
        ",".join(found.get("volumeLifecycleModes") or ()) or NONE,
        age(obj, now),
    ]


def _csi_node(obj: Obj, now: float) -> list[Any]:
    return [name(obj), len(spec(obj).get("drivers") or ()), age(obj, now)]


def _csi_capacity(obj: Obj, now: float) -> list[Any]:
    return [name(obj), obj.get("storageClassName", ""), obj.get("capacity", UNSET)]


def _priority_class(obj: Obj, now: float) -> list[Any]:
    head = [name(obj), count(obj, "value"), bool(obj.get("globalDefault")), age(obj, now)]
    return [*head, obj.get("preemptionPolicy", "")]


def _runtime_class(obj: Obj, now: float) -> list[Any]:
    return [name(obj), obj.get("handler", ""), age(obj, now)]


def _signing_request(obj: Obj, now: float) -> list[Any]:
    seconds = spec(obj).get("expirationSeconds")
    kinds = {one.get("type") for one in status(obj).get("conditions") or ()}
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    state += ",Failed" if "Failed" in kinds else ""
    state += ",Issued" if status(obj).get("certificate") else ""
    return [
        name(obj),
        age(obj, now),
        spec(obj).get("signerName") or NONE,
        spec(obj).get("username", ""),
        NONE if seconds is None else times.human(seconds),
        state,
    ]


def _trust_bundle(obj: Obj, now: float) -> list[Any]:
    return [name(obj), spec(obj).get("signerName") or NONE]


def _pod_certificate(obj: Obj, now: float) -> list[Any]:
    found = spec(obj)
    state = "Pending"
    for one in status(obj).get("conditions") or ():
        state = one["type"] if one.get("type") in ("Issued", "Denied", "Failed") else state
    fields = (found.get(field, "") for field in ("podName", "serviceAccountName", "nodeName", "signerName"))
    return [name(obj), *fields, state, labels(found.get("unverifiedUserAnnotations"))]


def _migration(obj: Obj, now: float) -> list[Any]:
    resource = spec(obj).get("resource") or {}
    text = ".".join([resource.get("resource", ""), *filter(None, [resource.get("group")])])
    state = "Unknown"
    for one in status(obj).get("conditions") or ():
        if one.get("status") == "True" and one.get("type") in ("Running", "Failed", "Succeeded"):
            state = one["type"]
    return [name(obj), text, state]


def _lease(obj: Obj, now: float) -> list[Any]:
    return [name(obj), spec(obj).get("holderIdentity", ""), age(obj, now)]


def _webhooks(obj: Obj, now: float) -> list[Any]:
    return [name(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _policy(obj: Obj, now: float) -> list[Any]:
    kind = spec(obj).get("paramKind")
    rules = spec(obj).get("validations") or spec(obj).get("mutations") or ()
    text = UNSET if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"
    return [name(obj), len(rules), text, age(obj, now)]


def _policy_binding(obj: Obj, now: float) -> list[Any]:
    reference = spec(obj).get("paramRef") or {}
    text = UNSET
    if reference.get("name"):
        text = f"{reference.get('namespace') or '*'}/{reference['name']}"
    elif reference.get("selector") is not None:
        text = _go_text(reference["selector"])
    return [name(obj), spec(obj).get("policyName", ""), text, age(obj, now)]


def _go_text(selector: Obj) -> str:
    """A LabelSelector as Go prints a protobuf message: what the API server of Kubernetes shows here."""
    pairs = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    terms = "".join(map(_go_term, selector.get("matchExpressions") or ()))
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{terms}}},}}"
    )


def _go_term(term: Obj) -> str:
    values = " ".join(term.get("values") or ())
    return (
        f"LabelSelectorRequirement{{Key:{term.get('key', '')},Operator:{term.get('operator', '')},Values:[{values}],}},"
    )


def _flow_schema(obj: Obj, now: float) -> list[Any]:
    level = (spec(obj).get("priorityLevelConfiguration") or {}).get("name", "")
    method = (spec(obj).get("distinguisherMethod") or {}).get("type", NONE)
    dangling = condition(obj, "Dangling")
    state = dangling.get("status", "") if dangling else "?"
    return [name(obj), level, count(spec(obj), "matchingPrecedence"), method, age(obj, now), state]


def _priority_level(obj: Obj, now: float) -> list[Any]:
    limited = spec(obj).get("limited")
    queuing = ((limited or {}).get("limitResponse") or {}).get("queuing")
    shares = NONE if limited is None else count(limited, "nominalConcurrencyShares")
    fields = ("queues", "handSize", "queueLengthLimit")
    queues = [NONE if queuing is None else count(queuing, field) for field in fields]
    return [name(obj), spec(obj).get("type", ""), shares, *queues, age(obj, now)]


def _api_service(obj: Obj, now: float) -> list[Any]:
    service = spec(obj).get("service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = condition(obj, "Available") or {}
    state = available.get("status", "Unknown")
    if state != "True" and available.get("reason"):
        state = f"{state} ({available['reason']})"
    return [name(obj), where, state, age(obj, now)]


def _resource_claim(obj: Obj, now: float) -> list[Any]:
    states = ["deleted"] if is_deleting(obj) else []
    if status(obj).get("allocation") is None:
        states += [] if states else ["pending"]
    else:
        states += ["allocated", "reserved"] if status(obj).get("reservedFor") else ["allocated"]
    return [name(obj), ",".join(states), age(obj, now)]


def _resource_slice(obj: Obj, now: float) -> list[Any]:
    found = spec(obj)
    pool = (found.get("pool") or {}).get("name", "")
    return [name(obj), found.get("nodeName", ""), found.get("driver", ""), pool, age(obj, now)]


def _device_taint(obj: Obj, now: float) -> list[Any]:
    taint = spec(obj).get("taint") or {}
    added = since(taint["timeAdded"], now) if taint.get("timeAdded") else ""
    return [name(obj), *(taint.get(field, "") for field in ("key", "value", "effect")), added, age(obj, now)]


def _name_and_age(obj: Obj, now: float) -> list[Any]:
    return [name(obj), age(obj, now)]


_BINDING = Printer(columns("Name", "Role", "Age", "Users*", "Groups*", "ServiceAccounts*"), _binding)
_WEBHOOKS = Printer(columns("Name", "Webhooks#", "Age"), _webhooks)
_POLICY_BINDING = Printer(columns("Name", "PolicyName", "ParamRef", "Age"), _policy_binding)
NAME_AND_AGE = Printer(columns("Name", "Age"), _name_and_age)

_ADMISSION, _STORAGE = "admissionregistration.k8s.io", "storage.k8s.io"
_CERTIFICATES = "certificates.k8s.io"
_RBAC, _FLOW, _DEVICES = "rbac.authorization.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io"

PRINTERS: dict[tuple[str, str], Printer] = {
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
    (_STORAGE, "StorageClass"): Printer(
        columns("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"),
        _storage_class,
    ),
    (_STORAGE, "VolumeAttributesClass"): Printer(columns("Name", "DriverName", "Age"), _attributes_class),
    (_STORAGE, "VolumeAttachment"): Printer(columns("Name", "Attacher", "PV", "Node", "Attached?", "Age"), _attachment),
    (_STORAGE, "CSIDriver"): Printer(
        columns(
            *("Name", "AttachRequired?", "PodInfoOnMount?", "StorageCapacity?"),
            *("TokenRequests", "RequiresRepublish?", "Modes", "Age"),
        ),
        _csi_driver,
    ),
    (_STORAGE, "CSINode"): Printer(columns("Name", "Drivers#", "Age"), _csi_node),
    (_STORAGE, "CSIStorageCapacity"): Printer(columns("Name", "StorageClassName", "Capacity"), _csi_capacity),
    ("scheduling.k8s.io", "PriorityClass"): Printer(
        columns("Name", "Value#", "Global-Default?", "Age", "PreemptionPolicy"), _priority_class
    ),
    ("node.k8s.io", "RuntimeClass"): Printer(columns("Name", "Handler", "Age"), _runtime_class),
    (_CERTIFICATES, "CertificateSigningRequest"): Printer(
        columns("Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"), _signing_request
    ),
    ("coordination.k8s.io", "Lease"): Printer(columns("Name", "Holder", "Age"), _lease),
    (_CERTIFICATES, "ClusterTrustBundle"): Printer(columns("Name", "SignerName"), _trust_bundle),
    (_CERTIFICATES, "PodCertificateRequest"): Printer(
        columns(
            *("Name", "PodName", "ServiceAccountName", "NodeName", "SignerName", "State"),
            "UnverifiedUserAnnotations",
        ),
        _pod_certificate,
    ),
    ("storagemigration.k8s.io", "StorageVersionMigration"): Printer(columns("Name!", "Resource", "Status"), _migration),
    (_ADMISSION, "MutatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): Printer(columns("Name", "Validations#", "ParamKind", "Age"), _policy),
    (_ADMISSION, "MutatingAdmissionPolicy"): Printer(columns("Name", "Mutations#", "ParamKind", "Age"), _policy),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _POLICY_BINDING,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): _POLICY_BINDING,
    (_FLOW, "FlowSchema"): Printer(
        columns("Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"), _flow_schema
    ),
    (_FLOW, "PriorityLevelConfiguration"): Printer(
        columns("Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"),
        _priority_level,
    ),
    ("apiregistration.k8s.io", "APIService"): Printer(columns("Name", "Service", "Available", "Age"), _api_service),
    (_DEVICES, "DeviceTaintRule"): Printer(
        columns("Name", "Key", "Value", "Effect", "TimeAdded", "Age"), _device_taint
    ),
    (_DEVICES, "ResourceClaim"): Printer(columns("Name", "State", "Age"), _resource_claim),
    (_DEVICES, "ResourceClaimTemplate"): NAME_AND_AGE,
    (_DEVICES, "DeviceClass"): NAME_AND_AGE,
    (_DEVICES, "ResourceSlice"): Printer(columns("Name", "Node", "Driver", "Pool", "Age"), _resource_slice),
}
