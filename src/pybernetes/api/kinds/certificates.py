"""Certificates that the cluster signs and trusts (pkg/apis/certificates/validation)."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import names
from ..errors import OMITTED, FieldError
from ..objects import Obj, condition_is, name_of
from . import checks, meta
from .pod_defaults import fill
from .rules import Problems, Table, among, at_least, each, follow, given, inside, matching, need
from .signer_checks import (
    LEAST_SECONDS,
    MOST_BUILTIN_SECONDS,
    MOST_SECONDS,
    bundle_name_problems,
    is_kubernetes,
    signer_name,
)
from .strategy import Strategy

if TYPE_CHECKING:
    from cryptography import x509

_USAGES = (
    *("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment"),
    *("decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel"),
    *("ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime"),
    *("server auth", "signing", "timestamping"),
)
_BLOCK = re.compile(rb"-----BEGIN ([^\n-]*)-----\r?\n(.*?)-----END \1-----", re.DOTALL)
_MOST_BUNDLE_BYTES = 1 << 20
_NO_VALUE = "<value omitted>"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _request_problem(text: str) -> str:
    """What is wrong with a certificate request, PEM in base64."""
    from cryptography import x509  # only a server that is asked for certificates needs it

    pem = _decoded(text)
    block = _BLOCK.search(pem)
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        found = x509.load_pem_x509_csr(block[0])
    except ValueError as error:
        return str(error)
    return "" if found.is_signature_valid else "x509: the signature does not match the request"


def _certificate_problem(text: str) -> str:
    """What is wrong with a chain of certificates, PEM in base64."""
    from cryptography import x509

    blocks = list(_BLOCK.finditer(_decoded(text)))
    for block in blocks:
        if block[1] != b"CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{block[1].decode("utf-8", "replace")}"'
        if b":" in block[2]:
            return "no PEM block headers are permitted"
        try:
            x509.load_pem_x509_certificate(block[0])
        except ValueError as error:
            return str(error)
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


class CertificateSigningRequestStrategy(Strategy):
    name_rule = staticmethod(meta.path_name)  # a kubelet's request is named after its key, capitals and all
    status = True

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {})

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        """The approval part writes conditions only; the status part everything else."""
        if old is None or part not in ("approval", "status"):
            super().prepare(new, old, part=part)
            if old is not None:
                new["spec"] = old.get("spec") or {}  # a request is what it was
            return
        sent: Obj = new.get("status") or {}
        super().prepare(new, old, part="status")
        before: Obj = old.get("status") or {}
        if part == "approval":
            new["status"] = before | ({"conditions": sent["conditions"]} if "conditions" in sent else {})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        if old is None:
            yield from _request(new.get("spec") or {}, "spec")
        status, before = new.get("status") or {}, (old or {}).get("status") or {}
        yield from _conditions(status.get("conditions") or [], before.get("conditions") or [], part=part)
        certificate = status.get("certificate") or ""
        fresh = certificate and certificate != before.get("certificate")
        if fresh and (wrong := _certificate_problem(certificate)):
            yield FieldError.invalid("status.certificate", "<certificate data>", wrong)
        if old is not None and certificate != (before.get("certificate") or ""):
            if part != "status":
                yield FieldError.forbidden("status.certificate", "updates may not set certificate content")
            elif before.get("certificate"):
                detail = "updates may not modify existing certificate content"
                yield FieldError.forbidden("status.certificate", detail)


def _request(spec: Obj, path: str) -> Problems:
    text = spec.get("request") or ""
    if wrong := _request_problem(text):
        yield FieldError.invalid(f"{path}.request", text, wrong)
    usages = spec.get("usages") or []
    if not usages:
        yield FieldError.required(f"{path}.usages")
    yield from each(among(*_USAGES))(usages, f"{path}.usages")
    yield from checks.unique(usages, lambda index: f"{path}.usages[{index}]")
    signer = spec.get("signerName") or ""
    if signer == "kubernetes.io/legacy-unknown":
        detail = "the legacy signerName is not allowed via this API version"
        yield FieldError.invalid(f"{path}.signerName", signer, detail)
    else:
        yield from signer_name(signer, f"{path}.signerName")
    detail = "may not specify a duration less than 600 seconds (10 minutes)"
    yield from follow(spec, {"expirationSeconds": given(at_least(600, detail))}, path)


_DECISIONS = ("Approved", "Denied")
_TRUE_ONLY = (*_DECISIONS, "Failed")


def _conditions(found: list[Obj], before: list[Obj], *, part: str) -> Problems:
    path = "status.conditions"
    lasting = [one.get("type") or "" for one in before]
    decided: set[str] = set()
    for index, one in enumerate(found):
        kind = one.get("type") or ""
        if not kind and "" not in lasting:
            yield FieldError.required(f"{path}[{index}].type")
        states = ("True",) if kind in _TRUE_ONLY else ("False", "True", "Unknown")
        yield from follow(one, {"status": need(among(*states))}, f"{path}[{index}]")
        if kind in _DECISIONS and not set(_DECISIONS) <= set(lasting):
            decided.add(kind)
            if len(decided) > 1:
                yield FieldError.invalid(path, kind, "Approved and Denied conditions are mutually exclusive")
    if len(lasting) == len(set(lasting)):
        yield from checks.unique((one.get("type") for one in found), lambda index: f"{path}[{index}].type")
    for kind in _TRUE_ONLY:
        old, new = ([one for one in held if one.get("type") == kind] for held in (before, found))
        if len(new) < len(old):
            yield FieldError.forbidden(path, f'updates may not remove a condition of type "{kind}"')
        elif kind in _DECISIONS and part != "approval" and len(new) > len(old):
            yield FieldError.forbidden(path, f'updates may not add a condition of type "{kind}"')
        elif kind in _DECISIONS and part != "approval" and new != old:
            yield FieldError.forbidden(path, f'updates may not modify a condition of type "{kind}"')


class TrustBundleStrategy(Strategy):
    """A bundle of a signer is named after it: "signer:name"."""

    unconditional_update = False
    name_rule = staticmethod(lambda text: iter(()))  # check knows the signer that the name must begin with

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec, before = new.get("spec") or {}, (old or {}).get("spec") or {}
        signer, name = spec.get("signerName") or "", name_of(new)
        for text in bundle_name_problems(name, signer):
            yield FieldError.invalid("metadata.name", name, text)
        if signer:
            yield from signer_name(signer, "spec.signerName")
        if old is None or spec.get("trustBundle") != before.get("trustBundle"):
            yield from _bundle(spec.get("trustBundle") or "", "spec.trustBundle")
        if old is not None:
            yield from meta.immutable(signer, before.get("signerName") or "", "spec.signerName")


def _bundle(text: str, path: str) -> Problems:
    """Certificates of authorities, each once, and nothing else."""
    if len(text.encode()) > _MOST_BUNDLE_BYTES:
        yield FieldError.too_long(path, "", _MOST_BUNDLE_BYTES)
        return
    entries = list(_BLOCK.finditer(text.encode()))
    problems = [(index, wrong) for index, block in enumerate(entries) if (wrong := _anchor_problem(block))]
    for index, wrong in problems:
        yield FieldError.invalid(path, _NO_VALUE, f"entry {index} {wrong}")
    if problems:
        return
    if not entries:
        yield FieldError.invalid(path, _NO_VALUE, "at least one trust anchor must be provided")
    held: dict[bytes, list[int]] = {}
    for index, block in enumerate(entries):
        held.setdefault(b"".join(block[2].split()), []).append(index)
    for where in held.values():
        if len(where) > 1:
            detail = f"duplicate trust anchor (indices [{' '.join(map(str, where))}])"
            yield FieldError.invalid(path, _NO_VALUE, detail)


def _anchor_problem(block: "re.Match[bytes]") -> str:
    from cryptography import x509

    if block[1] != b"CERTIFICATE":
        return f"has bad block type: {block[1].decode('utf-8', 'replace')}"
    if b":" in block[2]:
        return "has PEM block headers"
    try:
        found = x509.load_pem_x509_certificate(block[0])
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    except ValueError:
        return "does not parse as X.509"
    return "" if constraints.ca else "does not have the CA bit set"


_MOST_UID_BYTES, _MOST_REQUEST_BYTES, _MOST_CHAIN_BYTES = 128, 10 * 1024, 100 * 1024
_ENDINGS = ("Issued", "Denied", "Failed")


class PodCertificateRequestStrategy(Strategy):
    unconditional_update = False
    status = True

    def default(self, obj: Obj) -> None:
        fill(obj.setdefault("spec", {}), {"maxExpirationSeconds": 24 * 3600})

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        spec: Obj = new.get("spec") or {}
        if old is None:
            yield from _pod_request(spec, "spec")
        elif part == "status":
            yield from _pod_status(new, old)
        else:
            yield from meta.immutable(spec, old.get("spec") or {}, "spec")


def _uid(spec: Obj, field: str, path: str) -> Problems:
    uid = spec.get(field) or ""
    if not uid:
        yield FieldError.invalid(f"{path}.{field}", uid, "must not be empty")
    elif len(uid.encode()) > _MOST_UID_BYTES:
        yield FieldError.too_long(f"{path}.{field}", uid, _MOST_UID_BYTES)


def _user_annotations(found: Obj, path: str) -> Problems:
    for key in found:
        yield from checks.domain_prefixed_path(key, path)
    yield from meta.annotations(found, path)


def _pod_request(spec: Obj, path: str) -> Problems:
    signer = spec.get("signerName") or ""
    yield from signer_name(signer, f"{path}.signerName")
    yield from follow(spec, {"unverifiedUserAnnotations": given(_user_annotations)}, path)
    for name, uid in (("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")):
        yield from matching(names.subdomain)(spec.get(name) or "", f"{path}.{name}")
        yield from _uid(spec, uid, path)
    most, seconds = MOST_BUILTIN_SECONDS if is_kubernetes(signer) else MOST_SECONDS, spec.get("maxExpirationSeconds")
    if seconds is None:
        yield FieldError.required(f"{path}.maxExpirationSeconds", "must be set")
    elif not LEAST_SECONDS <= seconds <= most:
        detail = f"must be in the range [{LEAST_SECONDS}, {most}]"
        yield FieldError.invalid(f"{path}.maxExpirationSeconds", seconds, detail)
    text = spec.get("stubPKCS10Request") or ""
    if len(_decoded(text)) > _MOST_REQUEST_BYTES:
        yield FieldError.too_long(f"{path}.stubPKCS10Request", text, _MOST_REQUEST_BYTES)
    elif wrong := _stub_problem(text):
        yield FieldError.invalid(f"{path}.stubPKCS10Request", OMITTED, wrong)


def _stub_problem(text: str) -> str:
    found = _stub(text)
    if found is None:
        return "must be a valid PKCS#10 certificate signing request"
    return "" if found.is_signature_valid else "could not verify the signature"


def _stub(text: str) -> "x509.CertificateSigningRequest | None":
    from cryptography import x509

    try:
        return x509.load_der_x509_csr(_decoded(text))
    except ValueError:
        return None


_CONDITION: Table = {"type": need(among(*_ENDINGS)), "status": need(among("True"))}


def _pod_status(new: Obj, old: Obj) -> Problems:
    """A request ends once, and what its end says stays."""
    status, before = new.get("status") or {}, old.get("status") or {}
    conditions = status.get("conditions") or []
    wrong = list(each(inside(_CONDITION))(conditions, "status.conditions"))
    for index in range(1, len(conditions)):
        detail = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
        wrong.append(FieldError.invalid(f"status.conditions[{index}].type", conditions[index].get("type"), detail))
    if wrong:
        yield from wrong
    elif any(condition_is(old, kind) for kind in _ENDINGS):
        if status != before:
            detail = "immutable after PodCertificateRequest is issued, denied, or failed"
            yield FieldError.invalid("status", OMITTED, detail)
    elif condition_is(new, "Issued"):
        yield from _issued(status, _stub((old.get("spec") or {}).get("stubPKCS10Request") or ""))
    elif conditions:
        if any(value for field, value in status.items() if field != "conditions"):
            detail = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
            yield FieldError.invalid("status", OMITTED, detail)
    elif status != before:
        detail = 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"'
        yield FieldError.invalid("status", OMITTED, detail)


_TIMES: Table = {
    "notBefore": need(None, "must be present and consistent with the issued certificate"),
    "notAfter": need(None, "must be present and consistent with the issued certificate"),
    "beginRefreshAt": need(None, "must be present and in the range [notbefore+10min, notafter-10min]"),
}


def _issued(status: Obj, asked: "x509.CertificateSigningRequest | None") -> Problems:
    path, chain = "status.certificateChain", status.get("certificateChain") or ""
    if len(chain.encode()) > _MOST_CHAIN_BYTES:
        yield FieldError.too_long(path, chain, _MOST_CHAIN_BYTES)
        return
    blocks = list(_BLOCK.finditer(chain.encode()))
    if not blocks:
        yield FieldError.invalid(path, chain, "issued certificate chain must contain at least one certificate")
    elif any(block[1] != b"CERTIFICATE" for block in blocks):
        detail = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
        yield FieldError.invalid(path, chain, detail)
    elif wrong := _chain_problem([block[0] for block in blocks], asked):
        yield FieldError.invalid(path, chain, wrong)
    else:
        yield from follow(status, _TIMES, "status")


def _chain_problem(chain: Iterable[bytes], asked: "x509.CertificateSigningRequest | None") -> str:
    from cryptography import x509

    for index, pem in enumerate(chain):
        try:
            found = x509.load_pem_x509_certificate(pem)
        except ValueError:
            return f"{'intermediate' if index else 'leaf'} certificate does not parse as valid X.509"
        if not index and asked is not None and found.public_key() != asked.public_key():
            return "leaf certificate was not issued to the requested public key"
    return ""
