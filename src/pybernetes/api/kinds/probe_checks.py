"""Probes and lifecycle hooks of containers (core/validation)."""

import re

from ..errors import FieldError
from ..objects import Obj
from . import checks
from .rules import NOT_NEGATIVE, Problems, Table, among, at_least, follow, given, may, need

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_HEADER = re.compile(r"[-A-Za-z0-9]+")
_HEADER_TEXT = (
    "a valid HTTP header must consist of alphanumeric characters or '-' "
    "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
)
_COUNTS: Table = {
    **dict.fromkeys(
        ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"),
        may(NOT_NEGATIVE),
    ),
    "terminationGracePeriodSeconds": may(at_least(1, "must be greater than 0")),
}


def probes(container: Obj, path: str) -> Problems:
    for field in PROBES:
        if (probe := container.get(field)) is None:
            continue
        where = f"{path}.{field}"
        yield from handler(probe, where)
        yield from follow(probe, _COUNTS, where)
        if field == "readinessProbe":
            if (grace := probe.get("terminationGracePeriodSeconds")) is not None:
                detail = "must not be set for readinessProbes"
                yield FieldError.invalid(f"{where}.terminationGracePeriodSeconds", grace, detail)
        elif probe.get("successThreshold", 1) != 1:
            yield FieldError.invalid(f"{where}.successThreshold", probe["successThreshold"], "must be 1")


def lifecycle(hooks: Obj, path: str, *, grace: int | None) -> Problems:
    """`grace` is the pod's terminationGracePeriodSeconds, which a hook may not outsleep."""
    for field in ("postStart", "preStop"):
        if hooks.get(field) is not None:
            yield from handler(hooks[field], f"{path}.{field}", grace=grace)


def handler(found: Obj, path: str, *, grace: int | None = None) -> Problems:
    """Exactly one action."""
    kinds = [field for field in _HANDLERS if found.get(field) is not None]
    if not kinds:
        yield FieldError.required(path, "must specify a handler type")
    for field in kinds[1:]:
        yield FieldError.forbidden(f"{path}.{field}", "may not specify more than 1 handler type")
    for field in kinds[:1]:
        action, where = found[field], f"{path}.{field}"
        match field:
            case "exec":
                yield from follow(action, {"command": need()}, where)
            case "httpGet":
                yield from _http(action, where)
            case "tcpSocket":
                yield from checks.port_or_name(action.get("port"), f"{where}.port")
            case "grpc":
                yield from checks.port(action.get("port"), f"{where}.port")
            case "sleep":
                yield from _sleep(action, where, grace=grace)


_HTTP: Table = {"path": need(), "scheme": given(among("HTTP", "HTTPS"))}


def _http(action: Obj, path: str) -> Problems:
    yield from follow(action, _HTTP, path)
    yield from checks.port_or_name(action.get("port"), f"{path}.port")
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        if not _HEADER.fullmatch(name):
            yield FieldError.invalid(f"{path}.httpHeaders", name, _HEADER_TEXT)


def _sleep(action: Obj, path: str, *, grace: int | None) -> Problems:
    seconds = action.get("seconds") or 0
    if grace is not None and not 0 <= seconds <= grace:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        yield FieldError.invalid(path, seconds, detail)
