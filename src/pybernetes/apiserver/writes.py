"""A write as it is meant and as it ended, and what its author is told on the way."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pybernetes.api.kinds.meta import drop_doubled_owners
from pybernetes.api.objects import Obj
from pybernetes.store import Record

from .users import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """How a write is meant: by whom, under which manager, for real or not."""

    user: User
    manager: str = ""
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    apply: bool = False
    """The managed fields are already in the edit (server-side apply)."""
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission has to say to the audit log."""

    def warn(self, texts: Iterable[str]) -> None:
        """Each is said once, however often the write is tried."""
        self.warnings.extend(text for text in dict.fromkeys(texts) if text not in self.warnings)


class Written(NamedTuple):
    """What became of a write. `record` has revision 0 for what a dry run would have created."""

    record: Record
    created: bool = False
    deleted: bool = False


def single_owners(obj: Obj, write: Write, *, admitted: bool = False) -> None:
    """Keep owners that are told twice once, and say so; `admitted` ones were told by a webhook."""
    if doubled := drop_doubled_owners(obj):
        when = " after mutating admission happens" if admitted else ""
        text = (
            f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, "
            "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        )
        write.warn([text + ", ".join(doubled)])
