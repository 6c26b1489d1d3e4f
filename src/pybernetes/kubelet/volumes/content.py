"""What is in the files of configMap, secret, downwardAPI and projected volumes: pure, over what was looked up."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from pybernetes.api.objects import Obj, namespace_of

from ..environment import ConfigError, Lookup, data_of, field_value, resource_value
from ..pod_certificates import Credential
from .atomic import File
from .trust import anchors

DEFAULT_MODE = 0o644

Token = Callable[[Obj], str]
"""A serviceAccountToken projection -> the token to write."""


Bundles = Callable[[], Sequence[Obj]]
"""All ClusterTrustBundles."""


def no_bundles() -> Sequence[Obj]:
    return ()


Credentials = Callable[[Obj], Credential]
"""A podCertificate projection -> the credential to write."""


def no_credential(source: Obj) -> Credential:
    raise ConfigError(f"no certificate of signer {source['signerName']}")


def files_of(
    pod: Obj,
    volume: Obj,
    *,
    lookup: Lookup,
    token: Token,
    status: Obj,
    allocatable: Mapping[str, str],
    bundles: Bundles = no_bundles,
    credential: Credentials = no_credential,
) -> dict[str, File]:
    """The files of one volume. Raises ConfigError with what is missing."""
    if (source := volume.get("projected")) is not None:
        mode = _mode(source)
        result: dict[str, File] = {}
        for part in source.get("sources") or ():
            if (trusted := part.get("clusterTrustBundle")) is not None:
                result[trusted["path"]] = File(anchors(trusted, bundles()), mode)
            elif (wanted := part.get("podCertificate")) is not None:
                result |= _credential(wanted, credential(wanted), mode)
            else:
                result |= _part(pod, part, mode, lookup, token, status, allocatable)
        return result
    for name in ("configMap", "secret", "downwardAPI"):
        if (source := volume.get(name)) is not None:
            return _part(pod, {name: source}, _mode(source), lookup, token, status, allocatable)
    return {}


def _mode(source: Obj) -> int:
    mode = source.get("defaultMode")
    return DEFAULT_MODE if mode is None else int(mode)


def _part(
    pod: Obj,
    part: Obj,
    mode: int,
    lookup: Lookup,
    token: Token,
    status: Obj,
    allocatable: Mapping[str, str],
) -> dict[str, File]:
    if (source := part.get("configMap")) is not None:
        return _from_object(pod, "ConfigMap", source.get("name") or "", source, mode, lookup)
    if (source := part.get("secret")) is not None:
        name = source.get("secretName") or source.get("name") or ""
        return _from_object(pod, "Secret", name, source, mode, lookup)
    if (source := part.get("downwardAPI")) is not None:
        return dict(_downward(pod, source.get("items") or (), mode, status, allocatable))
    if (source := part.get("serviceAccountToken")) is not None:
        return {source["path"]: File(token(source).encode(), mode if mode != DEFAULT_MODE else 0o644)}
    raise ConfigError(f"projections of type {next(iter(part), '(none)')} are not supported on this node")


def _credential(source: Obj, held: Credential, mode: int) -> dict[str, File]:
    texts = {"credentialBundlePath": held.key + held.chain, "keyPath": held.key, "certificateChainPath": held.chain}
    return {source[field]: File(text.encode(), mode) for field, text in texts.items() if source.get(field)}


def _from_object(pod: Obj, kind: str, name: str, source: Obj, mode: int, lookup: Lookup) -> dict[str, File]:
    found = lookup(kind, name)
    if found is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    data = data_of(found)
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    result = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(f"{kind.lower()} references non-existent config key: {namespace_of(pod)}/{item['key']}")
        result[item["path"]] = File(data[item["key"]], mode if item.get("mode") is None else int(item["mode"]))
    return result


def _downward(
    pod: Obj, items: Iterable[Obj], mode: int, status: Obj, allocatable: Mapping[str, str]
) -> Iterable[tuple[str, File]]:
    for item in items:
        if (reference := item.get("fieldRef")) is not None:
            text = field_value(pod, reference["fieldPath"], status)
        else:
            reference = item["resourceFieldRef"]
            name = reference.get("containerName")
            container: Obj = next((one for one in pod["spec"]["containers"] if one["name"] == name), {})
            text = resource_value(pod, container, reference, allocatable)
        yield item["path"], File(text.encode(), mode if item.get("mode") is None else int(item["mode"]))
