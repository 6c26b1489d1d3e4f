"""Service account tokens: JWTs bound to a service account, and through it to a pod (KEP-1205, KEP-2799).

A token is worth what its objects are: it dies with its pod, secret or node and with its service account, whatever its
expiry says. The node of a pod's token is told, not checked: the pod answers for it. Tokens of Kubernetes' older days,
without end and audience, are good while their Secret holds them.
"""

import base64
import hmac
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization

from pybernetes.api import resources, times
from pybernetes.api.objects import Obj, is_deleting, labels_of, uid_of
from pybernetes.api.resources import Resource

from ..users import User, service_account_user
from .token_keys import by_id, key_of, keys_of

LONGEST_SECONDS = 1 << 32
SHORTEST_SECONDS = 600
DEFAULT_SECONDS = 3600
SECRET_TYPE = "kubernetes.io/service-account-token"
_LEEWAY_SECONDS = 60
"""Clocks of servers on one store may differ by so much; an object whose time to go is past by more is gone."""
_CACHE = 2000
_OLD_ISSUER = "kubernetes/serviceaccount"
_OLD = "kubernetes.io/serviceaccount/"
_INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
POD_SECONDS, EXTENDED_SECONDS = 3607, 365 * 24 * 3600
"""A pod's token of exactly so long, which is what is mounted by default, is good for a year: programs that read it once
go on. What uses it after its hour is counted as stale (--service-account-extend-token-expiration, on by default).
"""

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
        public_keys: Sequence[bytes] = (),
    ) -> None:
        """`public_keys` are PEM files of further keys whose tokens are taken. Raises BadKey."""
        self.issuer = issuer
        self.audiences = tuple(audiences)
        self._private = serialization.load_pem_private_key(private_key, password=None)
        own = key_of(self._private.public_key())
        self.key_id = own.id
        self._algorithm = own.algorithm
        self._keys = by_id([own, *(key for pem in public_keys for key in keys_of(pem))])
        self._read = read
        self._now = now
        self._verified: dict[str, dict[str, Any]] = {}
        self.observe: Callable[[str], None] = lambda kind: None
        """Told of each token that is taken: valid, stale (good by its extension only) or legacy."""

    @property
    def jwks(self) -> list[Obj]:
        """The public keys as JWKs, the one that signs first."""
        return [key.jwk for key in self._keys.values()]

    @property
    def algorithms(self) -> list[str]:
        return sorted({key.algorithm for key in self._keys.values()})

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
        extended = seconds == POD_SECONDS and bool(bound.pod[0]) and not set(audiences) - set(self.audiences)
        if extended:
            kubernetes["warnafter"] = now + seconds
        claims = {
            "aud": list(audiences or self.audiences),
            "exp": now + (EXTENDED_SECONDS if extended else seconds),
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
        if claims.get("iss") == _OLD_ISSUER:
            shared = tuple(one for one in wanted if one in self.audiences)
            if not shared:
                raise BadToken(f"the token is for {list(self.audiences)}, not for {list(wanted)}")
            user = self._old_user(claims, token)
            self.observe("legacy")
            return user, shared
        shared = tuple(one for one in wanted if one in claims["aud"])
        if not shared:
            raise BadToken(f"token audiences {claims['aud']} is invalid for the target audiences {list(wanted)}")
        now = self._now()
        if now >= claims["exp"]:
            raise BadToken("service account token has expired")
        if now + _LEEWAY_SECONDS < claims.get("nbf", 0):
            raise BadToken("service account token is not valid yet")
        self._kept(claims, token)
        user = self._user(claims)
        self.observe("stale" if 0 < claims["kubernetes.io"].get("warnafter", 0) < now else "valid")
        return user, shared

    def _claims(self, token: str) -> dict[str, Any]:
        claims = self._verified.get(token)
        if claims is not None:
            return claims
        claims = self._decoded(token)
        old = claims.get("iss") == _OLD_ISSUER
        bound = isinstance(claims.get("aud"), list) and isinstance(claims.get("kubernetes.io"), dict)
        if not (old or (claims.get("iss") == self.issuer and bound)):
            raise BadToken("the token is not a service account token")
        if len(self._verified) >= _CACHE:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of the keys signed: the one it names, else any. Raises BadToken."""
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        failure: Exception = BadToken("no key")
        try:
            named = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
        except jwt.PyJWTError as error:
            raise BadToken(str(error)) from error
        for key in [named] if named is not None else self._keys.values():
            try:
                claims: dict[str, Any] = jwt.decode(token, key.public, [key.algorithm], options=options)
            except jwt.PyJWTError as error:
                failure = error
            else:
                return claims
        raise BadToken(str(failure)) from failure

    def _old_user(self, claims: dict[str, Any], token: str) -> User:
        """Of a token without end: its Secret holds it, and its account is the same still."""
        namespace, name, secret, uid = (
            str(claims.get(f"{_OLD}{part}", ""))
            for part in ("namespace", "service-account.name", "secret.name", "service-account.uid")
        )
        if claims.get("sub") != f"system:serviceaccount:{namespace}:{name}" or not (namespace and name and secret):
            raise BadToken("the token's claims do not fit each other")
        found = self._read(resources.SECRETS, namespace, secret)
        if found is None or is_deleting(found):
            raise BadToken("Token has been invalidated")
        if not _holds(found, token):
            raise BadToken("Token does not match server's copy")
        if _INVALID_SINCE in labels_of(found):
            raise BadToken(f"the token in secret {namespace}/{secret} has been marked invalid")
        self._alive(resources.SERVICE_ACCOUNTS, namespace, {"name": name, "uid": uid})
        return service_account_user(namespace, name, uid=uid, extra={})

    def _user(self, claims: dict[str, Any]) -> User:
        about = claims["kubernetes.io"]
        namespace = about["namespace"]
        account = about["serviceaccount"]
        self._alive(resources.SERVICE_ACCOUNTS, namespace, account)
        extra = {}
        if claims.get("jti"):
            extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims['jti']}",)
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
        if found.get("type") == SECRET_TYPE and not _holds(found, token):
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


def _holds(secret: Obj, token: str) -> bool:
    """Whether it is the token that the Secret has."""
    held = str((secret.get("data") or {}).get("token", ""))
    return hmac.compare_digest(held.encode(), base64.b64encode(token.encode()))
