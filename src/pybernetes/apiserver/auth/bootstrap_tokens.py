"""Bootstrap tokens: Secrets of type bootstrap.kubernetes.io/token in kube-system, with which a node joins.

Source: docs, "Authenticating with Bootstrap Tokens"; plugin/pkg/auth/authenticator/token/bootstrap.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable

from pybernetes.api import resources, times
from pybernetes.api.objects import Obj, is_deleting
from pybernetes.api.resources import Resource

from ..users import AUTHENTICATED, User

TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers"
_NAMESPACE = "kube-system"
_PREFIX = "bootstrap-token-"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def looks_like_one(token: str) -> bool:
    return _TOKEN.fullmatch(token) is not None


def bootstrap_user(token: str, *, read: Callable[[Resource, str, str], Obj | None], now: float) -> User | None:
    """Who a token is; None when it is nobody's, is over, or is not for authentication."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    name, secret = match.groups()
    found = read(resources.SECRETS, _NAMESPACE, f"{_PREFIX}{name}")
    if found is None or is_deleting(found) or found.get("type") != TYPE:
        return None
    data = {key: _text(value) for key, value in (found.get("data") or {}).items()}
    same = hmac.compare_digest(data.get("token-secret", "").encode(), secret.encode())
    if not same or data.get("token-id") != name or data.get("usage-bootstrap-authentication") != "true":
        return None
    if is_over(data.get("expiration", ""), now):
        return None
    extra = [one.strip() for one in data.get("auth-extra-groups", "").split(",") if one.strip()]
    if any(_EXTRA_GROUP.fullmatch(one) is None for one in extra):
        return None
    return User(f"system:bootstrap:{name}", (*sorted({GROUP, *extra}), AUTHENTICATED))


def is_over(expiration: str, now: float) -> bool:
    """An expiration that cannot be read counts as over."""
    if not expiration:
        return False
    try:
        return times.parse(expiration) <= now
    except ValueError:
        return True


def _text(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
