"""What the schema cannot say of a kind: a Strategy's hooks, all pure, each with a default that suits a plain kind.

`part` is the subresource that is written ("" for the object itself). The registry's order is Kubernetes':
decode, default, admission, prepare, validate, store.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..errors import FieldError
from ..objects import Obj
from . import meta

Problems = Iterator[FieldError]

_SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


class ScalePaths(NamedTuple):
    """Where a kind keeps what its scale subresource shows, as simple JSON paths."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ""
    """Of a selector kept as text; "" for .spec.selector."""


class Strategy:
    """The behaviour of one kind. Class attributes say what most kinds differ in; methods say the rest."""

    name_rule: Callable[[str], Iterator[str]] = staticmethod(meta.subdomain_name)
    """What metadata.name must be."""
    owned_finalizers = True
    """Each finalizer says by a domain whose it is, or is one of Kubernetes' own."""
    generation = False
    """metadata.generation counts changes of the object outside metadata and status."""
    status = False
    """Status is written through /status only."""
    status_keeps_labels = False
    """A write to /status leaves the labels alone."""
    create_on_update = False
    """PUT creates what is not there."""
    unconditional_update = True
    """PUT without a resourceVersion overwrites."""
    scale = ScalePaths()
    orphans = False
    """What it owns stays when it is deleted and nobody says what becomes of that."""
    orphans_warning = ""
    """What is said then."""

    def terminating(self, obj: Obj) -> None:
        """Edit an object at the first request to delete it, before what becomes of it is planned."""

    def default(self, obj: Obj) -> None:
        """Fill in what the API defaults. Runs on every decoded object; twice changes nothing."""

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        """Take away what the caller may not set, keep what the server has set. `old` is None on create."""
        if old is None:
            meta.fresh(new)
            if self.status:
                self.reset_status(new)
            if self.generation:
                new["metadata"]["generation"] = 1
            return
        meta.keep(new, old, _SERVER_SET)
        if part == "status":
            self._prepare_status(new, old)
            return
        if self.status:
            _take(new, old, "status")
        if self.generation and self.changed(new, old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def stamp(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> None:
        """Set the times that the server sets (`now` is POSIX time); once a write, after `prepare`."""

    def reset_status(self, new: Obj) -> None:
        """The status of a new object."""
        new["status"] = {}

    def changed(self, new: Obj, old: Obj) -> bool:
        """Whether anything but metadata and status differs."""
        return _essence(new) != _essence(old)

    def _prepare_status(self, new: Obj, old: Obj) -> None:
        for field in {*new, *old} - {"status", "metadata", "apiVersion", "kind"}:
            _take(new, old, field)
        self.keep_metadata(new, old)

    def keep_metadata(self, new: Obj, old: Obj) -> None:
        """What of metadata a write to /status leaves alone."""
        kept = ("ownerReferences", "finalizers", *(("labels",) if self.status_keeps_labels else ()))
        meta.keep(new, old, kept)

    def validate(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        """Everything that is wrong, all at once. `old` is None on create."""
        yield from meta.validate(new, old, name_rule=self.name_rule, owned_finalizers=self.owned_finalizers)
        yield from self.check(new, old, part=part)

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        """What is wrong outside metadata."""
        yield from ()

    def untimely(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> Problems:
        """What is wrong by the clock with an object that is right otherwise."""
        yield from ()

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        """What the author of a valid object should know: fields without effect, names that will surprise."""
        yield from ()

    def grace_seconds(self, obj: Obj, asked: int | None) -> int:
        """How long a deleted object may take to go; `asked` is the DeleteOptions' gracePeriodSeconds."""
        return 0


def _take(new: Obj, old: Obj, field: str) -> None:
    """`new` gets the old object's field, or its absence."""
    value: Any = old.get(field)
    if value is None:
        new.pop(field, None)
    else:
        new[field] = value


def _essence(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}


class ReviewStrategy(Strategy):
    """A question that is answered and never stored: SubjectAccessReview, TokenReview, Binding."""

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        new.setdefault("metadata", {})

    def validate(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        yield from self.check(new, old, part=part)


PLAIN = Strategy()
