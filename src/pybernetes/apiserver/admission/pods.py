"""What every new pod is given: its service account and token volume, its priority, its default tolerations."""

import random

from pybernetes.api import names, resources
from pybernetes.api.kinds.policy import SYSTEM_CLASSES
from pybernetes.api.objects import Obj, annotations_of, name_of

from .call import Call

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
MIRROR = "kubernetes.io/config.mirror"
_rng = random.Random()


def service_account(call: Call) -> None:
    """ServiceAccount admission: the account must be there; its token is mounted unless somebody says no."""
    if not call.is_new(resources.PODS):
        return
    pod = call.obj
    spec = pod["spec"]
    if MIRROR in annotations_of(pod):
        return
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = call.registry.read(resources.SERVICE_ACCOUNTS, call.namespace, name)
    if account is None:
        raise call.forbidden(
            f'error looking up service account {call.namespace}/{name}: serviceaccount "{name}" not found'
        )
    if _mounts_token(spec, account):
        _mount(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(one) for one in account["imagePullSecrets"]]


def _mounts_token(spec: Obj, account: Obj) -> bool:
    wanted = spec.get("automountServiceAccountToken")
    return bool(wanted if wanted is not None else account.get("automountServiceAccountToken", True))


def _mount(spec: Obj) -> None:
    volumes: list[Obj] = spec.get("volumes") or []
    found = next((one["name"] for one in volumes if one.get("name", "").startswith("kube-api-access-")), "")
    name = found or f"kube-api-access-{names.suffix(_rng)}"
    used = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.setdefault("volumeMounts", [])
        if all(mount.get("mountPath") != TOKEN_PATH for mount in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": TOKEN_PATH})
            used = True
    if used and not found:
        spec["volumes"] = [*volumes, _volume(name)]


def _volume(name: str) -> Obj:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
            ],
            "defaultMode": 420,
        },
    }


def priority(call: Call) -> None:
    """Priority: the number behind a priorityClassName, or the global default, or 0."""
    if not call.is_new(resources.PODS):
        return
    spec = call.obj["spec"]
    name = spec.get("priorityClassName") or ""
    found: Obj | None
    if name:
        found = call.registry.read(resources.PRIORITY_CLASSES, "", name)
        if found is None:
            raise call.forbidden(f"no PriorityClass with name {name} was found")
    else:
        found = _default_class(call)
        if found is not None:
            spec["priorityClassName"] = name_of(found)
    value = _value(found) if found else 0
    if spec.get("priority", value) != value:
        raise call.forbidden(
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
    spec["priority"] = value
    policy = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"
    if spec.get("preemptionPolicy", policy) != policy:
        raise call.forbidden(
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name"
        )
    spec["preemptionPolicy"] = policy


def _default_class(call: Call) -> Obj | None:
    """Of several, which only a race can make, the lowest."""
    classes = call.registry.select(resources.PRIORITY_CLASSES)
    return min((one for one in classes if one.get("globalDefault")), key=_value, default=None)


def priority_classes(call: Call) -> None:
    """Priority: there is one global default at most, and the classes of the system stay."""
    if call.row is not resources.PRIORITY_CLASSES:
        return
    if call.new is None:
        if call.name in SYSTEM_CLASSES:
            raise call.forbidden("this is a system priority class and cannot be deleted")
        return
    if not call.new.get("globalDefault"):
        return
    other = _default_class(call)
    if other is not None and (call.old is None or name_of(other) != call.name):
        raise call.forbidden(f"PriorityClass {name_of(other)} is already marked as default. Only one default can exist")


_NODE_TROUBLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATED_SECONDS = 300


def default_tolerations(call: Call) -> None:
    """DefaultTolerationSeconds: a pod stays 300 s on a node that is in trouble, unless it says otherwise.

    At updates too: who writes all tolerations anew does not take these away, which would be refused.
    """
    if call.row is not resources.PODS or call.part or call.operation not in ("CREATE", "UPDATE"):
        return
    spec = call.obj["spec"]
    tolerations: list[Obj] = spec.get("tolerations") or []
    for key in _NODE_TROUBLE:
        if not any(_tolerates(one, key) for one in tolerations):
            tolerations = [
                *tolerations,
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATED_SECONDS},
            ]
    spec["tolerations"] = tolerations


def _tolerates(toleration: Obj, key: str) -> bool:
    return toleration.get("key") in (key, "", None) and toleration.get("effect") in ("NoExecute", "", None)


def _value(priority_class: Obj) -> int:
    found: int = priority_class.get("value", 0)
    return found
