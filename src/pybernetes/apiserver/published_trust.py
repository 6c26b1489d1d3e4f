"""The ConfigMap kube-system/extension-apiserver-authentication: by whom the certificates of clients are signed here.

Programs that serve an API of their own and ask this server who calls them (kube-scheduler, kube-controller-manager,
whatever is built on apiserver's delegated authentication) take client certificates by it. Those of an aggregating
proxy (requestheader-*) are not ours to tell: there is none; what somebody else wrote of them stays.
"""

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pybernetes.api.objects import Obj

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
CLIENT_CA = "client-ca-file"


def published(bundle: str) -> Obj:
    """The object of one server that takes certificates by `bundle` (PEM). Raises ValueError for what is none."""
    metadata = {"name": NAME, "namespace": NAMESPACE}
    authorities = _written(x509.load_pem_x509_certificates(bundle.encode()))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {CLIENT_CA: authorities}}


def joined(found: Obj, ours: Obj, *, now: datetime) -> Obj:
    """What is there, with our authorities beside those of other servers, less those that are over. What is there and is
    no PEM is replaced."""
    there, added = ((one.get("data") or {}).get(CLIENT_CA, "") for one in (found, ours))
    authorities = {one: None for one in (*_read(there), *_read(added)) if one.not_valid_after_utc > now}
    return found | {"data": (found.get("data") or {}) | {CLIENT_CA: _written(authorities)}}


def _read(bundle: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(bundle.encode())
    except ValueError:
        return []


def _written(authorities: Iterable[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in authorities)
