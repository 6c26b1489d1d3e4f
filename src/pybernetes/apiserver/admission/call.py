"""What an admission step is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pybernetes.api.errors import Forbidden
from pybernetes.api.objects import Obj, metadata, name_of
from pybernetes.api.resources import Resource

from ..auth.authorize import Authorizer
from ..users import User

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class Reader(Protocol):
    """Objects as they are now, from memory, and what users may do."""

    @property
    def authorizer(self) -> Authorizer: ...

    def read(self, row: Resource, namespace: str, name: str) -> Obj | None: ...

    def select(self, row: Resource, namespace: str = "") -> list[Obj]: ...

    async def in_version(self, obj: Obj, row: Resource, other: Resource) -> Obj:
        """An object of one row as another row of the same storage shows it."""
        ...


@dataclass(slots=True, kw_only=True)
class Call:
    """One write: `new` is None for a delete, `old` for a create. Steps edit `new` in place.

    `parent` is (namespace, name) where the body is not the object itself (a Binding, an Eviction, PodExecOptions).
    """

    row: Resource
    new: Obj | None
    old: Obj | None
    user: User
    registry: Reader
    part: str = ""
    dry_run: bool = False
    manager: str = ""
    connects: bool = False
    parent: tuple[str, str] | None = None
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    """For the audit log."""

    @property
    def operation(self) -> Operation:
        if self.connects:
            return "CONNECT"
        if self.new is None:
            return "DELETE"
        return "CREATE" if self.old is None else "UPDATE"

    @property
    def options(self) -> Obj:
        """CreateOptions, UpdateOptions or DeleteOptions; {} of a connection."""
        if self.connects:
            return {}
        found: Obj = {"kind": f"{self.operation.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            found["dryRun"] = ["All"]
        if self.manager and self.new is not None:
            found["fieldManager"] = self.manager
        return found

    @property
    def creates(self) -> bool:
        return self.old is None

    @property
    def obj(self) -> Obj:
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found

    @property
    def name(self) -> str:
        return self.parent[1] if self.parent else name_of(self.obj)

    @property
    def namespace(self) -> str:
        return self.parent[0] if self.parent else str(metadata(self.obj).get("namespace", ""))

    def is_new(self, row: Resource) -> bool:
        """Whether it creates an object of this kind."""
        return self.row is row and self.old is None and not self.part

    def forbidden(self, why: str) -> Forbidden:
        details = {"name": self.name, "kind": self.row.plural} | ({"group": self.row.group} if self.row.group else {})
        return Forbidden(f'{self.row.qualified} "{self.name}" is forbidden: {why}', details=details)

    def run(self, steps: "Sequence[Admission]") -> None:
        for step in steps:
            step(self)


Admission = Callable[[Call], None]
