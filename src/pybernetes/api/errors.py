"""Errors in the shape of the wire: each is a Status object (API reference, meta/v1 Status).

Raised where the fact is known, translated into a response once, at the edge of the API server,
and raised again as the same class by the client.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from .objects import Obj, decode, encode

OMITTED: Any = object()
"""As the value of a FieldError: one that is not shown."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One cause of an Invalid status. `type` is a Kubernetes CauseType (FieldValueInvalid, FieldValueRequired, ...)."""

    type: str
    field: str
    detail: str = ""
    value: Any = None

    @classmethod
    def required(cls, field: str, detail: str = "") -> Self:
        return cls("FieldValueRequired", field, detail)

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> Self:
        return cls("FieldValueInvalid", field, detail, value)

    @classmethod
    def duplicate(cls, field: str, value: Any) -> Self:
        return cls("FieldValueDuplicate", field, "", value)

    @classmethod
    def not_supported(cls, field: str, value: Any, supported: Iterable[str]) -> Self:
        values = ", ".join(f'"{one}"' for one in supported)
        return cls("FieldValueNotSupported", field, f"supported values: {values}", value)

    @classmethod
    def forbidden(cls, field: str, detail: str) -> Self:
        return cls("FieldValueForbidden", field, detail)

    @classmethod
    def too_long(cls, field: str, value: Any, limit: int) -> Self:
        return cls("FieldValueTooLong", field, f"may not be more than {limit} bytes")

    @classmethod
    def too_many(cls, field: str, count: int, limit: int) -> Self:
        return cls("FieldValueTooMany", field, f"must have at most {limit} item{'' if limit == 1 else 's'}", count)

    @classmethod
    def not_found(cls, field: str, value: Any) -> Self:
        return cls("FieldValueNotFound", field, "", value)

    @classmethod
    def type_invalid(cls, field: str, value: Any, detail: str) -> Self:
        return cls("FieldValueTypeInvalid", field, detail, value)

    @property
    def message(self) -> str:
        """The text of a cause, as apimachinery's field.Error prints it without the field."""
        title = _TITLES.get(self.type, "Invalid value")
        shown = "" if self.type in _WITHOUT_VALUE or self.value is OMITTED else f": {_shown(self.value)}"
        return f"{title}{shown}" + (f": {self.detail}" if self.detail else "")

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


_TITLES = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueNotFound": "Not found",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE = frozenset({"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong"})


def quoted(text: str) -> str:
    """As Go's %q prints a text."""
    return encode(text).decode()


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return encode(value).decode()


class ApiError(Exception):
    """An error with a Status. Subclasses fix `code` and `reason`; `details` follows meta/v1 StatusDetails."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, status: Obj | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self._status = status

    @property
    def status(self) -> Obj:
        """The Status object for the wire."""
        if self._status is not None:
            return self._status
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status

    @property
    def causes(self) -> list[Obj]:
        found: list[Obj] = self.details.get("causes") or []
        return found


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"

    @classmethod
    def of(cls, resource: str, name: str, *, group: str = "") -> Self:
        """`resource` is the plural, as in: pods "x" not found."""
        qualified = f"{resource}.{group}" if group else resource
        return cls(f'{qualified} "{name}" not found', details=_details(resource, name, group))


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"

    @classmethod
    def of(cls, resource: str, name: str, *, group: str = "") -> Self:
        qualified = f"{resource}.{group}" if group else resource
        return cls(f'{qualified} "{name}" already exists', details=_details(resource, name, group))


class Conflict(ApiError):
    code, reason = 409, "Conflict"

    @classmethod
    def of(cls, resource: str, name: str, *, group: str = "", why: str = "") -> Self:
        qualified = f"{resource}.{group}" if group else resource
        text = why or "the object has been modified; please apply your changes to the latest version and try again"
        return cls(
            f'Operation cannot be fulfilled on {qualified} "{name}": {text}', details=_details(resource, name, group)
        )


class Gone(ApiError):
    code, reason = 410, "Gone"


class Expired(ApiError):
    code, reason = 410, "Expired"


class TooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"

    @classmethod
    def of(cls, kind: str, name: str, errors: Iterable[FieldError], *, group: str = "") -> Self:
        """All field errors at once; one cause each."""
        found = list(errors)
        qualified = f"{kind}.{group}" if group else kind
        texts = list(dict.fromkeys(str(error) for error in found))  # said once, though it has a cause each time
        joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
        details = _details(kind, name, group) | {
            "causes": [{"reason": e.type, "message": e.message, "field": e.field} for e in found]
        }
        return cls(f'{qualified} "{name}" is invalid: {joined}', details=details)


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


def _details(kind: str, name: str, group: str) -> dict[str, Any]:
    """As Go writes them: what is empty is left out."""
    return {field: value for field, value in (("name", name), ("kind", kind), ("group", group)) if value}


_BY_REASON: dict[str, type[ApiError]] = {cls.reason: cls for cls in ApiError.__subclasses__()}
_BY_CODE: dict[int, type[ApiError]] = {cls.code: cls for cls in reversed(ApiError.__subclasses__())}


def error_of(code: int, body: bytes) -> ApiError:
    """The error a response stands for: from its Status body when it has one, else from the HTTP code."""
    try:
        status = decode(body)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        cls = _BY_REASON.get(str(status.get("reason", "")), _BY_CODE.get(code, ApiError))
        return cls(str(status.get("message", "")), details=status.get("details"), status=status)
    text = body.decode("utf-8", "replace").strip() or f"the server answered {code}"
    return _BY_CODE.get(code, ApiError)(text)
