"""Questions about access: what they must say (pkg/apis/authorization/validation)."""

from ..errors import FieldError
from ..objects import Obj
from . import checks
from .rules import Problems, Table, each, follow, given, need

_SUBJECTS = ("SubjectAccessReview", "LocalSubjectAccessReview")


def access_review(review: Obj, *, kind: str) -> Problems:
    """Of the SubjectAccessReviews: of a subject, within a namespace, or of oneself."""
    local = kind == "LocalSubjectAccessReview"
    yield from _spec(review.get("spec") or {}, "spec", subject=kind in _SUBJECTS)
    metadata = {key: value for key, value in (review.get("metadata") or {}).items() if value and key != "managedFields"}
    namespace = metadata.pop("namespace", None) if local else None
    if metadata:
        detail = "must be empty except for namespace" if local else "must be empty"
        yield FieldError.invalid("metadata", metadata, detail)
    if local:
        yield from _within(review.get("spec") or {}, namespace)


def _spec(spec: Obj, path: str, *, subject: bool) -> Problems:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        yield FieldError.invalid(f"{path}.nonResourceAttributes", other, detail)
    if resource is None and other is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield FieldError.invalid(f"{path}.resourceAttributes", None, detail)
    if subject and not spec.get("user") and not spec.get("groups"):
        yield FieldError.invalid(f"{path}.user", "", "at least one of user or group must be specified")
    if resource is not None:
        selectors = {"fieldSelector": given(_selector), "labelSelector": given(_selector)}
        yield from follow(resource, selectors, f"{path}.resourceAttributes")


def _within(spec: Obj, namespace: str | None) -> Problems:
    resource = spec.get("resourceAttributes")
    if resource is not None and namespace and (resource.get("namespace") or "") != namespace:
        detail = "must match metadata.namespace"
        yield FieldError.invalid("spec.resourceAttributes.namespace", resource.get("namespace") or "", detail)
    if spec.get("nonResourceAttributes") is not None:
        detail = "disallowed on this kind of request"
        yield FieldError.invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"], detail)


def _requirement(found: Obj, path: str) -> Problems:
    yield from follow(found, _KEY, path)
    if found.get("operator") in ("In", "NotIn", "Exists", "DoesNotExist"):  # others may be known to an authorizer
        yield from checks.operator(found, path, known=(found["operator"],))


_KEY: Table = {"key": need(None, "must be specified"), "operator": need()}


def _selector(found: Obj, path: str) -> Problems:
    """Said as text or as requirements."""
    raw, requirements = found.get("rawSelector"), found.get("requirements")
    if raw and requirements:
        yield FieldError.invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")
    if not raw and not requirements:
        detail = f"when {path} is specified, requirements or rawSelector is required"
        yield FieldError.required(f"{path}.requirements", detail)
    yield from each(_requirement)(requirements or [], f"{path}.requirements")
