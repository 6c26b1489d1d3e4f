"""The reviews: who am I, what may I do, what may another, is this token good. Answered, never stored."""

from collections.abc import Callable

from pybernetes.api.errors import BadRequest, FieldError, Invalid
from pybernetes.api.objects import Obj
from pybernetes.wire import Request, Response

from ..accept import plain_media
from ..auth.rbac import Attributes, Rbac
from ..auth.tokens import BadToken, Tokens
from ..body import read_object
from ..forms import respond
from ..registry import Registry
from ..route import Route
from ..users import User, user_of

Handler = Callable[[User, Obj, Route], Obj]


class Reviews:
    """Handlers by plural."""

    def __init__(self, registry: Registry, rbac: Rbac, tokens: Tokens | None) -> None:
        self._registry = registry
        self._rbac = rbac
        self._tokens = tokens
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
        metadata = {"creationTimestamp": None} | (body.get("metadata") or {})
        return respond(body | {"metadata": metadata, "status": status}, status=201, media=media.type)

    def _who(self, user: User, body: Obj, route: Route) -> Obj:
        del body, route
        return {"userInfo": user.info}

    def _self_access(self, user: User, body: Obj, route: Route) -> Obj:
        del route
        return self._decide(user, body.get("spec") or {}, "SelfSubjectAccessReview")

    def _access(self, user: User, body: Obj, route: Route) -> Obj:
        del user, route
        return self._decide(_subject(body, "SubjectAccessReview"), body["spec"], "SubjectAccessReview")

    def _local_access(self, user: User, body: Obj, route: Route) -> Obj:
        del user
        subject = _subject(body, "LocalSubjectAccessReview")
        namespace = (body["spec"].get("resourceAttributes") or {}).get("namespace", "")
        if namespace != route.namespace:
            raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {route.namespace}")
        return self._decide(subject, body["spec"], "LocalSubjectAccessReview")

    def _decide(self, user: User, spec: Obj, kind: str) -> Obj:
        asked = _attributes(spec, kind)
        reason = self._rbac.reason(user, asked)
        if reason is None:
            return {"allowed": False}
        return {"allowed": True} | ({"reason": reason} if reason else {})

    def _self_rules(self, user: User, body: Obj, route: Route) -> Obj:
        del route
        namespace = (body.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise BadRequest("no namespace on request")
        sources = [rule.source or {} for rule in self._rbac.rules(user, namespace)]
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
        return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}

    def _token(self, user: User, body: Obj, route: Route) -> Obj:
        del user, route
        spec = body.get("spec") or {}
        token = spec.get("token", "")
        if not token:
            raise Invalid.of("TokenReview", "", [FieldError.required("spec.token")], group="authentication.k8s.io")
        try:
            if self._tokens is None:
                raise BadToken("this server has no tokens")
            found, audiences = self._tokens.verify(token, audiences=spec.get("audiences") or ())
        except BadToken as error:
            return {"authenticated": False, "user": {}, "error": f"invalid bearer token, {error}"}
        return {"authenticated": True, "user": found.info, "audiences": list(audiences)}


def _attributes(spec: Obj, kind: str) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        problem = FieldError.invalid("spec.resourceAttributes", resource, detail)
        raise Invalid.of(kind, "", [problem], group="authorization.k8s.io")
    if path is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    assert resource is not None
    name, part = resource.get("resource", ""), resource.get("subresource", "")
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        f"{name}/{part}" if part else name,
        resource.get("namespace", ""),
        resource.get("name", ""),
    )


def _subject(body: Obj, kind: str) -> User:
    spec = body.get("spec") or {}
    groups = spec.get("groups") or spec.get("group") or []
    if not spec.get("user") and not groups:
        problem = FieldError.invalid("spec.user", "", "at least one of user or group must be specified")
        raise Invalid.of(kind, "", [problem], group="authorization.k8s.io")
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(groups), spec.get("uid", ""), extra)
