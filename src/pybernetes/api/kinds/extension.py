"""APIService: a group and version of the API and who serves it."""

from collections.abc import Iterator

from ..errors import FieldError
from ..objects import Obj, name_of
from .pod_defaults import fill
from .strategy import Strategy

Problems = Iterator[FieldError]


class ApiServiceStrategy(Strategy):
    generation = True
    status = True

    def default(self, obj: Obj) -> None:
        if (service := (obj.get("spec") or {}).get("service")) is not None:
            fill(service, {"port": 443})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        wanted = f"{spec.get('version', '')}.{spec.get('group', '')}"
        if name_of(new) != wanted:
            yield FieldError.invalid(
                "metadata.name", name_of(new), 'must be `spec.version+"."+spec.group`' + f': "{wanted}"'
            )
        for field in ("groupPriorityMinimum", "versionPriority"):
            most = 20000 if field[0] == "g" else 1000
            value = spec.get(field, 0)
            if not 0 < value <= most:
                yield FieldError.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
