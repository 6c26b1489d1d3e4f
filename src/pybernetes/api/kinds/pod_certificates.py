"""PodCertificateRequest: a pod's certificate, asked for and issued once (KEP-4317; pkg/apis/certificates)."""

from collections.abc import Iterator, Sequence
from email.errors import MessageError
from email.headerregistry import Address
from typing import TYPE_CHECKING

from .. import names, times
from ..errors import OMITTED, FieldError
from ..objects import Obj, condition_is
from . import checks, meta
from .certificates import BLOCK, decoded
from .condition_checks import conditions as meta_conditions
from .pod_defaults import fill
from .rules import Problems, Table, among, each, follow, given, inside, matching, need
from .signer_checks import LEAST_SECONDS, MOST_BUILTIN_SECONDS, MOST_SECONDS, is_kubernetes, signer_name
from .strategy import Strategy

if TYPE_CHECKING:
    from cryptography import x509

_MOST_UID_BYTES, _MOST_REQUEST_BYTES, _MOST_CHAIN_BYTES = 128, 10 * 1024, 100 * 1024
_ENDINGS = ("Issued", "Denied", "Failed")
_CLOCK_SECONDS, _REFRESH_SECONDS = 300.0, 600.0


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

    def untimely(self, new: Obj, old: Obj | None, *, now: float, part: str = "") -> Problems:
        """What is issued is valid from now on."""
        if old is None or part != "status" or condition_is(old, "Issued") or not condition_is(new, "Issued"):
            return
        begins = new["status"]["notBefore"]
        if abs(times.parse(begins) - now) >= _CLOCK_SECONDS:
            detail = "must be set to within 5 minutes of kube-apiserver's current time"
            yield FieldError.invalid("status.notBefore", begins, detail)


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
    if len(decoded(text)) > _MOST_REQUEST_BYTES:
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
        return x509.load_der_x509_csr(decoded(text))
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
    wrong += meta_conditions(conditions, "status.conditions")
    if wrong:
        yield from wrong
    elif any(condition_is(old, kind) for kind in _ENDINGS):
        if status != before:
            detail = "immutable after PodCertificateRequest is issued, denied, or failed"
            yield FieldError.invalid("status", OMITTED, detail)
    elif condition_is(new, "Issued"):
        yield from _issued(status, old.get("spec") or {})
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


def _issued(status: Obj, spec: Obj) -> Problems:
    path, text = "status.certificateChain", status.get("certificateChain") or ""
    if len(text.encode()) > _MOST_CHAIN_BYTES:
        yield FieldError.too_long(path, text, _MOST_CHAIN_BYTES)
        return
    chain, wrong = _chain(text)
    if wrong:
        yield FieldError.invalid(path, text, wrong)
        return
    leaf, asked = chain[0], _stub(spec.get("stubPKCS10Request") or "")
    named = [FieldError.invalid(path, value, wrong) for value, wrong in _misnamed(leaf)]
    yield from named
    if asked is not None and leaf.public_key() != asked.public_key():
        yield FieldError.invalid(path, text, "leaf certificate was not issued to the requested public key")
        return
    missing = list(follow(status, _TIMES, "status"))
    yield from missing
    if not missing and not named:
        yield from _times(status, leaf, most_seconds=spec.get("maxExpirationSeconds") or 0)


def _chain(text: str) -> "tuple[Sequence[x509.Certificate], str]":
    """The certificates, leaf first; or what is wrong with them."""
    from cryptography import x509

    blocks = list(BLOCK.finditer(text.encode()))
    if not blocks:
        return (), "issued certificate chain must contain at least one certificate"
    if any(block[1] != b"CERTIFICATE" for block in blocks):
        return (), "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
    found = []
    for block in blocks:
        try:
            found.append(x509.load_pem_x509_certificate(block[0]))
        except ValueError:
            return (), f"{'intermediate' if found else 'leaf'} certificate does not parse as valid X.509"
    return found, ""


def _misnamed(leaf: "x509.Certificate") -> Iterator[tuple[str, str]]:
    """Names in a certificate that no client would find there, and why."""
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in found.get_values_for_type(x509.DNSName):
        if not name:
            yield name, "leaf certificate should not contain empty DNSName"
        if ".." in name:
            yield name, "leaf certificate's DNSName should not contain '..'"
        if name.startswith(".") or name.endswith("."):
            yield name, "leaf certificate's DNSName should not start or end with '.'"
    for name in found.get_values_for_type(x509.RFC822Name):
        try:
            Address(addr_spec=name)
        except (MessageError, ValueError, IndexError):
            yield name, "leaf certificate should not contain invalid EmailAddress"


def _times(status: Obj, leaf: "x509.Certificate", *, most_seconds: int) -> Problems:
    """The first thing that is wrong with the times, which are the certificate's."""
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    said = {field: times.parse(status[field]) for field in _TIMES}
    life = ends - begins
    if said["notBefore"] != begins:
        field, wrong = "notBefore", "must be set to the NotBefore time encoded in the leaf certificate"
    elif said["notAfter"] != ends:
        field, wrong = "notAfter", "must be set to the NotAfter time encoded in the leaf certificate"
    elif not LEAST_SECONDS <= life <= most_seconds:
        limit = ">= 1 hour" if life < LEAST_SECONDS else f"<= spec.maxExpirationSeconds ({most_seconds})"
        detail = f"leaf certificate lifetime must be {limit}"
        yield FieldError.invalid("status.certificateChain", int(life * 1e9), detail)
        return
    elif said["beginRefreshAt"] < begins + _REFRESH_SECONDS:
        field, wrong = "beginRefreshAt", "must be at least 10 minutes after status.notBefore"
    elif said["beginRefreshAt"] > ends - _REFRESH_SECONDS:
        field, wrong = "beginRefreshAt", "must be at least 10 minutes before status.notAfter"
    else:
        return
    yield FieldError.invalid(f"status.{field}", status[field], wrong)
