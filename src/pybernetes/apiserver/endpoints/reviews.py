"""The reviews: who am I, what may I do, what may another, is this token good. Answered, never stored."""

from collections.abc import Callable

from pybernetes.api import times
from pybernetes.api.errors import BadRequest, Invalid
from pybernetes.api.kinds.reviews import access_review
from pybernetes.api.objects import Obj
from pybernetes.api.selectors import FieldTerm
from pybernetes.wire import Request, Response

from ..accept import plain_media
from ..answers import respond
from ..auth.attributes import Attributes, field_terms, label_terms
from ..auth.certificates import Authenticator
from ..auth.nodes import node_of
from ..auth.tokens import BadToken
from ..body import read_object
from ..registry import Registry
from ..route import Route
from ..users import User, user_of

Handler = Callable[[User, Obj, Route], Obj]


class Reviews:
    """Handlers by plural."""

    def __init__(self, registry: Registry, authenticator: Authenticator) -> None:
        self._registry = registry
        self._authorizer = registry.authorizer
        self._authenticator = authenticator
        self._handlers: dict[str, Handler] = {
            "selfsubjectreviews": self._who,
            "selfsubjectaccessreviews": self._self_access,
            "selfsubjectrulesreviews": self._self_rules,
            "subjectaccessreviews": self._access,
            "localsubjectaccessreviews": self._local_access,
            "tokenreviews": self._token,
        }

    def has(self, route: Route) -> bool:
        row = route.resource
        return row is not None and row.plural in self._handlers and row.group.endswith(".k8s.io")

    async def serve(self, request: Request, route: Route) -> Response:
        assert route.resource is not None
        media = plain_media(request.headers.get("accept", ""))
        body = read_object(request, self._registry.scheme, route.resource)
        await self._registry.cache.fresh()
        status = self._handlers[route.resource.plural](user_of(request), body, route)
        body["metadata"] = body.get("metadata") or {}
        return respond(body | {"status": status}, status=201, media=media.type)

    def _who(self, user: User, body: Obj, route: Route) -> Obj:
        """An answer of its own: when, and who."""
        del route
        body["metadata"] = {"creationTimestamp": times.stamp(self._registry.now())}
        return {"userInfo": user.info}

    def _self_access(self, user: User, body: Obj, route: Route) -> Obj:
        del route
        _check(body, "SelfSubjectAccessReview")
        return self._decide(user, body["spec"])

    def _access(self, user: User, body: Obj, route: Route) -> Obj:
        del user, route
        _check(body, "SubjectAccessReview")
        return self._decide(_subject(body), body["spec"])

    def _local_access(self, user: User, body: Obj, route: Route) -> Obj:
        del user
        _check(body, "LocalSubjectAccessReview")
        namespace = body["spec"]["resourceAttributes"].get("namespace", "")
        if namespace != route.namespace:
            raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {route.namespace}")
        return self._decide(_subject(body), body["spec"])

    def _decide(self, user: User, spec: Obj) -> Obj:
        answer = self._authorizer.decide(user, _attributes(spec))
        return {"allowed": answer.allowed} | ({"reason": answer.reason} if answer.reason else {})

    def _self_rules(self, user: User, body: Obj, route: Route) -> Obj:
        del route
        namespace = (body.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise BadRequest("no namespace on request")
        sources = [rule.source or {} for rule in self._authorizer.rbac.rules(user, namespace)]
        resources = [
            {name: rule[name] for name in ("verbs", "apiGroups", "resources", "resourceNames") if name in rule}
            for rule in sources
            if rule.get("resources")
        ]
        paths = [
            {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
            for rule in sources
            if rule.get("nonResourceURLs")
        ]
        found: Obj = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
        if node_of(user):
            why = "node authorizer does not support user rule resolution"
            return found | {"incomplete": True, "evaluationError": why}
        return found

    def _token(self, user: User, body: Obj, route: Route) -> Obj:
        del user, route
        spec = body.get("spec") or {}
        token = spec.get("token", "")
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            found, audiences = self._authenticator.bearer(token, audiences=spec.get("audiences") or ())
        except BadToken as error:
            return {"authenticated": False, "user": {}, "error": f"invalid bearer token, {error}"}
        return {"authenticated": True, "user": found.info, "audiences": list(audiences)}


def _attributes(spec: Obj) -> Attributes:
    if (path := spec.get("nonResourceAttributes")) is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    resource: Obj = spec["resourceAttributes"]
    name, part = resource.get("resource", ""), resource.get("subresource", "")
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        f"{name}/{part}" if part else name,
        resource.get("namespace", ""),
        resource.get("name", ""),
        fields=field_terms(_selector(resource, "fieldSelector")),
        labels=label_terms(_selector(resource, "labelSelector")),
    )


_WRITTEN = {"In": "{key} in ({values})", "NotIn": "{key} notin ({values})", "Exists": "{key}", "DoesNotExist": "!{key}"}


def _selector(resource: Obj, field: str) -> str:
    """A selector of the attributes as its query parameter: requirements as far as they can be said in one.

    What cannot is left out, which restricts less: an authorizer then allows less.
    """
    found = resource.get(field) or {}
    if raw := found.get("rawSelector"):
        return str(raw)
    terms = []
    for one in found.get("requirements") or ():
        key, operator, values = one.get("key", ""), one.get("operator", ""), one.get("values") or []
        if field == "labelSelector" and operator in _WRITTEN:
            terms.append(_WRITTEN[operator].format(key=key, values=",".join(values)))
        elif operator in ("In", "NotIn") and len(values) == 1:
            terms.append(str(FieldTerm(key, values[0], operator == "In")))
    return ",".join(terms)


def _check(body: Obj, kind: str) -> None:
    """Raises Invalid with all that is wrong."""
    if problems := list(access_review(body, kind=kind)):
        raise Invalid.of(kind, "", problems, group="authorization.k8s.io")


def _subject(body: Obj) -> User:
    spec: Obj = body.get("spec") or {}
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
