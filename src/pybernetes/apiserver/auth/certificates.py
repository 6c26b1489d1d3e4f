"""Authentication: a verified client certificate, a service account's token or a bootstrap token."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api.errors import Unauthorized
from pybernetes.wire import Request

from ..users import User, authenticated, warn
from .bootstrap_tokens import bootstrap_user, looks_like_one
from .tokens import BadToken, Read, Tokens

_CACHE = 2000
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")
"""The subject's attribute with a user's uid (feature AllowParsingUserUIDFromCertAuth)."""
_SPACED = "the provided Authorization header contains extra space before the bearer token, and is ignored"


class Authenticator:
    """Certificates were verified by TLS; here they are only read."""

    def __init__(self, tokens: Tokens | None, *, read: Read, now: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._read = read
        self._now = now
        self._certificates: dict[bytes, Shown] = {}

    async def user(self, request: Request) -> User | None:
        """None for the anonymous. Raises Unauthorized for a credential that is not good."""
        if request.peer.certificate is not None:
            user = self._of_certificate(request.peer.certificate)
            if user is not None:
                return user
        header = request.headers.get("authorization", "")
        if not header:
            return None
        scheme, token, *more = *header.strip().split(" ", 2), ""
        if scheme.lower() != "bearer":
            raise Unauthorized("Unauthorized")
        if not token and more:
            warn(request, _SPACED)
            return None
        try:
            user, _ = self.bearer(token)
        except BadToken as error:
            raise Unauthorized("Unauthorized") from error
        return user

    def bearer(self, token: str, *, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]]:
        """Whose token it is, and for which of `audiences` (the API server's own when empty). Raises BadToken."""
        if not looks_like_one(token):
            if self._tokens is None:
                raise BadToken("this server has no service account tokens")
            return self._tokens.verify(token, audiences=audiences)
        own = self._tokens.audiences if self._tokens is not None else ()
        shared = tuple(one for one in audiences if one in own) if audiences else own
        found = bootstrap_user(token, read=self._read, now=self._now())
        if found is None or (audiences and not shared):
            raise BadToken("it is nobody's")
        return found, shared

    def _of_certificate(self, der: bytes) -> User | None:
        """A connection may be older than its certificate's end. Raises Unauthorized."""
        shown = self._certificates.get(der)
        if shown is None:
            if len(self._certificates) >= _CACHE:
                self._certificates.clear()
            shown = self._certificates[der] = shown_by(der)
        if self._now() > shown.until:
            raise Unauthorized("Unauthorized")
        return shown.user


class Shown(NamedTuple):
    """Whose a certificate is (None for nobody's), and until when (POSIX)."""

    user: User | None
    until: float


def shown_by(der: bytes) -> Shown:
    """The common name is the user, the organizations are the groups (docs: X509 client certificates).

    The extra tells by which certificate, as the audit log may ask.
    """
    certificate = x509.load_der_x509_certificate(der)
    subject, until = certificate.subject, certificate.not_valid_after_utc.timestamp()
    names = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    if not names or not names[-1]:
        return Shown(None, until)
    uids = [str(one.value) for one in subject.get_attributes_for_oid(_UID)]
    extra = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
    return Shown(authenticated(User(names[-1], groups, "".join(uids), extra)), until)
