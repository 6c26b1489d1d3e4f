"""ConversionReview, request and response (apiextensions.k8s.io/v1 and v1beta1). Pure.

Source: apiextensions-apiserver, pkg/apiserver/conversion/webhook_converter.go.
"""

from collections.abc import Sequence
from typing import Any

from pybernetes.api.errors import ApiError
from pybernetes.api.kinds import meta
from pybernetes.api.objects import Obj, metadata

GROUP = "apiextensions.k8s.io"
REVIEWS = ("v1", "v1beta1")
"""The versions of ConversionReview that are spoken."""
_EDITABLE = ("labels", "annotations")
"""What of metadata a conversion may change."""

CALL = "conversion_webhook_call_failure"
MALFORMED = "conversion_webhook_malformed_response_failure"
PARTIAL = "conversion_webhook_partial_response_failure"
INVALID = "conversion_webhook_invalid_converted_object_failure"


class ConversionFailed(ApiError):
    """An object that cannot be had in the version that is wanted. `failure` is its type in the metrics."""

    code, reason = 500, ""

    def __init__(self, message: str, *, failure: str = "") -> None:
        super().__init__(message)
        self.failure = failure


def version_of(spoken: Sequence[str]) -> str:
    """The first of a definition's conversionReviewVersions that is known. Raises ConversionFailed."""
    for version in spoken:
        if version in REVIEWS:
            return version
    raise ConversionFailed("no supported conversion review versions")


def review(objs: Sequence[Obj], desired: str, *, uid: str, version: str) -> Obj:
    """The question: these objects in the API version `desired`."""
    request = {"uid": uid, "desiredAPIVersion": desired, "objects": list(objs)}
    return {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def shown(obj: Obj) -> str:
    """What is to be converted, as errors name it."""
    return f"{obj.get('apiVersion', '')}, Kind={obj.get('kind', '')}"


def converted(answer: Obj, sent: Sequence[Obj], desired: str, *, uid: str, version: str) -> list[Obj]:
    """The objects of an answer, in the order in which they were sent, each with the metadata it had.

    Labels and annotations may be others. Raises ConversionFailed.
    """
    kind = shown(sent[0])
    found = _objects(answer, kind, uid=uid, version=version)
    if len(found) != len(sent):
        text = f"conversion webhook for {kind} returned {len(found)} objects, expected {len(sent)}"
        raise ConversionFailed(text, failure=PARTIAL)
    return [_checked(new, old, desired, f"conversion webhook for {kind} returned invalid", index)
            for index, (new, old) in enumerate(zip(found, sent, strict=True))]  # fmt: skip


def _objects(answer: Obj, kind: str, *, uid: str, version: str) -> list[Any]:
    response = answer.get("response")
    problem = ""
    wanted = f"{GROUP}/{version}"
    if version == "v1" and (answer.get("apiVersion"), answer.get("kind")) != (wanted, "ConversionReview"):
        problem = f"expected webhook response of {wanted}, Kind=ConversionReview, got {shown(answer)}"
    elif not isinstance(response, dict):
        problem = "no response provided"
    elif version == "v1" and response.get("uid") != uid:
        problem = f'expected response.uid="{uid}", got "{response.get("uid") or ""}"'
    else:
        result = response.get("result")
        result = result if isinstance(result, dict) else {}
        if result.get("status") == "Success":
            objects = response.get("convertedObjects")
            return objects if isinstance(objects, list) else []
        problem = result.get("message") or f"response.result.status was '{result.get('status') or ''}', not 'Success'"
    raise ConversionFailed(f"conversion webhook for {kind} failed: {problem}", failure=MALFORMED)


def _checked(new: Any, old: Obj, desired: str, before: str, index: int) -> Obj:
    if not isinstance(new, dict) or not new.get("kind"):
        problem = f"converted object at index {index}: Object 'Kind' is missing"
    elif new.get("apiVersion") != desired:
        received = new.get("apiVersion") or ""
        problem = f"converted object at index {index}: invalid groupVersion (expected {desired}, received {received})"
    elif new["kind"] != old["kind"]:
        problem = f"converted object at index {index}: invalid kind (expected {old['kind']}, received {new['kind']})"
    elif other := _identity(new, old):
        problem = f"converted object at index {index}: {other}"
    elif bad := _bad_metadata(new, old):
        problem = f"metadata in object at index {index}: {bad}"
    else:
        return new | {"metadata": _restored(new["metadata"], metadata(old))}
    raise ConversionFailed(f"{before} {problem}", failure=INVALID)


def _identity(new: Obj, old: Obj) -> str:
    given, had = new.get("metadata"), metadata(old)
    given = given if isinstance(given, dict) else {}
    for field, name in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        one, other = had.get(field) or "", given.get(field) or ""
        if one != other:
            return f"must have the same {name}: {one} != {other}"
    return ""


def _bad_metadata(new: Obj, old: Obj) -> str:
    found = new.get("metadata")
    if found is None:
        return "missing metadata in converted object"
    if not isinstance(found, dict):
        return f"invalid metadata of type {type(found).__name__} in converted object"
    for field in _EDITABLE:
        given = found.get(field)
        if given is None or given == metadata(old).get(field):
            continue
        if not isinstance(given, dict):
            return f"invalid metadata.{field} of type {type(given).__name__} in converted object"
        for key, value in given.items():
            if not isinstance(value, str):
                return f"metadata.{field}[{key}] must be a string, but is {type(value).__name__} in converted object"
        check = meta.labels if field == "labels" else meta.annotations
        if problems := [str(one) for one in check(given, f"metadata.{field}")]:
            return ", ".join(problems)
    return ""


def _restored(given: Obj, had: Obj) -> Obj:
    kept = {name: value for name, value in had.items() if name not in _EDITABLE}
    return kept | {field: given[field] for field in _EDITABLE if given.get(field) is not None}
