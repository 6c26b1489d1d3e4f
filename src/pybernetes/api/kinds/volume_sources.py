"""What each kind of volume must say, in pods and in PersistentVolumes: one table a kind (core/validation).

Some field paths are Kubernetes' own oddities ("persistentDisk", "targetWWNs"): clients see them as they are.
"""

import re
from collections.abc import Mapping

from .. import names
from ..errors import FieldError
from ..objects import Obj
from .container_checks import PULL_POLICIES
from .rules import Check, Problems, Rule, Table, among, between, follow, given, inside, matching, may, need
from .security_checks import local_path, no_backsteps

_IQN = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$"),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$"),
}
_MOST_PORTAL = 64
_PORTAL_TEXT = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)
_HOST_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_PAIRS = "must be a host:port pair or multiple pairs separated by commas"
_PARTITION = "must be between 1 and 255, inclusive"


def mode(value: int, path: str) -> Problems:
    """Permission bits of a file."""
    if not 0 <= value <= 0o777:
        yield FieldError.invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive")


def _absolute(value: str, path: str) -> Problems:
    if not value.startswith("/"):
        yield FieldError.invalid(path, value, "must be an absolute path")


def _partition(value: int, path: str) -> Problems:
    if not 0 <= value <= 255:
        yield FieldError.invalid(path, value, _PARTITION)


def _iqn(value: str, path: str) -> Problems:
    pattern = _IQN.get(value[:3])
    if pattern is None:
        yield FieldError.invalid(path, value, "must be valid format starting with iqn, eui, or naa")
    elif not pattern.search(value):
        yield FieldError.invalid(path, value, "must be valid format")


def driver_name(value: str, path: str) -> Problems:
    """The name of a CSI driver that is there."""
    if len(value) > 63:
        yield FieldError.too_long(path, value, 63)
    yield from (FieldError.invalid(path, value, text) for text in names.subdomain(value.lower()))


def _needed_driver(csi: Obj, path: str) -> Problems:
    value = csi.get("driver") or ""
    if not value:
        yield FieldError.required(f"{path}.driver")
    yield from driver_name(value, f"{path}.driver")


def _iscsi(source: Obj, path: str) -> Problems:
    yield from follow(source, {"targetPortal": need(), "iqn": need(_iqn)}, path)
    yield from between(0, 255)(source.get("lun") or 0, f"{path}.lun")
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        yield FieldError.required(f"{path}.secretRef")
    if (initiator := source.get("initiatorName")) is not None:
        yield from _iqn(initiator, f"{path}.initiatorname")


def _fc(source: Obj, path: str) -> Problems:
    targets, ids, lun = source.get("targetWWNs") or [], source.get("wwids") or [], source.get("lun")
    where = f"{path}.targetWWNs"
    if not targets and not ids:
        yield FieldError.required(where, "must specify either targetWWNs or wwids, but not both")
    if targets and ids:
        yield FieldError.invalid(where, targets, "targetWWNs and wwids can not be specified simultaneously")
    if targets and lun is None:
        yield FieldError.required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif targets and lun is not None:
        yield from between(0, 255)(lun, f"{path}.lun")


def _quobyte(source: Obj, path: str) -> Problems:
    registry = source.get("registry") or ""
    if not registry:
        yield FieldError.required(f"{path}.registry", _PAIRS)
    elif len(source.get("tenant") or "") >= 65:
        detail = "must be a UUID and may not exceed a length of 64 characters"
        yield FieldError.required(f"{path}.tenant", detail)
    else:
        for pair in registry.split(","):
            if not re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:]*", pair):
                yield FieldError.invalid(f"{path}.registry", registry, _PAIRS)
    yield from follow(source, {"volume": need()}, path)


def _flocker(source: Obj, path: str) -> Problems:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uid:
        yield FieldError.required(path, "one of datasetName and datasetUUID is required")
    if name and uid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        yield FieldError.invalid(path, "resource", detail)
    if "/" in name:
        yield FieldError.invalid(f"{path}.datasetName", name, "must not contain '/'")


def _flex(source: Obj, path: str) -> Problems:
    yield from follow(source, {"driver": need()}, path)
    for key in source.get("options") or ():
        domain = f".{key.partition('/')[0].lower()}"
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            yield FieldError.invalid(f"{path}.options[{key}]", key, detail)


_AZURE_DISK: Table = {
    "diskName": need(),
    "diskURI": need(),
    "cachingMode": given(among("None", "ReadOnly", "ReadWrite")),
    "kind": given(among("Dedicated", "Managed", "Shared")),
}
_MANAGED_URI = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_URI = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def _azure_disk(source: Obj, path: str) -> Problems:
    yield from follow(source, _AZURE_DISK, path)
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        yield FieldError.not_supported(f"{path}.diskURI", uri, (_MANAGED_URI,))
    if kind not in (None, "Managed") and not uri.startswith("https://"):
        yield FieldError.not_supported(f"{path}.diskURI", uri, (_BLOB_URI,))


def _azure_file_volume(source: Obj, path: str) -> Problems:
    yield from follow(source, {"secretName": need(), "shareName": need()}, path)
    if source.get("secretNamespace") == "":
        yield FieldError.required(f"{path}.secretNamespace")


def _csi_inline(source: Obj, path: str) -> Problems:
    yield from _needed_driver(source, path)
    if (reference := source.get("nodePublishSecretRef")) is not None:
        name = reference.get("name") or ""
        if not name:
            yield FieldError.required(f"{path}.nodePublishSecretRef.name")
        else:
            yield from matching(names.subdomain)(name, f"{path}.name")


_SECRET_REFERENCE: Table = {"name": need(matching(names.subdomain)), "namespace": need(matching(names.label))}
_CSI_SECRETS = (
    *("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"),
)


def _csi_volume(source: Obj, path: str) -> Problems:
    yield from _needed_driver(source, path)
    yield from follow(source, {"volumeHandle": need()}, path)
    for field in _CSI_SECRETS:
        if (reference := source.get(field)) is not None:
            yield from follow(reference, _SECRET_REFERENCE, f"{path}.{field}")


def _gluster_volume(source: Obj, path: str) -> Problems:
    yield from follow(source, {"endpoints": need(), "path": need()}, path)
    where, space = f"{path}.endpointsNamespace", source.get("endpointsNamespace")
    if space == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        yield FieldError.invalid(where, space, detail)
    elif space is not None:
        yield from matching(names.label)(space, where)


def _nfs(source: Obj, path: str) -> Problems:
    yield from follow(source, {"server": need(), "path": need()}, path)
    yield from _absolute(source.get("path") or "", f"{path}.path")


def _host_path(source: Obj, path: str) -> Problems:
    if not source.get("path"):
        yield FieldError.required(f"{path}.path")
        return
    yield from no_backsteps(source["path"], f"{path}.path")
    yield from follow(source, {"type": given(among(*_HOST_TYPES))}, path)


_NAMED_SECRET = given(inside({"name": need()}))
_PLACED_SECRET = given(inside({"name": need(), "namespace": need()}))


def _storage_os(secret: Rule) -> Table:
    label = matching(names.label)
    return {"volumeName": need(label), "volumeNamespace": may(label), "secretRef": secret}


_DISK = {"volumeID": need(), "partition": may(_partition)}
_SCALE_IO: Table = {"gateway": need(), "system": need(), "volumeName": need()}
_RBD: Table = {"monitors": need(), "image": need()}
_SHARED: Mapping[str, Check] = {
    "hostPath": _host_path,
    "gcePersistentDisk": inside({"pdName": need(), "partition": may(_partition)}),
    "awsElasticBlockStore": inside(_DISK),
    "nfs": _nfs,
    "iscsi": _iscsi,
    "flocker": _flocker,
    "rbd": inside(_RBD),
    "cephfs": inside({"monitors": need()}),
    "quobyte": _quobyte,
    "fc": _fc,
    "flexVolume": _flex,
    "vsphereVolume": inside({"volumePath": need()}),
    "photonPersistentDisk": inside({"pdID": need()}),
    "portworxVolume": inside({"volumeID": need()}),
    "azureDisk": _azure_disk,
    "scaleIO": inside(_SCALE_IO),
}
POD_SOURCES: Mapping[str, Check] = {
    **_SHARED,
    "gitRepo": inside({"repository": need(), "directory": may(local_path)}),
    "glusterfs": inside({"endpoints": need(), "path": need()}),
    "persistentVolumeClaim": inside({"claimName": need()}),
    "cinder": inside({"volumeID": need(), "secretRef": _NAMED_SECRET}),
    "azureFile": inside({"secretName": need(), "shareName": need()}),
    "storageos": inside(_storage_os(_NAMED_SECRET)),
    "csi": _csi_inline,
    "image": inside({"pullPolicy": need(among(*PULL_POLICIES))}),
}
"""Sources of pods, but for those of files (volume_checks)."""
VOLUME_SOURCES: Mapping[str, Check] = {
    **_SHARED,
    "glusterfs": _gluster_volume,
    "cinder": inside({"volumeID": need(), "secretRef": _PLACED_SECRET}),
    "azureFile": _azure_file_volume,
    "storageos": inside(_storage_os(_PLACED_SECRET)),
    "csi": _csi_volume,
    "local": inside({"path": need(no_backsteps)}),
}
"""Sources of PersistentVolumes."""
_SHOWN = {"gcePersistentDisk": "persistentDisk"}


def one_source(holder: Obj, path: str, sources: Mapping[str, Check]) -> Problems:
    """Exactly one of the sources, and what is wrong with it."""
    found = [field for field in sources if holder.get(field) is not None]
    if not found:
        yield FieldError.required(path, "must specify a volume type")
    for field in found[1:]:
        yield FieldError.forbidden(f"{path}.{field}", "may not specify more than 1 volume type")
    for field in found[:1]:
        yield from sources[field](holder[field], f"{path}.{_SHOWN.get(field, field)}")


def portal_too_long(source: Obj, name: str) -> bool:
    """An iSCSI session is named after the volume and the portal when it has an initiator of its own."""
    return source.get("initiatorName") is not None and len(f"{name}:{source.get('targetPortal', '')}") > _MOST_PORTAL


def portal_problem(path: str, value: str) -> FieldError:
    return FieldError.invalid(path, value, _PORTAL_TEXT)
