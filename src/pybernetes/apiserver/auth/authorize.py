"""Authorization of one request: health for everybody, RBAC for the rest; and who may act as somebody else."""

from pybernetes.api.errors import Forbidden
from pybernetes.wire import Request

from ..route import Route
from ..users import AUTHENTICATED, User
from .rbac import Attributes, Rbac

PUBLIC = ("/healthz", "/livez", "/readyz")
_EXTRA = "impersonate-extra-"


def attributes(route: Route) -> Attributes:
    """What RBAC is asked about a request."""
    row = route.resource
    if row is None:
        return Attributes(route.verb, path=route.path)
    namespace = route.namespace
    if row.plural == "namespaces" and not row.group and route.name:
        namespace = route.name
    return Attributes(route.verb, row.group, route.target, namespace, route.name)


class Authorizer:
    def __init__(self, rbac: Rbac) -> None:
        self.rbac = rbac

    def allows(self, user: User, asked: Attributes) -> bool:
        if asked.path and asked.verb in ("get", "head") and asked.path.startswith(PUBLIC):
            return any(asked.path == one or asked.path.startswith(f"{one}/") for one in PUBLIC)
        return self.rbac.allows(user, asked)

    def describe(self, user: User, asked: Attributes, route: Route) -> Forbidden:
        """The error for what is not allowed, in Kubernetes' words."""
        if asked.path:
            return Forbidden(f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"')
        row = route.resource
        assert row is not None
        where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
        what = f'{row.qualified} "{route.name}"' if route.name else row.qualified
        details = {"name": route.name, "kind": row.plural} if route.name else {"kind": row.plural}
        if row.group:
            details["group"] = row.group
        text = f'User "{user.name}" cannot {route.verb} resource "{asked.resource}" in API group "{row.group}" {where}'
        return Forbidden(f"{what} is forbidden: {text}", details=details)

    def impersonated(self, user: User, request: Request) -> User:
        """The user of the Impersonate-* headers. Raises Forbidden unless `user` may act as all of it."""
        headers = request.headers
        name = headers["impersonate-user"]
        groups = tuple(one.strip() for one in headers.get("impersonate-group", "").split(",") if one.strip())
        extra = {
            header[len(_EXTRA) :]: tuple(value.split(", "))
            for header, value in headers.items()
            if header.startswith(_EXTRA)
        }
        wanted = [_act_as("users", name), *(_act_as("groups", group) for group in groups)]
        if name.startswith("system:serviceaccount:") and name.count(":") == 3:
            _, _, namespace, account = name.split(":")
            wanted[0] = Attributes("impersonate", "", "serviceaccounts", namespace, account)
            groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        for key, values in extra.items():
            group, resource = "authentication.k8s.io", f"userextras/{key}"
            wanted += [Attributes("impersonate", group, resource, "", value) for value in values]
        for asked in wanted:
            if not self.rbac.allows(user, asked):
                what = f'{asked.resource} "{asked.name}" is forbidden'
                text = f'User "{user.name}" cannot impersonate resource "{asked.resource}" in API group "{asked.group}"'
                where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
                raise Forbidden(f"{what}: {text} {where}", details={"name": asked.name, "kind": asked.resource})
        if name != "system:anonymous" and AUTHENTICATED not in groups:
            groups = (*groups, AUTHENTICATED)
        return User(name, groups, headers.get("impersonate-uid", ""), extra)


def _act_as(kind: str, name: str) -> Attributes:
    return Attributes("impersonate", "", kind, "", name)
