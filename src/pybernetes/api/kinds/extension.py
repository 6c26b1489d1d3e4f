"""APIService: a group and version of the API and who serves it."""

import base64
from collections.abc import Iterator

from .. import names
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks
from .pod_defaults import fill
from .rules import follow, matching, may, need
from .strategy import Strategy

Problems = Iterator[FieldError]


class ApiServiceStrategy(Strategy):
    unconditional_update = False
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        if (service := (obj.get("spec") or {}).get("service")) is not None:
            fill(service, {"port": 443})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if part == "status":
            return
        spec: Obj = new.get("spec") or {}
        wanted = f"{spec.get('version') or ''}.{spec.get('group') or ''}"
        if name_of(new) != wanted:
            detail = 'must be `spec.version+"."+spec.group`' + f': "{wanted}"'
            yield FieldError.invalid("metadata.name", name_of(new), detail)
        if not spec.get("group") and spec.get("version") != "v1":
            detail = "only v1 may have an empty group and it better be legacy kube"
            yield FieldError.required("spec.group", detail)
        yield from follow(spec, {"group": may(matching(names.subdomain))}, "spec")
        yield from checks.named(spec.get("version") or "", "spec.version", names.label_1035)
        for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            if not 0 < (value := spec.get(field) or 0) <= most:
                yield FieldError.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
        if spec.get("service") is None:
            yield from _local(spec, "spec")
        else:
            yield from _served(spec, "spec")


def _local(spec: Obj, path: str) -> Problems:
    """Served by this API server: there is nobody to trust."""
    if bundle := spec.get("caBundle"):
        size = len(base64.b64decode(bundle))
        yield FieldError.invalid(f"{path}.caBundle", f"{size} bytes", "local APIServices may not have a caBundle")
    if spec.get("insecureSkipTLSVerify"):
        detail = "local APIServices may not have insecureSkipTLSVerify"
        yield FieldError.invalid(f"{path}.insecureSkipTLSVerify", True, detail)


def _served(spec: Obj, path: str) -> Problems:
    service: Obj = spec["service"]
    yield from follow(service, {"namespace": need(), "name": need()}, f"{path}.service")
    port = service.get("port") or 0
    for text in names.port_number(port):
        yield FieldError.invalid(f"{path}.service.port", port, f"port is not valid: {text}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        yield FieldError.invalid(f"{path}.insecureSkipTLSVerify", True, "may not be true if caBundle is present")
