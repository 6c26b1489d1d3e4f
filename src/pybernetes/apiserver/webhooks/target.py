"""Where a webhook is: a clientConfig's URL, or a ready endpoint of the Service it names, with what TLS must verify."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from pybernetes.api import resources
from pybernetes.api.objects import Obj, labels_of
from pybernetes.api.resources import Resource

_SERVICE_LABEL = "kubernetes.io/service-name"
_HTTPS = 443


class Reader(Protocol):
    """Objects as they are now, from memory."""

    def read(self, row: Resource, namespace: str, name: str) -> Obj | None: ...

    def select(self, row: Resource, namespace: str = "") -> Sequence[Obj]: ...


class Unresolved(Exception):
    """A clientConfig that leads nowhere now; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place to post to. `server` is the base URL to dial, `shown` the URL as it stands in errors."""

    server: str
    path: str
    shown: str
    host: str
    query: Mapping[str, Sequence[str]]
    server_name: str = ""
    """The name the certificate must bear, where it is not the dialled host's."""
    ca: bytes = b""


def targets(client: Obj, reader: Reader) -> list[Target]:
    """All places that a clientConfig means now, in no order. Raises Unresolved."""
    ca = base64.b64decode(client.get("caBundle") or "")
    if client.get("url"):
        return [_of_url(str(client["url"]), ca)]
    service = client.get("service")
    if not service:
        raise Unresolved("webhook configuration must have either service or URL")
    return _of_service(service, reader, ca)


def shown(client: Obj) -> str:
    """The URL that a clientConfig means, as it stands in errors; it needs nobody behind it. Raises Unresolved."""
    if client.get("url"):
        return _of_url(str(client["url"]), b"").shown
    if not client.get("service"):
        raise Unresolved("webhook configuration must have either service or URL")
    return _service(client["service"])[1]


def _service(reference: Obj) -> tuple[str, str, str]:
    """(host:port, URL, path) of a reference to a Service."""
    port = int(reference.get("port") or _HTTPS)
    path = "/" + str(reference.get("path") or "").lstrip("/")
    host = f"{reference['name']}.{reference['namespace']}.svc:{port}"
    return host, f"https://{host}{path}", path


def _of_url(url: str, ca: bytes) -> Target:
    parts = urlsplit(url)
    return Target(
        server=f"{parts.scheme}://{parts.netloc}",
        path=unquote(parts.path) or "/",
        shown=f"{parts.scheme}://{parts.netloc}{parts.path}",
        host=parts.netloc,
        query=parse_qs(parts.query, keep_blank_values=True),
        ca=ca,
    )


def _of_service(reference: Obj, reader: Reader, ca: bytes) -> list[Target]:
    """The road is the endpoints' own addresses: a host needs no service proxy for it (as pod proxying)."""
    namespace, name = str(reference["namespace"]), str(reference["name"])
    host, url, path = _service(reference)
    server_name, _, port = host.rpartition(":")
    return [
        Target(server=f"https://{address}", path=path, shown=url, host=host, query={}, server_name=server_name, ca=ca)
        for address in _addresses(reader, namespace, name, port=int(port))
    ]


def _addresses(reader: Reader, namespace: str, name: str, *, port: int) -> list[str]:
    """host:port of each ready endpoint behind a service's port. Raises Unresolved."""
    service = reader.read(resources.SERVICES, namespace, name)
    if service is None:
        raise Unresolved(f'service "{name}" not found')
    spec: Mapping[str, Any] = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return [f"{spec['externalName']}:{port}"]
    wanted = next((one for one in spec.get("ports") or () if one.get("port") == port), None)
    if wanted is None:
        raise Unresolved(f'no service port {port} found for service "{name}"')
    found = [
        address
        for piece in reader.select(resources.ENDPOINT_SLICES, namespace)
        if labels_of(piece).get(_SERVICE_LABEL) == name
        for address in _ready(piece, wanted.get("name") or "")
    ]
    if not found:
        raise Unresolved(f'no endpoints available for service "{name}"')
    return found


def _ready(piece: Obj, port_name: str) -> list[str]:
    numbers = [
        one["port"] for one in piece.get("ports") or () if (one.get("name") or "") == port_name and one.get("port")
    ]
    ready = [one for one in piece.get("endpoints") or () if (one.get("conditions") or {}).get("ready", True)]
    return [f"{_bracketed(one['addresses'][0])}:{number}" for one in ready for number in numbers]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
