"""Authentication: a verified client certificate or a bearer token, each remembered for the next request."""

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api.errors import Unauthorized
from pybernetes.wire import Request

from ..users import User, authenticated
from .tokens import BadToken, Tokens

_CACHE = 2000


class Authenticator:
    """Certificates were verified by TLS; here they are only read."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self._certificates: dict[bytes, User | None] = {}

    async def user(self, request: Request) -> User | None:
        """None for the anonymous. Raises Unauthorized for a credential that is not good."""
        if request.peer.certificate is not None:
            user = self._of_certificate(request.peer.certificate)
            if user is not None:
                return user
        header = request.headers.get("authorization", "")
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or self._tokens is None:
            raise Unauthorized("Unauthorized")
        try:
            user, _ = self._tokens.verify(token.strip())
        except BadToken as error:
            raise Unauthorized("Unauthorized") from error
        return user

    def _of_certificate(self, der: bytes) -> User | None:
        try:
            return self._certificates[der]
        except KeyError:
            pass
        user = identity(der)
        if len(self._certificates) >= _CACHE:
            self._certificates.clear()
        self._certificates[der] = user
        return user


def identity(der: bytes) -> User | None:
    """The common name is the user, the organizations are the groups (docs: X509 client certificates)."""
    subject = x509.load_der_x509_certificate(der).subject
    names = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return authenticated(User(names[-1], groups)) if names and names[-1] else None
