"""ServiceAccount admission, its second half: what a pod's account keeps it from, and what a mirror pod may not name.

An account annotated kubernetes.io/enforce-mountable-secrets lets its pods have the Secrets it lists, and no others.
Source: plugin/pkg/admission/serviceaccount.
"""

from collections.abc import Iterator

from pybernetes.api import resources
from pybernetes.api.objects import Obj, annotations_of, name_of

from ..auth.graph import SECRET, named_by
from .call import Call
from .pods import MIRROR

_ENFORCED = "kubernetes.io/enforce-mountable-secrets"
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_KINDS = {"initContainers": "init container", "containers": "container", "ephemeralContainers": "ephemeral container"}


def account_secrets(call: Call) -> None:
    """Raises Forbidden."""
    if call.row is not resources.PODS or call.new is None:
        return
    if call.old is None and not call.part:
        if MIRROR in annotations_of(call.new):
            why = _of_mirror(call.new)
        else:
            why = _unlisted(call, call.new, ("initContainers", "containers"))
    elif call.part == "ephemeralcontainers":
        why = _unlisted(call, call.new, ("ephemeralContainers",))
    else:
        return
    if why:
        raise call.forbidden(why)


def _of_mirror(pod: Obj) -> str:
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        return "a mirror pod may not reference service accounts"
    if any(kind == SECRET and name for kind, name in named_by(pod)):
        return "a mirror pod may not reference secrets"
    sources = [
        one for volume in spec.get("volumes") or () for one in (volume.get("projected") or {}).get("sources") or ()
    ]
    if any(one.get("serviceAccountToken") is not None for one in sources):
        return "a mirror pod may not use ServiceAccountToken volume projections"
    return ""


def _unlisted(call: Call, pod: Obj, fields: tuple[str, ...]) -> str:
    """The first Secret of a pod that its account does not list, if the account minds."""
    spec = pod["spec"]
    account = call.registry.read(resources.SERVICE_ACCOUNTS, call.namespace, spec.get("serviceAccountName", ""))
    if account is None or annotations_of(account).get(_ENFORCED) not in _TRUE:
        return ""
    who = f"is not allowed because service account {name_of(account)} does not reference that"
    listed = {one.get("name") for one in account.get("secrets") or ()}
    for where, name in _named(spec, fields):
        if name not in listed:
            return f'{where}secret.secretName="{name}" {who} secret'
    if "containers" not in fields:
        return ""
    pulls = {one.get("name") for one in account.get("imagePullSecrets") or ()}
    for index, one in enumerate(spec.get("imagePullSecrets") or ()):
        if one.get("name") not in pulls:
            return f'imagePullSecrets[{index}].name="{one.get("name")}" {who} imagePullSecret'
    return ""


def _named(spec: Obj, fields: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(how the error begins, the Secret's name)."""
    if "containers" in fields:
        for volume in spec.get("volumes") or ():
            if (secret := volume.get("secret")) is not None:
                yield "volume with ", secret.get("secretName", "")
    for field in fields:
        for container in spec.get(field) or ():
            who = f"{_KINDS[field]} {container['name']} with"
            for entry in container.get("env") or ():
                if (key := (entry.get("valueFrom") or {}).get("secretKeyRef")) is not None:
                    yield f"{who} envVar {entry['name']} referencing ", key.get("name", "")
            for source in container.get("envFrom") or ():
                if (found := source.get("secretRef")) is not None:
                    yield f"{who} envFrom referencing ", found.get("name", "")
