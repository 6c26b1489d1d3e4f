"""Approves the client certificates of nodes, signs what is approved, and clears old requests away.

Source: pkg/controller/certificates (approver/sarapprove, signer, cleaner). Serving certificates of kubelets are
approved by people, as in Kubernetes; kubernetes.io/legacy-unknown is not signed.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api import times
from pybernetes.api.errors import Conflict, NotFound
from pybernetes.api.objects import Key, Obj, condition, condition_is, copied
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS
from pybernetes.client import Delta
from pybernetes.control import Again, Controller
from pybernetes.pki.requests import Signer, names_of

from .shared import Shared

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LONGEST_SECONDS = 365 * 24 * 3600
DECIDED_SECONDS, PENDING_SECONDS = 3600, 24 * 3600
"""A request that was decided, or that nobody decides, is deleted after so long."""
_SHORTEST_SECONDS = 600
_NODES, _NODE = "system:nodes", "system:node:"
_PLAIN = {"digital signature", "key encipherment"}


def problem_of(request: x509.CertificateSigningRequest, signer: str, usages: set[str]) -> str:
    """Why a signer does not sign it; "" when it does."""
    check = _CHECKS.get(signer)
    return check(request, usages) if check is not None else f"unknown signer {signer}"


def _client(request: x509.CertificateSigningRequest, usages: set[str]) -> str:
    del request
    fits = "client auth" in usages and usages <= {*_PLAIN, "client auth"}
    return (
        ""
        if fits
        else 'invalid usages: "client auth" is required, with "digital signature" and "key encipherment" at most'
    )


def _kubelet_client(request: x509.CertificateSigningRequest, usages: set[str]) -> str:
    if names_of(request):
        return "subject alternative names are not allowed"
    return _node(request) or _exactly(usages, "client auth")


def _kubelet_serving(request: x509.CertificateSigningRequest, usages: set[str]) -> str:
    names = names_of(request)
    if not names:
        return "DNS or IP subjectAltName is required"
    if not all(isinstance(one, x509.DNSName | x509.IPAddress) for one in names):
        return "email and URI subjectAltNames are not allowed"
    return _node(request) or _exactly(usages, "server auth")


def _node(request: x509.CertificateSigningRequest) -> str:
    if _words(request, NameOID.ORGANIZATION_NAME) != [_NODES]:
        return f"subject organization is not {_NODES}"
    if not common_name(request).startswith(_NODE):
        return f"subject common name does not begin with {_NODE}"
    return ""


def _exactly(usages: set[str], purpose: str) -> str:
    wanted = {"digital signature", purpose}
    return "" if usages - {"key encipherment"} == wanted else f"usages did not match {sorted(wanted)}"


_CHECKS: Mapping[str, Callable[[x509.CertificateSigningRequest, set[str]], str]] = {
    CLIENT: _client,
    KUBELET_CLIENT: _kubelet_client,
    KUBELET_SERVING: _kubelet_serving,
}


def _words(request: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in request.subject.get_attributes_for_oid(oid)]


def common_name(request: x509.CertificateSigningRequest) -> str:
    return next(iter(_words(request, NameOID.COMMON_NAME)), "")


def parsed(csr: Obj) -> x509.CertificateSigningRequest:
    """Raises ValueError, also for a signature that is not its key's."""
    found = x509.load_pem_x509_csr(base64.b64decode(csr["spec"]["request"]))
    if not found.is_signature_valid:
        raise ValueError("the request is not signed by its key")
    return found


class CertificateController:
    """Keys are names of CertificateSigningRequests."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.signer = Signer(Path(shared.config.authority)) if shared.config.authority else None
        self.requests = shared.informers.of(CERTIFICATE_SIGNING_REQUESTS)
        self.controller = Controller("certificate", self.reconcile, workers=1, informers=(self.requests,))
        self.requests.subscribe(self._changed)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, delta: Delta) -> None:
        self.controller.queue.add(delta.key)

    async def reconcile(self, key: Key) -> Again | None:
        csr = self.requests.cache.get(key)
        if csr is None:
            return None
        try:
            decided = condition(csr, "Approved") or condition(csr, "Denied") or condition(csr, "Failed")
            left = times.parse(csr["metadata"]["creationTimestamp"]) - self.now()
            left += DECIDED_SECONDS if decided else PENDING_SECONDS
            if left <= 0:
                await self.client.delete(CERTIFICATE_SIGNING_REQUESTS, key)
                return None
            if not decided:
                await self._approve(copied(csr))
            elif self._is_due(csr):
                await self._sign(copied(csr))
        except (Conflict, NotFound):
            return None  # it changed meanwhile, and comes round again
        self.controller.queue.add(key, after=left)
        return None

    async def _approve(self, csr: Obj) -> None:
        """A client certificate for a node, asked for by one who may have any, or by the node itself."""
        spec = csr["spec"]
        try:
            request = parsed(csr)
        except ValueError:
            return
        if spec["signerName"] != KUBELET_CLIENT or problem_of(request, KUBELET_CLIENT, set(spec["usages"])):
            return
        own = spec.get("username") == common_name(request)
        for part, what in ((("selfnodeclient", "self kubelet client certificate"),) if own else ()) + (
            ("nodeclient", "kubelet client certificate"),
        ):
            if await self._may(spec, part):
                text = f"Auto approving {what} after SubjectAccessReview."
                await self._decide(csr, "Approved", "AutoApproved", text, part="approval")
                return

    async def _may(self, spec: Obj, part: str) -> bool:
        asked = {
            "group": "certificates.k8s.io",
            "resource": "certificatesigningrequests",
            "verb": "create",
            "subresource": part,
        }
        who = {name: spec[field] for name, field in _ASKER.items() if spec.get(field)}
        review: Obj = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": who | {"resourceAttributes": asked | {"version": "*"}},
        }
        answer = await self.client.create(SUBJECT_ACCESS_REVIEWS, review)
        return bool(answer["status"]["allowed"])

    def _is_due(self, csr: Obj) -> bool:
        """Approved, not denied, not failed, not signed, and ours to sign."""
        undecided = condition(csr, "Denied") is None and condition(csr, "Failed") is None
        approved = condition_is(csr, "Approved") and undecided
        waits = approved and not (csr.get("status") or {}).get("certificate")
        return waits and self.signer is not None and csr["spec"]["signerName"] in _CHECKS

    async def _sign(self, csr: Obj) -> None:
        assert self.signer is not None
        spec = csr["spec"]
        usages = set(spec["usages"])
        try:
            request = parsed(csr)
            problem = problem_of(request, spec["signerName"], usages)
        except ValueError as error:
            problem = str(error)
        if problem:
            await self._decide(csr, "Failed", "SignerValidationFailure", problem, part="status")
            return
        seconds = min(max(spec.get("expirationSeconds") or LONGEST_SECONDS, _SHORTEST_SECONDS), LONGEST_SECONDS)
        pem = self.signer.sign(request, usages=usages, life=timedelta(seconds=seconds))
        csr.setdefault("status", {})["certificate"] = base64.b64encode(pem).decode()
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, csr, subresource="status")

    async def _decide(self, csr: Obj, kind: str, reason: str, message: str, *, part: str) -> None:
        stamp = times.stamp(self.now())
        found = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": stamp,
            "lastTransitionTime": stamp,
        }
        csr.setdefault("status", {}).setdefault("conditions", []).append(found)
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, csr, subresource=part)


_ASKER = {"user": "username", "uid": "uid", "groups": "groups", "extra": "extra"}
"""Fields of a SubjectAccessReview by those of a request."""
