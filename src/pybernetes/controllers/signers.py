"""What each signer signs, and which requests of nodes need nobody's approval: pure.

Source: pkg/controller/certificates/signer (what is signed), approver/sarapprove (nodeclient, selfnodeclient). Two more
are approved here, each by a right of its own (docs/decisions/0006-who-approves-for-nodes.md): a serving certificate for
the addresses that a Node has (selfnodeserver), and what the proxy and DNS of a node are (nodecomponentclient).
"""

import base64
from collections.abc import Callable, Container, Iterable, Mapping, Set
from ipaddress import ip_address
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api.objects import Obj, name_of
from pybernetes.pki.requests import names_of

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
NODE_COMPONENT = "pybernetes.io/node-component-client"
COMPONENTS = frozenset({"system:kube-proxy", "system:kube-dns"})
"""Whom a node's proxy and DNS are."""
NODES, NODE = "system:nodes", "system:node:"
_PLAIN = {"digital signature", "key encipherment"}


def problem_of(request: x509.CertificateSigningRequest, signer: str, usages: set[str]) -> str:
    """Why a signer does not sign it; "" when it does."""
    check = CHECKS.get(signer)
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


def _component(request: x509.CertificateSigningRequest, usages: set[str]) -> str:
    if names_of(request):
        return "subject alternative names are not allowed"
    if _words(request, NameOID.ORGANIZATION_NAME) or common_name(request) not in COMPONENTS:
        return f"subject is not one of {', '.join(sorted(COMPONENTS))}"
    return _exactly(usages, "client auth")


def _node(request: x509.CertificateSigningRequest) -> str:
    if _words(request, NameOID.ORGANIZATION_NAME) != [NODES]:
        return f"subject organization is not {NODES}"
    if not common_name(request).startswith(NODE):
        return f"subject common name does not begin with {NODE}"
    return ""


def _exactly(usages: set[str], purpose: str) -> str:
    wanted = {"digital signature", purpose}
    return "" if usages - {"key encipherment"} == wanted else f"usages did not match {sorted(wanted)}"


CHECKS: Mapping[str, Callable[[x509.CertificateSigningRequest, set[str]], str]] = {
    CLIENT: _client,
    KUBELET_CLIENT: _kubelet_client,
    KUBELET_SERVING: _kubelet_serving,
    NODE_COMPONENT: _component,
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


class Approval(NamedTuple):
    """A right to be asked for (a subresource of certificatesigningrequests), and what is approved by it."""

    part: str
    what: str


def approvals(
    csr: Obj, request: x509.CertificateSigningRequest, *, nodes: Iterable[Obj], taken: Container[str]
) -> list[Approval]:
    """The rights any of which approves a request; none for what a person has to look at.

    `taken` are addresses that no node serves under: those of Services and of the API server.
    """
    spec = csr["spec"]
    signer, asker = spec["signerName"], str(spec.get("username", ""))
    if problem_of(request, signer, set(spec["usages"])):
        return []
    own = asker == common_name(request)
    if signer == KUBELET_CLIENT:
        mine = [Approval("selfnodeclient", "self kubelet client certificate")] if own else []
        return [*mine, Approval("nodeclient", "kubelet client certificate")]
    if signer == KUBELET_SERVING:
        names = {_plain(str(name.value)) for name in names_of(request)}
        fits = own and _are_of(names, asker.removeprefix(NODE), nodes) and not any(map(_is_special, names))
        fits = fits and not any(name in taken for name in names)
        return [Approval("selfnodeserver", "self kubelet serving certificate")] if fits else []
    if signer == NODE_COMPONENT and asker.startswith(NODE) and NODES in (spec.get("groups") or ()):
        return [Approval("nodecomponentclient", "client certificate of a node's component")]
    return []


def _are_of(names: Set[str], node: str, nodes: Iterable[Obj]) -> bool:
    """Whether the names are the node's, as its status says, and no other node says the same of itself.

    A node writes its status itself, so of DNS names it may have its own only.
    """
    mine: set[str] = set()
    others: set[str] = set()
    for one in nodes:
        told = {_plain(each["address"]) for each in (one.get("status") or {}).get("addresses") or ()}
        addresses = {each for each in told if _is_address(each) or each == name_of(one)}
        if name_of(one) == node:
            mine = addresses
        else:
            others |= addresses
    return names <= mine - others


def _is_special(name: str) -> bool:
    """Under which others are reached: the API server, Services, whoever asks on the own machine."""
    if _is_address(name):
        address = ip_address(name)
        return address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    labels = name.split(".")
    return labels[0] in ("kubernetes", "localhost") or "svc" in labels


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _plain(address: str) -> str:
    """In one spelling."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address.lower()
