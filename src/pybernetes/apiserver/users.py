"""Who asks, and what filters learn of a request: the typed keys of `Request.context`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pybernetes.api.objects import Obj
from pybernetes.wire import Request

from .route import Route

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
SERVICE_ACCOUNTS = "system:serviceaccounts"


@dataclass(frozen=True, slots=True)
class User:
    """An identity, as authentication found it (authentication.k8s.io UserInfo)."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def info(self) -> Obj:
        """The UserInfo object."""
        found: Obj = {"username": self.name}
        if self.uid:
            found["uid"] = self.uid
        if self.groups:
            found["groups"] = list(self.groups)
        if self.extra:
            found["extra"] = {key: list(values) for key, values in self.extra.items()}
        return found


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


def authenticated(user: User) -> User:
    """The user with the group everybody known is in."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return User(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)


def service_account_user(namespace: str, name: str, *, uid: str = "", extra: Mapping[str, tuple[str, ...]]) -> User:
    groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid, extra)


def user_of(request: Request) -> User:
    found: User = request.context.get("user", ANONYMOUS)
    return found


def route_of(request: Request) -> Route:
    found: Route = request.context["route"]
    return found


def warn(request: Request, text: str) -> None:
    """Add a Warning header (RFC 9110 section 5.5, code 299) to the answer."""
    warnings: list[str] = request.context.setdefault("warnings", [])
    if text not in warnings:
        warnings.append(text)
