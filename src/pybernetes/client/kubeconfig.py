"""kubeconfig files: which server, which CA, which credential (API type v1 Config of client-go).

Written with the credentials embedded and readable by the owner alone; read with data or file references.
"""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import yaml

from pybernetes.api.objects import Obj


class Kubeconfig(msgspec.Struct, frozen=True, kw_only=True):
    """One context, resolved. `ca`, `certificate` and `key` are PEM bytes (b"" without one)."""

    server: str
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    namespace: str = "default"
    server_name: str = ""
    insecure: bool = False
    name: str = "pybernetes"
    user: str = "admin"


class BadKubeconfig(ValueError):
    """The file is not a usable kubeconfig; the text says what is missing."""


def load(path: Path | str, *, context: str = "") -> Kubeconfig:
    """The context named, else the current one. Raises OSError, BadKubeconfig."""
    path = Path(path)
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise BadKubeconfig(f"{path}: not YAML: {error}") from error
    if not isinstance(config, dict):
        raise BadKubeconfig(f"{path}: not a kubeconfig")
    chosen = context or str(config.get("current-context") or "")
    found = _entry(path, config, "contexts", "context", chosen)
    cluster = _entry(path, config, "clusters", "cluster", str(found.get("cluster", "")))
    user = _entry(path, config, "users", "user", str(found["user"])) if found.get("user") else {}
    folder = path.parent
    token_file = user.get("tokenFile")
    return Kubeconfig(
        server=str(cluster.get("server", "")),
        ca=_data(folder, cluster, "certificate-authority"),
        certificate=_data(folder, user, "client-certificate"),
        key=_data(folder, user, "client-key"),
        token=str(user.get("token") or ((folder / str(token_file)).read_text().strip() if token_file else "")),
        namespace=str(found.get("namespace") or "default"),
        server_name=str(cluster.get("tls-server-name") or ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        name=str(found.get("cluster", "")),
        user=str(found.get("user", "")),
    )


def write(path: Path | str, config: Kubeconfig) -> None:
    """Write `config` as the only context of a file with mode 0600, in one step (a reader never sees half of it)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(dump(config))
    temporary.replace(path)


def dump(config: Kubeconfig) -> str:
    """The YAML text."""
    cluster: Obj = {"server": config.server}
    _embed(cluster, "certificate-authority-data", config.ca)
    if config.server_name:
        cluster["tls-server-name"] = config.server_name
    if config.insecure:
        cluster["insecure-skip-tls-verify"] = True
    user: Obj = {}
    _embed(user, "client-certificate-data", config.certificate)
    _embed(user, "client-key-data", config.key)
    if config.token:
        user["token"] = config.token
    context: Obj = {"cluster": config.name, "user": config.user}
    if config.namespace not in ("", "default"):
        context["namespace"] = config.namespace
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": config.name, "cluster": cluster}],
        "users": [{"name": config.user, "user": user}],
        "contexts": [{"name": config.name, "context": context}],
        "current-context": config.name,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _entry(path: Path, config: Mapping[str, Any], section: str, field: str, name: str) -> Obj:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return cast(Obj, entry.get(field) or {})
    raise BadKubeconfig(f"{path}: no {field} named {name!r}")


def data_of(section: Mapping[str, Any], field: str) -> bytes:
    """What is embedded in a section, b"" for nothing."""
    return base64.b64decode(section.get(f"{field}-data") or "")


def _data(folder: Path, section: Mapping[str, Any], field: str) -> bytes:
    if data := data_of(section, field):
        return data
    if file := section.get(field):
        return (folder / str(file)).read_bytes()
    return b""


def _embed(section: Obj, field: str, data: bytes) -> None:
    if data:
        section[field] = base64.b64encode(data).decode()
