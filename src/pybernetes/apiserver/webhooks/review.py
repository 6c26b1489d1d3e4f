"""AdmissionReview, request and response (admission.k8s.io/v1 and v1beta1). Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Obj, decode
from pybernetes.api.resources import Resource

from ..admission.call import Call
from .hooks import Invocation

_GROUP = "admission.k8s.io"


class BadAnswer(ValueError):
    """An answer that is no proper AdmissionReview."""


class Verdict(NamedTuple):
    """What a webhook said."""

    allowed: bool
    status: Obj
    operations: list[Any]
    """Its JSON patch."""
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = {}


def review(call: Call, wanted: Invocation, *, new: Obj | None, old: Obj | None, uid: str) -> Obj:
    """The question. `new` and `old` are in the version of the invocation's row."""
    request = {
        "uid": uid,
        "kind": _kind(wanted.row, call.part),
        "resource": _resource(wanted.row),
        "requestKind": _kind(call.row, call.part),
        "requestResource": _resource(call.row),
        "name": call.name,
        "namespace": call.namespace,
        "operation": call.operation,
        "userInfo": call.user.info,
        "object": new,
        "oldObject": old,
        "dryRun": call.dry_run,
        "options": call.options or None,
    }
    if call.part:
        request |= {"subResource": call.part, "requestSubResource": call.part}
    for empty in ("name", "namespace"):
        if not request[empty]:
            del request[empty]
    return {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{wanted.hook.version}", "request": request}


def _kind(row: Resource, part: str) -> Obj:
    found = row.subresource(part) if part else None
    if found is None:
        return {"group": row.group, "version": row.version, "kind": row.kind}
    own = found.group or found.version
    group, version = (found.group, found.version or row.version) if own else (row.group, row.version)
    return {"group": group, "version": version, "kind": found.kind}


def _resource(row: Resource) -> Obj:
    return {"group": row.group, "version": row.version, "resource": row.plural}


def verdict(answer: Obj, *, uid: str, version: str, mutating: bool) -> Verdict:
    """Raises BadAnswer."""
    response = answer.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("webhook response was absent")
    operations: list[Any] = []
    if version == "v1":
        _check(answer, response, uid, mutating=mutating)
    if mutating and response.get("patch"):
        operations = _operations(response)
    return Verdict(
        allowed=response.get("allowed") is True,
        status=response.get("status") or {},
        operations=operations,
        warnings=tuple(str(one) for one in response.get("warnings") or ()),
        annotations=response.get("auditAnnotations") or {},
    )


def _check(answer: Obj, response: Obj, uid: str, *, mutating: bool) -> None:
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    group, _, version = str(answer.get("apiVersion") or "").rpartition("/")
    kind = answer.get("kind") or ""
    if (group, version, kind) != (_GROUP, "v1", "AdmissionReview"):
        got = f"{group}/{version}, Kind={kind}"
        raise BadAnswer(f"expected webhook response of {_GROUP}/v1, Kind=AdmissionReview, got {got}")
    if not mutating:
        return
    patch, kind = response.get("patch"), response.get("patchType")
    if patch and kind is None:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if not patch and kind is not None:
        raise BadAnswer("webhook returned response.patchType but not response.patch")
    if kind not in (None, "JSONPatch"):
        raise BadAnswer(f'webhook returned invalid response.patchType of "{kind}"')


def _operations(response: Obj) -> list[Any]:
    try:
        found = decode(base64.b64decode(response["patch"], validate=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadAnswer(f"received undecodable patch in webhook response: {error}") from error
    if not isinstance(found, list):
        raise BadAnswer("received undecodable patch in webhook response: not a list of operations")
    return found


def denied(name: str, status: Obj) -> ApiError:
    """The error of a webhook's no: its own status, never below 400, with who said it in front."""
    told = status.get("message") or status.get("reason")
    message = f'admission webhook "{name}" denied the request' + (f": {told}" if told else " without explanation")
    code = status.get("code")
    found: Obj = {
        **status,
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": status.get("metadata") or {},
        "status": "Failure",
        "message": message,
        "code": code if isinstance(code, int) and code >= 400 else 400,
    }
    return ApiError(message, status=found)
