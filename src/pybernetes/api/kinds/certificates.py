"""Certificates that the cluster signs and trusts (pkg/apis/certificates/validation)."""

import base64
import binascii
import re
from typing import TYPE_CHECKING

from .. import times
from ..errors import FieldError
from ..objects import Obj, name_of
from . import checks, meta
from .rules import Problems, among, at_least, each, follow, given, need
from .signer_checks import (
    bundle_name_problems,
    signer_name,
)
from .strategy import Strategy

if TYPE_CHECKING:
    pass

_USAGES = (
    *("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment"),
    *("decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel"),
    *("ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime"),
    *("server auth", "signing", "timestamping"),
)
BLOCK = re.compile(rb"-----BEGIN ([^\n-]*)-----\r?\n(.*?)-----END \1-----", re.DOTALL)
_MOST_BUNDLE_BYTES = 1 << 20
_NO_VALUE = "<value omitted>"


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _request_problem(text: str) -> str:
    """What is wrong with a certificate request, PEM in base64."""
    from cryptography import x509  # only a server that is asked for certificates needs it

    pem = decoded(text)
    block = BLOCK.search(pem)
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

    blocks = list(BLOCK.finditer(decoded(text)))
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
            rest = {field: value for field, value in before.items() if field != "conditions"}
            new["status"] = rest | ({"conditions": sent["conditions"]} if sent.get("conditions") else {})
        else:
            _keep_decisions(sent.get("conditions") or [], before.get("conditions") or [])

    def stamp(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> None:
        """The times of conditions, where who writes them leaves them out."""
        if old is None or part not in ("approval", "status"):
            return
        since = {_state(one): one.get(_SINCE) for one in reversed((old.get("status") or {}).get("conditions") or ())}
        for one in (new.get("status") or {}).get("conditions") or ():
            one["lastUpdateTime"] = one.get("lastUpdateTime") or times.stamp(now)
            one[_SINCE] = one.get(_SINCE) or since.get(_state(one)) or times.stamp(now)

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


_SINCE = "lastTransitionTime"
_DECISIONS = ("Approved", "Denied")
_TRUE_ONLY = (*_DECISIONS, "Failed")


def _state(condition: Obj) -> tuple[object, object]:
    return condition.get("type"), condition.get("status")


def _keep_decisions(found: list[Obj], before: list[Obj]) -> None:
    """With the status nobody decides: who sends a decision back gets it as it is, in place."""
    for kind in _DECISIONS:
        places = [index for index, one in enumerate(found) if one.get("type") == kind]
        kept = [one for one in before if one.get("type") == kind]
        if len(places) == len(kept):
            for index, one in zip(places, kept, strict=True):
                found[index] = dict(one)


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
    entries = list(BLOCK.finditer(text.encode()))
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
