"""What authorization is asked about a request: the attributes of SubjectAccessReview, selectors included."""

from typing import NamedTuple

from pybernetes.api import selectors
from pybernetes.api.selectors import FieldTerm, Requirement
from pybernetes.wire import Request

from ..route import Route

_SELECTING = ("list", "watch", "deletecollection")


class Attributes(NamedTuple):
    """What is asked for. A non-resource request has `path` and no `resource`; `resource` is "pods" or "pods/log".

    `fields` and `labels` are what the collection is restricted to, as far as it could be understood (KEP-4601): an
    authorizer that looks at them may only ever allow more because of them.
    """

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    fields: tuple[FieldTerm, ...] = ()
    labels: tuple[Requirement, ...] = ()

    @property
    def plural(self) -> str:
        return self.resource.partition("/")[0]

    @property
    def part(self) -> str:
        return self.resource.partition("/")[2]


def attributes(route: Route, request: Request) -> Attributes:
    """Those of a request. A collection restricted to one name is a request for that name, as in Kubernetes."""
    row = route.resource
    if row is None:
        return Attributes(route.verb, path=route.path)
    namespace, name = route.namespace, route.name
    if row.plural == "namespaces" and not row.group and name:
        namespace = name
    fields: tuple[FieldTerm, ...] = ()
    labels: tuple[Requirement, ...] = ()
    if route.verb in _SELECTING and request.query:
        fields, labels = field_terms(request.param("fieldSelector")), label_terms(request.param("labelSelector"))
        name = name or next((term.value for term in fields if term.equal and term.path == "metadata.name"), "")
    return Attributes(route.verb, row.group, route.target, namespace, name, fields=fields, labels=labels)


def field_terms(text: str) -> tuple[FieldTerm, ...]:
    """Of a fieldSelector; none for what cannot be read (the endpoint refuses it)."""
    try:
        return selectors.parse_fields(text).terms
    except ValueError:
        return ()


def label_terms(text: str) -> tuple[Requirement, ...]:
    """Of a labelSelector; none for what cannot be read (the endpoint refuses it)."""
    try:
        return selectors.parse(text).terms
    except ValueError:
        return ()
