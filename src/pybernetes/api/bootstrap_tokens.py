"""Bootstrap tokens as the API keeps them: Secrets of type bootstrap.kubernetes.io/token in kube-system.

Source: docs, "Authenticating with Bootstrap Tokens". The server takes them as credentials, controllers sign with them
and clear them away.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from . import times
from .objects import Key, Obj, is_deleting, name_of

TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
"""Its id and its secret."""
CLUSTER_INFO = Key("kube-public", "cluster-info")
"""The ConfigMap that the tokens sign."""
TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
PREFIX = "bootstrap-token-"
JOINING = "system:bootstrappers:kubeadm:default-node-token"
"""The group of those who may make nodes: that of a token's `auth-extra-groups`."""


def fields_of(secret: Obj) -> Mapping[str, str]:
    """The data of the Secret as text; "" for what is not text."""
    return {key: _text(value) for key, value in (secret.get("data") or {}).items()}


def is_usable(secret: Obj, usage: str, now: float) -> bool:
    """Whether it is whole, not over, and meant for `usage` (authentication, signing)."""
    fields = fields_of(secret)
    whole = bool(fields.get("token-id") and fields.get("token-secret"))
    named = name_of(secret) == f"{PREFIX}{fields.get('token-id', '')}"
    meant = secret.get("type") == TYPE and fields.get(f"usage-bootstrap-{usage}") == "true"
    return whole and named and meant and not is_deleting(secret) and not is_over(fields.get("expiration", ""), now)


def is_over(expiration: str, now: float) -> bool:
    """An expiration that cannot be read counts as over."""
    if not expiration:
        return False
    try:
        return times.parse(expiration) <= now
    except ValueError:
        return True


def seconds_left(secret: Obj, now: float) -> float | None:
    """Until it is over, 0.0 when it is; None for one without end."""
    expiration = fields_of(secret).get("expiration", "")
    if not expiration:
        return None
    return 0.0 if is_over(expiration, now) else times.parse(expiration) - now


def _text(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
