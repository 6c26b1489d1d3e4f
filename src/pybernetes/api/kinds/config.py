"""ConfigMap, Secret, ServiceAccount: data that pods read, and who they are."""

import base64
from collections.abc import Iterator, Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj, annotations_of, decode
from . import checks
from .key_pairs import pair_problem
from .pod_defaults import fill
from .strategy import Strategy

Problems = Iterator[FieldError]

_MOST_BYTES = 1024 * 1024
_FIXED = "field is immutable when `immutable` is set"


class ConfigMapStrategy(Strategy):
    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        data, binary = new.get("data") or {}, new.get("binaryData") or {}
        for key in data:
            yield from checks.named(key, f"data[{key}]", names.config_key)
            if key in binary:
                yield FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in binary:
            yield from checks.named(key, f"binaryData[{key}]", names.config_key)
        if sum(map(len, data.values())) + _decoded_size(binary) > _MOST_BYTES:
            yield FieldError.too_long("", "", _MOST_BYTES)
        if old is not None:
            yield from _immutable(new, old, ("data", "binaryData"))


def _decoded_size(found: Mapping[str, str]) -> int:
    return sum(len(value) * 3 // 4 - value[-2:].count("=") for value in found.values())


def _immutable(new: Obj, old: Obj, fields: tuple[str, ...]) -> Problems:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield FieldError.forbidden("immutable", _FIXED)
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            yield FieldError.forbidden(field, _FIXED)


_CERTIFICATE_KEYS = ("tls.crt", "tls.key")
_DOCKER_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_REDACTED = "<secret contents redacted>"


class SecretStrategy(Strategy):
    def default(self, obj: Obj) -> None:
        fill(obj, {"type": "Opaque"})
        if (clear := obj.pop("stringData", None)) is not None:
            data = obj.setdefault("data", {})
            data |= {key: base64.b64encode(value.encode()).decode() for key, value in clear.items()}

    def check(self, new: Obj, old: Obj | None, *, part: str = "") -> Problems:
        data: Mapping[str, str] = new.get("data") or {}
        kind = new.get("type") or ""
        for key in data:
            yield from checks.named(key, f"data[{key}]", names.config_key)
        if _decoded_size(data) > _MOST_BYTES:
            yield FieldError.too_long("data", "", _MOST_BYTES)
        yield from _of_type(kind, new, data)
        if old is not None:
            if kind != old.get("type"):
                yield FieldError.invalid("type", kind, "field is immutable")
            yield from _immutable(new, old, ("data",))

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if new.get("type") == "kubernetes.io/tls":
            data: Mapping[str, str] = new.get("data") or {}
            certificate, key = (base64.b64decode(data.get(name) or "") for name in _CERTIFICATE_KEYS)
            if problem := pair_problem(certificate, key):
                yield problem


def _of_type(kind: str, secret: Obj, data: Mapping[str, str]) -> Problems:
    """What a Secret of a known type must hold."""
    match kind:
        case "kubernetes.io/service-account-token":
            if not annotations_of(secret).get(_ACCOUNT_NAME):
                yield FieldError.required(f"metadata.annotations[{_ACCOUNT_NAME}]")
        case "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson":
            yield from _docker(_DOCKER_KEYS[kind], data)
        case "kubernetes.io/basic-auth":
            if not {"username", "password"} & set(data):
                yield FieldError.required("data[username]")
                yield FieldError.required("data[password]")
        case "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                yield FieldError.required("data[ssh-privatekey]")
        case "kubernetes.io/tls":
            for key in _CERTIFICATE_KEYS:
                if key not in data:
                    yield FieldError.required(f"data[{key}]")


def _docker(key: str, data: Mapping[str, str]) -> Problems:
    if key not in data:
        yield FieldError.required(f"data[{key}]")
        return
    try:
        found = decode(base64.b64decode(data[key]))
    except ValueError as error:
        yield FieldError.invalid(f"data[{key}]", _REDACTED, str(error))
        return
    if found is not None and not isinstance(found, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(found), "number")
        detail = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        yield FieldError.invalid(f"data[{key}]", _REDACTED, detail)


class ServiceAccountStrategy(Strategy):
    """Nothing but its metadata can be wrong. Of its Secrets it keeps the names."""

    def prepare(self, new: Obj, old: Obj | None, *, part: str = "") -> None:
        super().prepare(new, old, part=part)
        if new.get("secrets"):
            new["secrets"] = [{"name": secret["name"]} if secret.get("name") else {} for secret in new["secrets"]]

    def warnings(self, new: Obj, old: Obj | None, *, part: str = "") -> Iterator[str]:
        if _MOUNTABLE in annotations_of(new) and _MOUNTABLE not in annotations_of(old or {}):
            yield (
                f"metadata.annotations[{_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate "
                "access to mounted secrets"
            )
