"""Validation of a pod's volumes, those of files above all: config maps, secrets, the downward API, projections."""

from collections.abc import Collection, Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj
from ..quantity import Quantity
from . import checks
from .claim_checks import claim_template
from .env_checks import field_reference, reserved_path, resource_reference
from .rules import Check, Problems, Table, among, each, follow, given, inside, may, need
from .signer_checks import LEAST_SECONDS, MOST_BUILTIN_SECONDS, MOST_SECONDS, bundle_name_problems, signer_name
from .volume_sources import POD_SOURCES, mode, one_source, portal_problem, portal_too_long


def volumes(found: Collection[Obj], path: str, *, pod_name: str = "") -> Problems:
    """`pod_name` is given for a pod itself, whose ephemeral claims are named after it."""
    yield from (problem for _, problems in _each(found, path, pod_name) for problem in problems)


def good_volumes(found: Collection[Obj]) -> Mapping[str, Obj]:
    """Volumes by name, as mounts find them; a volume that is wrong in itself is not found (ValidateVolumes)."""
    return {volume.get("name", ""): volume for volume, problems in _each(found, "", "") if not problems}


def _each(found: Collection[Obj], path: str, pod_name: str) -> list[tuple[Obj, list[FieldError]]]:
    seen: set[str] = set()
    claims = {f"{pod_name}-{one.get('name')}" for one in found if one.get("ephemeral") is not None and pod_name}
    checked: list[tuple[Obj, list[FieldError]]] = []
    for index, volume in enumerate(found):
        where = f"{path}[{index}]"
        problems = list(_volume(volume, where, pod_name))
        name = volume.get("name") or ""
        if name in seen:
            problems.append(FieldError.duplicate(f"{where}.name", name))
        if not problems:
            seen.add(name)
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in claims:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            problems.append(FieldError.invalid(f"{where}.persistentVolumeClaim.claimName", claim, detail))
        checked.append((volume, problems))
    return checked


def _volume(volume: Obj, path: str, pod_name: str) -> Problems:
    yield from one_source(volume, path, _SOURCES)
    name = volume.get("name") or ""
    if volume.get("iscsi") is not None and portal_too_long(volume["iscsi"], name):
        yield portal_problem(f"{path}.name", name)
    if pod_name and name and volume.get("ephemeral") is not None:
        claim = f"{pod_name}-{name}"
        for text in names.subdomain(claim):
            yield FieldError.invalid(f"{path}.name", name, f'PVC name "{claim}": {text}')
    yield from checks.required_name(volume, path, names.label)


def _empty_dir(source: Obj, path: str) -> Problems:
    if Quantity.parse(source.get("sizeLimit")).nano < 0:
        yield FieldError.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


_key = inside({"key": need(), "path": need(reserved_path), "mode": may(mode)})
_MODE: Table = {"defaultMode": may(mode)}


def _files(name: str) -> Check:
    """Of a config map or secret, which this field names."""
    return inside({name: need(), "defaultMode": may(mode), "items": may(each(_key))})


def _downward(source: Obj, path: str) -> Problems:
    yield from follow(source, _MODE, path)
    for item in source.get("items") or ():
        yield from _downward_file(item, path)


def _downward_file(item: Obj, path: str) -> Problems:
    yield from follow(item, {"path": need(reserved_path)}, path)
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        yield from field_reference(field, f"{path}.fieldRef")
        if resource is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            yield FieldError.invalid(path, "resource", detail)
    elif resource is not None:
        yield from resource_reference(resource, f"{path}.resourceFieldRef", volume=True)
    else:
        yield FieldError.required(path, "one of fieldRef and resourceFieldRef is required")
    yield from follow(item, {"mode": may(mode)}, path)


def _projected(source: Obj, path: str) -> Problems:
    yield from follow(source, _MODE, path)
    taken: set[str] = set()
    for index, inner in enumerate(source.get("sources") or ()):
        where = f"{path}.sources[{index}]"
        given_ = [field for field in _PROJECTIONS if inner.get(field) is not None]
        for field in given_:
            yield from _PROJECTIONS[field](inner[field], f"{where}.{field}")
            if field == "serviceAccountToken":  # what is wrong with its path is said of the volume
                yield from follow(inner[field], {"path": need(reserved_path)}, path)
            for target in _targets(field, inner[field]):
                if target in taken:
                    shown = inner[field].get("name") or target if field in ("secret", "configMap") else target
                    yield FieldError.invalid(path, shown, "conflicting duplicate paths")
                taken.add(target)
        if len(given_) > 1:
            yield FieldError.forbidden(where, "may not specify more than 1 volume type per source")


def _targets(field: str, source: Obj) -> list[str]:
    """The files that a projection makes, as far as they are known beforehand."""
    if field == "podCertificate":
        return [path for one in _CERTIFICATE_PATHS if (path := source.get(one))]
    if field == "clusterTrustBundle":
        return [source.get("path") or ""]
    return [path for item in source.get("items") or () if (path := item.get("path"))]


def _projected_files(source: Obj, path: str) -> Problems:
    yield from follow(source, {"name": need(), "items": may(each(_key))}, path)


def _projected_fields(source: Obj, path: str) -> Problems:
    for item in source.get("items") or ():
        yield from _downward_file(item, path)


def _token(source: Obj, path: str) -> Problems:
    seconds, where = source.get("expirationSeconds", 3600), f"{path}.expirationSeconds"
    if seconds < 600:
        yield FieldError.invalid(where, seconds, "may not specify a duration less than 10 minutes")
    if seconds > 1 << 32:
        yield FieldError.invalid(where, seconds, "may not specify a duration larger than 2^32 seconds")


def _bundle(source: Obj, path: str) -> Problems:
    name, signer, selector = source.get("name"), source.get("signerName"), source.get("labelSelector")
    if name is not None and signer is not None:
        yield FieldError.invalid(path, source, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield FieldError.required(f"{path}.name", "must be a valid object name")
        for text in bundle_name_problems(name):
            yield FieldError.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {text}")
        if selector is not None:
            detail = "labelSelector must be unset if name is specified"
            yield FieldError.invalid(f"{path}.labelSelector", selector, detail)
    elif signer is not None:
        if not signer:
            yield FieldError.required(f"{path}.signerName", "must be a valid signer name")
        yield from signer_name(signer, f"{path}.signerName")
        yield from checks.selector(selector, f"{path}.labelSelector")
    else:
        yield FieldError.required(path, "either name or signerName must be specified")
    yield from follow(source, {"path": need(reserved_path)}, path)


KEY_TYPES = ("ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096")
_CERTIFICATE_PATHS = ("credentialBundlePath", "keyPath", "certificateChainPath")
_CERTIFICATE: Table = {
    "keyType": given(among(*KEY_TYPES)),
    **dict.fromkeys(_CERTIFICATE_PATHS, may(reserved_path)),
}


def _certificate(source: Obj, path: str) -> Problems:
    signer = source.get("signerName") or ""
    yield from signer_name(signer, f"{path}.signerName")
    yield from follow(source, _CERTIFICATE, path)
    if (seconds := source.get("maxExpirationSeconds")) is not None:
        where = f"{path}.maxExpirationSeconds"
        most = MOST_BUILTIN_SECONDS if signer.startswith("kubernetes.io/") else MOST_SECONDS
        if seconds < LEAST_SECONDS:
            yield FieldError.invalid(where, seconds, f"if provided, maxExpirationSeconds must be >= {LEAST_SECONDS}")
        if seconds > most:
            yield FieldError.invalid(where, seconds, f"if provided, maxExpirationSeconds must be <= {most}")
    if not any(source.get(field) for field in _CERTIFICATE_PATHS):
        detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        yield FieldError.required(path, detail)


_PROJECTIONS = {
    "secret": _projected_files,
    "configMap": _projected_files,
    "downwardAPI": _projected_fields,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _bundle,
    "podCertificate": _certificate,
}


def _ephemeral(source: Obj, path: str) -> Problems:
    template = source.get("volumeClaimTemplate")
    if template is None:
        yield FieldError.required(f"{path}.volumeClaimTemplate")
    else:
        yield from claim_template(template, f"{path}.volumeClaimTemplate")


_SOURCES: Mapping[str, Check] = {
    "emptyDir": _empty_dir,
    **POD_SOURCES,
    "secret": _files("secretName"),
    "configMap": _files("name"),
    "downwardAPI": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
}
