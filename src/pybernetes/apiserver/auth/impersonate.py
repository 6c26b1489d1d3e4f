"""Acting as somebody else: the Impersonate-* headers, each part of which takes a permission of its own.

Source: docs, "User impersonation"; apiserver/pkg/endpoints/filters/impersonation.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from pybernetes.api.errors import BadRequest
from pybernetes.wire import Request

from ..users import AUTHENTICATED, SERVICE_ACCOUNTS, UNAUTHENTICATED, User
from .attributes import Attributes
from .authorize import Authorizer

_USER, _GROUP, _UID = "impersonate-user", "impersonate-group", "impersonate-uid"
_EXTRA = "impersonate-extra-"
_GROUP_NAME = "authentication.k8s.io"
_ANONYMOUS = "system:anonymous"


def asks(request: Request) -> bool:
    """Whether a request has such headers at all."""
    return any(name.startswith("impersonate-") for name in request.headers)


def impersonated(authorizer: Authorizer, user: User, request: Request) -> User:
    """The user to be. Raises Forbidden unless `user` may act as all of it, BadRequest for headers without a user."""
    headers = request.headers
    name = headers.get(_USER, "")
    groups = _values(headers, _GROUP)
    uid = headers.get(_UID, "")
    extra = {
        unquote(header[len(_EXTRA) :]).lower(): _values(headers, header)
        for header in headers
        if header.startswith(_EXTRA)
    }
    if not name:
        if groups or uid or extra:
            raise BadRequest("requested impersonation of groups, uid or extra without impersonating a user")
        return user
    for asked in _wanted(name, groups, uid, extra):
        refused = authorizer.refuse(user, asked)
        if refused is not None:
            raise refused
    return User(name, _groups(name, groups), uid, extra)


def _wanted(name: str, groups: tuple[str, ...], uid: str, extra: Mapping[str, tuple[str, ...]]) -> Iterator[Attributes]:
    account = _account(name)
    if account is not None:
        yield Attributes("impersonate", "", "serviceaccounts", *account)
    else:
        yield Attributes("impersonate", "", "users", "", name)
    for group in groups:
        yield Attributes("impersonate", "", "groups", "", group)
    for key, values in extra.items():
        for value in values:
            yield Attributes("impersonate", _GROUP_NAME, f"userextras/{key}", "", value)
    if uid:
        yield Attributes("impersonate", _GROUP_NAME, "uids", "", uid)


def _account(name: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name."""
    parts = name.split(":")
    if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] and parts[2] and parts[3]:
        return parts[2], parts[3]
    return None


def _groups(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """A service account has its own when none are asked for; everybody known is in system:authenticated."""
    account = _account(name)
    if account is not None and not groups:
        groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{account[0]}")
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return (*groups, UNAUTHENTICATED if name == _ANONYMOUS else AUTHENTICATED)


def _values(headers: Mapping[str, str], name: str) -> tuple[str, ...]:
    """All values of a header; those that came as several lines are joined by a comma (RFC 9110 section 5.3)."""
    return tuple(one.strip() for one in headers.get(name, "").split(",") if one.strip())
