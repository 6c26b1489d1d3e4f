"""What the query of a list or watch asks for (API concepts: resourceVersion, limit, continue, selectors, WatchList)."""

from collections.abc import Mapping
from typing import NamedTuple

from pybernetes.api import selectors
from pybernetes.api.errors import BadRequest, FieldError, Invalid
from pybernetes.api.objects import encode
from pybernetes.api.resources import Resource
from pybernetes.api.selectors import FieldSelector, FieldTerm, Selector
from pybernetes.store import Revision
from pybernetes.wire import Request

from . import fields
from .watchcache import Item


class Selection(NamedTuple):
    """Which objects of a collection are asked for."""

    prefix: str
    namespace: str = ""
    labels: Selector = selectors.EVERYTHING
    fields: FieldSelector = FieldSelector()

    def __bool__(self) -> bool:
        """Whether it restricts anything within the namespace."""
        return bool(self.labels) or bool(self.fields)

    def matches(self, item: Item) -> bool:
        view = item.view(self.prefix)
        return self.labels.matches_object(view) and self.fields.matches_object(view)

    @property
    def name(self) -> str | None:
        """The one name it allows, if it fixes it."""
        return self.fields.exact("metadata.name")


class ListOptions(NamedTuple):
    """Parsed and checked; `revision` is None when unset."""

    selection: Selection
    revision: Revision | None = None
    match: str = ""
    limit: int = 0
    continues: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial: bool | None = None
    timeout_seconds: float = 0.0


def list_options(request: Request, row: Resource, *, namespace: str, name: str = "", watch: bool) -> ListOptions:
    """Raises BadRequest, Invalid."""
    found = ListOptions(
        selection=_selection(request, row, namespace, name),
        revision=revision(request.param("resourceVersion")),
        match=request.param("resourceVersionMatch"),
        limit=_number(request, "limit"),
        continues=request.param("continue"),
        watch=watch,
        bookmarks=request.flag("allowWatchBookmarks"),
        initial=request.flag("sendInitialEvents") if request.param("sendInitialEvents") else None,
        timeout_seconds=float(_number(request, "timeoutSeconds")),
    )
    problems = list(_problems(found))
    if problems:
        raise Invalid.of("ListOptions", "", problems, group="meta.k8s.io")
    if found.continues and found.revision and not watch:
        raise BadRequest("specifying resource version is not allowed when using continue")
    return found


def revision(text: str) -> Revision | None:
    """A resourceVersion parameter. Raises BadRequest."""
    if not text:
        return None
    if not text.isdecimal() or not text.isascii():
        raise _unparsed(text, "invalid syntax")
    if int(text[:21]) >= 1 << 64:
        raise _unparsed(text, "value out of range")
    return int(text)


def _unparsed(text: str, why: str) -> BadRequest:
    """In the words of Go's strconv."""
    shown = encode(text).decode()
    problem = f"strconv.ParseUint: parsing {shown}: {why}"
    return BadRequest(str(FieldError.invalid("resourceVersion", text, problem)))


def _selection(request: Request, row: Resource, namespace: str, name: str) -> Selection:
    if not request.query and not name:
        return Selection(row.prefix, namespace)
    try:
        labels = selectors.parse(request.param("labelSelector"))
        wanted = selectors.parse_fields(request.param("fieldSelector"))
    except ValueError as error:
        raise BadRequest(str(error)) from error
    unsupported = wanted.unsupported(row.selectable)
    if unsupported:
        raise BadRequest(f"field label not supported: {unsupported}")
    terms = tuple(_renamed(term, fields.RENAMED.get(row) or {}) for term in wanted.terms)
    if name:
        terms += (FieldTerm("metadata.name", name),)
    if not namespace:
        namespace = FieldSelector(terms).exact("metadata.namespace") or ""
    return Selection(row.prefix, namespace, labels, FieldSelector(terms))


def _renamed(term: FieldTerm, names: Mapping[str, str]) -> FieldTerm:
    path = names.get(term.path)
    return FieldTerm(path, term.value, term.equal) if path else term


def _number(request: Request, name: str) -> int:
    text = request.param(name)
    if not text:
        return 0
    try:
        return max(0, int(text))
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _problems(options: ListOptions) -> list[FieldError]:
    match, initial = options.match, options.initial
    if match and match not in ("Exact", "NotOlderThan"):
        return [FieldError.not_supported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""])]
    if options.watch:
        return _watch_problems(match, initial, options.bookmarks)
    if initial is not None:
        return [FieldError.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")]
    if match and options.revision is None:
        return [FieldError.forbidden("resourceVersionMatch", _UNLESS + "resourceVersion is provided")]
    if match and options.continues:
        return [
            FieldError.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        ]
    if match == "Exact" and options.revision == 0:
        return [
            FieldError.forbidden(
                "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            )
        ]
    return []


_UNLESS = "resourceVersionMatch is forbidden unless "


def _watch_problems(match: str, initial: bool | None, bookmarks: bool) -> list[FieldError]:
    if initial is None:
        if match:
            return [
                FieldError.forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )
            ]
        return []
    if match != "NotOlderThan":
        return [
            FieldError.forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )
        ]
    if initial and not bookmarks:
        return [
            FieldError.forbidden("sendInitialEvents", "sendInitialEvents requires setting allowWatchBookmarks to true")
        ]
    return []
