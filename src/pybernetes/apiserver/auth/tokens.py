"""Service account tokens: JWTs bound to a service account, and through it to a pod (KEP-1205, KEP-2799).

A token is worth what its objects are: it dies with its pod, secret or node and with its service account, whatever its
expiry says. The node of a pod's token is told, not checked: the pod answers for it.
"""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization

from pybernetes.api import resources, times
from pybernetes.api.objects import Obj, uid_of
from pybernetes.api.resources import Resource

from ..users import User, service_account_user

LONGEST_SECONDS = 1 << 32
SHORTEST_SECONDS = 600
DEFAULT_SECONDS = 3600
SECRET_TYPE = "kubernetes.io/service-account-token"
_LEEWAY_SECONDS = 60
"""Clocks of servers on one store may differ by so much; an object whose time to go is past by more is gone."""
_CACHE = 2000

Read = Callable[[Resource, str, str], Obj | None]
"""The object of (resource, namespace, name), from memory."""


class BadToken(Exception):
    """The token says nothing that can be believed; the text says why."""


class Bound(NamedTuple):
    """What a token is for. `pod`, `secret` and `node` are (name, uid); ("", "") for none.

    With a pod, `node` is where it runs, without uid when that Node is not there; alone, it is what the token dies with.
    """

    namespace: str
    name: str
    uid: str
    pod: tuple[str, str] = ("", "")
    secret: tuple[str, str] = ("", "")
    node: tuple[str, str] = ("", "")


class Tokens:
    """Signs with the private key (PEM), verifies with the public one. `now` is POSIX time."""

    def __init__(
        self,
        *,
        private_key: bytes,
        issuer: str,
        audiences: Sequence[str],
        read: Read,
        now: Callable[[], float],
    ) -> None:
        self.issuer = issuer
        self.audiences = tuple(audiences)
        key = serialization.load_pem_private_key(private_key, password=None)
        self._private = key
        public = key.public_key()
        self._public = public
        self._algorithm = "RS256" if "RSA" in type(key).__name__ else "ES256"
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = _base64url(hashlib.sha256(der).digest())
        self._read = read
        self._now = now
        self._verified: dict[str, dict[str, Any]] = {}

    @property
    def jwk(self) -> Obj:
        """The public key as a JWK."""
        algorithm = jwt.get_algorithm_by_name(self._algorithm)
        found: Obj = dict(algorithm.to_jwk(self._public, as_dict=True))
        found.pop("key_ops", None)
        return found | {"use": "sig", "alg": self._algorithm, "kid": self.key_id}

    @property
    def algorithm(self) -> str:
        return self._algorithm

    def issue(self, bound: Bound, *, audiences: Sequence[str], seconds: int) -> str:
        """A token for these audiences (the API server's own when empty)."""
        now = int(self._now())
        kubernetes: Obj = {
            "namespace": bound.namespace,
            "serviceaccount": {"name": bound.name, "uid": bound.uid},
        }
        for part in ("pod", "secret", "node"):
            name, uid = getattr(bound, part)
            if name:
                kubernetes[part] = {"name": name} | ({"uid": uid} if uid else {})
        claims = {
            "aud": list(audiences or self.audiences),
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": kubernetes,
            "sub": f"system:serviceaccount:{bound.namespace}:{bound.name}",
        }
        return jwt.encode(claims, self._private, self._algorithm, headers={"kid": self.key_id})  # type: ignore[arg-type]

    def verify(self, token: str, *, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """The user and those of `audiences` (the API server's own when empty) the token is for. Raises BadToken."""
        claims = self._claims(token)
        wanted = tuple(audiences) or self.audiences
        shared = tuple(one for one in wanted if one in claims["aud"])
        if not shared:
            raise BadToken(f"token audiences {claims['aud']} is invalid for the target audiences {list(wanted)}")
        now = self._now()
        if now >= claims["exp"]:
            raise BadToken("service account token has expired")
        if now + _LEEWAY_SECONDS < claims.get("nbf", 0):
            raise BadToken("service account token is not valid yet")
        self._kept(claims, token)
        return self._user(claims), shared

    def _claims(self, token: str) -> dict[str, Any]:
        claims = self._verified.get(token)
        if claims is not None:
            return claims
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            claims = jwt.decode(token, self._public, [self._algorithm], options=options, issuer=self.issuer)  # type: ignore[arg-type]
        except jwt.PyJWTError as error:
            raise BadToken(str(error)) from error
        if not isinstance(claims.get("aud"), list) or not isinstance(claims.get("kubernetes.io"), dict):
            raise BadToken("the token is not a service account token")
        if len(self._verified) >= _CACHE:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def _user(self, claims: dict[str, Any]) -> User:
        about = claims["kubernetes.io"]
        namespace = about["namespace"]
        account = about["serviceaccount"]
        self._alive(resources.SERVICE_ACCOUNTS, namespace, account)
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
        pod = about.get("pod")
        if pod:
            self._alive(resources.PODS, namespace, pod)
            extra["authentication.kubernetes.io/pod-name"] = (pod["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (pod["uid"],)
        if secret := about.get("secret"):
            self._alive(resources.SECRETS, namespace, secret)
        if node := about.get("node"):
            if not pod:
                self._alive(resources.NODES, "", node)
            extra["authentication.kubernetes.io/node-name"] = (node["name"],)
            if node.get("uid"):
                extra["authentication.kubernetes.io/node-uid"] = (node["uid"],)
        return service_account_user(namespace, account["name"], uid=account["uid"], extra=extra)

    def _kept(self, claims: dict[str, Any], token: str) -> None:
        """A token of the longest life for an account's Secret is the one it holds: taking it out ends it."""
        secret = claims["kubernetes.io"].get("secret")
        if not secret or claims["exp"] - claims["iat"] < LONGEST_SECONDS:
            return
        found = self._read(resources.SECRETS, claims["kubernetes.io"]["namespace"], secret["name"]) or {}
        held = str((found.get("data") or {}).get("token", ""))
        if found.get("type") == SECRET_TYPE and not hmac.compare_digest(
            held.encode(), base64.b64encode(token.encode())
        ):
            raise BadToken("token does not match server's copy")

    def _alive(self, resource: Resource, namespace: str, reference: Obj) -> None:
        """The object is there, and is the one the token was made for."""
        found = self._read(resource, namespace, reference["name"])
        if found is None or self._past(found):
            where = f"{namespace}/" if namespace else ""
            raise BadToken(f"{resource.singular} {where}{reference['name']} has been deleted")
        if uid_of(found) != reference["uid"]:
            raise BadToken(f"{resource.singular} UID ({uid_of(found)}) does not match claim ({reference['uid']})")

    def _past(self, found: Obj) -> bool:
        """Its grace is over and only finalizers hold it."""
        stamp = found["metadata"].get("deletionTimestamp")
        return bool(stamp) and times.parse(stamp) < self._now() - _LEEWAY_SECONDS


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
