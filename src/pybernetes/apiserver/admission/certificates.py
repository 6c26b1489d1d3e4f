"""Certificate signing requests: who may approve and sign for a signer, and whom nobody may ask to become.

Source: plugin/pkg/admission/certificates (CertificateApproval, CertificateSigning, CertificateSubjectRestriction,
ClusterTrustBundleAttest).
"""

from pybernetes.api import resources
from pybernetes.api.objects import Obj

from ..auth.attributes import Attributes
from ..auth.requests import BadRequestBytes, organizations
from ..users import MASTERS
from .call import Call

_GROUP = "certificates.k8s.io"
_CLIENT = "kubernetes.io/kube-apiserver-client"
_CSR = resources.CERTIFICATE_SIGNING_REQUESTS


def request_origin(call: Call) -> None:
    """A request says who made it; nobody says it for another."""
    if call.is_new(_CSR) and call.new is not None:
        info = call.user.info
        spec = {
            key: value for key, value in call.new["spec"].items() if key not in ("username", "uid", "groups", "extra")
        }
        call.new["spec"] = spec | info


def certificate_requests(call: Call) -> None:
    """Raises Forbidden."""
    if call.row is resources.CLUSTER_TRUST_BUNDLES:
        _attested(call)
    if call.row is not _CSR or call.new is None:
        return
    if call.part == "approval":
        _permitted(call, "approve")
    elif call.part == "status" and call.old is not None and _signed(call.new, call.old):
        _permitted(call, "sign")
    elif call.is_new(_CSR) and call.new["spec"].get("signerName") == _CLIENT:
        _subject(call, call.new["spec"])


def _signed(new: Obj, old: Obj) -> bool:
    """Whether a write issues a certificate, or says that it failed."""
    after, before = new.get("status") or {}, old.get("status") or {}
    return after.get("certificate") != before.get("certificate") or _failed(after) != _failed(before)


def _failed(status: Obj) -> bool:
    return any(one.get("type") == "Failed" for one in status.get("conditions") or ())


def _permitted(call: Call, verb: str) -> None:
    assert call.old is not None
    signer = call.old["spec"]["signerName"]
    if not _may(call, verb, signer):
        raise call.forbidden(f'user not permitted to {verb} requests with signerName "{signer}"')


def _attested(call: Call) -> None:
    """Who says whom a signer's certificates are trusted by speaks for the signer (ClusterTrustBundleAttest)."""
    if call.new is None or (call.old is not None and call.old.get("spec") == call.new.get("spec")):
        return
    signer = call.new["spec"].get("signerName")
    if signer and not _may(call, "attest", signer):
        raise call.forbidden(f'user not permitted to attest for signerName "{signer}"')


def _may(call: Call, verb: str, signer: str) -> bool:
    """For the signer itself, or for all of its domain ("example.com/*")."""
    domain = signer.partition("/")[0]
    asked = [Attributes(verb, _GROUP, "signers", "", name) for name in (signer, f"{domain}/*")]
    return any(call.registry.authorizer.allows(call.user, one) for one in asked)


def _subject(call: Call, spec: Obj) -> None:
    """Nobody becomes an administrator past RBAC. What is no request at all is refused by the strategy."""
    try:
        groups = organizations(spec.get("request") or "")
    except BadRequestBytes:
        return
    if MASTERS in groups:
        raise call.forbidden(f"use of {_CLIENT} signer with {MASTERS} group is not allowed")
