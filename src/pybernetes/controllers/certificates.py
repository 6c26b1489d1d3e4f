"""Approves the certificates of nodes, signs what is approved, and clears old requests away.

Source: pkg/controller/certificates (approver/sarapprove, signer, cleaner). kubernetes.io/legacy-unknown is not signed.
"""

import base64
from datetime import timedelta
from pathlib import Path

from pybernetes.api import times
from pybernetes.api.errors import Conflict, NotFound
from pybernetes.api.objects import Key, Obj, condition, condition_is, copied, key_of
from pybernetes.api.resources import (
    CERTIFICATE_SIGNING_REQUESTS,
    ENDPOINT_SLICES,
    SERVICES,
    SUBJECT_ACCESS_REVIEWS,
)
from pybernetes.client import Delta
from pybernetes.control import Again, Controller
from pybernetes.pki.requests import Signer

from .shared import Shared
from .signers import CHECKS, KUBELET_SERVING, NODE, approvals, parsed, problem_of

LONGEST_SECONDS = 365 * 24 * 3600
DECIDED_SECONDS, PENDING_SECONDS = 3600, 24 * 3600
"""A request that was decided, or that nobody decides, is deleted after so long."""
_SHORTEST_SECONDS = 600
_OF_API_SERVER = "kubernetes.io/service-name=kubernetes"


class CertificateController:
    """Keys are names of CertificateSigningRequests."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.signer = Signer(Path(shared.config.authority)) if shared.config.authority else None
        self.requests = shared.informers.of(CERTIFICATE_SIGNING_REQUESTS)
        self.nodes = shared.nodes()
        self.services = shared.informers.of(SERVICES)
        self.servers = shared.informers.of(ENDPOINT_SLICES, namespace="default", labels=_OF_API_SERVER)
        informers = (self.requests, self.nodes, self.services, self.servers)
        self.controller = Controller("certificate", self.reconcile, workers=1, informers=informers)
        self.requests.subscribe(self._changed)
        self.nodes.subscribe(self._node_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, delta: Delta) -> None:
        self.controller.queue.add(delta.key)

    def _node_changed(self, delta: Delta) -> None:
        """A node may ask for a serving certificate before its addresses are known here."""
        for csr in self.requests.cache.select(where=lambda one: one["spec"]["signerName"] == KUBELET_SERVING):
            if csr["spec"].get("username") == f"{NODE}{delta.key.name}" and not _decided(csr):
                self.controller.queue.add(key_of(csr))

    async def reconcile(self, key: Key) -> Again | None:
        csr = self.requests.cache.get(key)
        if csr is None:
            return None
        try:
            decided = _decided(csr)
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
        """By the first right that who asked has; without one the request waits for a person."""
        try:
            request = parsed(csr)
        except ValueError:
            return
        for part, what in approvals(csr, request, nodes=self.nodes.cache.select(), taken=self._taken()):
            if await self._may(csr["spec"], part):
                text = f"Auto approving {what} after SubjectAccessReview."
                await self._decide(csr, "Approved", "AutoApproved", text, part="approval")
                return

    def _taken(self) -> set[str]:
        """Addresses of Services and of API servers."""
        found = {str(ip) for one in self.services.cache.select() for ip in one["spec"].get("clusterIPs") or ()}
        for one in self.servers.cache.select():
            found.update(address for each in one.get("endpoints") or () for address in each["addresses"])
        return found

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
        return waits and self.signer is not None and csr["spec"]["signerName"] in CHECKS

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


def _decided(csr: Obj) -> bool:
    return any(condition(csr, kind) is not None for kind in ("Approved", "Denied", "Failed"))


_ASKER = {"user": "username", "uid": "uid", "groups": "groups", "extra": "extra"}
"""Fields of a SubjectAccessReview by those of a request."""
