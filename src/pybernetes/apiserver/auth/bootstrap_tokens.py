"""Bootstrap tokens as credentials: Secrets in kube-system with which a node joins.

Source: docs, "Authenticating with Bootstrap Tokens"; plugin/pkg/auth/authenticator/token/bootstrap.
"""

import hmac
import re
from collections.abc import Callable

from pybernetes.api import resources
from pybernetes.api.bootstrap_tokens import NAMESPACE, PREFIX, TOKEN, fields_of, is_usable
from pybernetes.api.objects import Obj
from pybernetes.api.resources import Resource

from ..users import AUTHENTICATED, User

GROUP = "system:bootstrappers"
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def looks_like_one(token: str) -> bool:
    return TOKEN.fullmatch(token) is not None


def bootstrap_user(token: str, *, read: Callable[[Resource, str, str], Obj | None], now: float) -> User | None:
    """Who a token is; None when it is nobody's, is over, or is not for authentication."""
    match = TOKEN.fullmatch(token)
    if match is None:
        return None
    name, secret = match.groups()
    found = read(resources.SECRETS, NAMESPACE, f"{PREFIX}{name}")
    if found is None or not is_usable(found, "authentication", now):
        return None
    fields = fields_of(found)
    if not hmac.compare_digest(fields["token-secret"].encode(), secret.encode()):
        return None
    extra = [one.strip() for one in fields.get("auth-extra-groups", "").split(",") if one.strip()]
    if any(_EXTRA_GROUP.fullmatch(one) is None for one in extra):
        return None
    return User(f"system:bootstrap:{name}", (*sorted({GROUP, *extra}), AUTHENTICATED))
