"""Requests to a cluster's API server byte by byte, as a careless or hostile client would send them."""

import base64
import http.client
import json
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml


class Answer(NamedTuple):
    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> dict[str, Any]:
        """The body, which must be a Status that tells of a failure with the answer's own code."""
        found: dict[str, Any] = json.loads(self.body)
        assert (found["kind"], found["apiVersion"], found["status"]) == ("Status", "v1", "Failure"), found
        assert found["code"] == self.code, found
        assert "Traceback" not in found["message"]
        return found


class RawApi:
    """A connection of its own for every request; the client certificate is the kubeconfig's, or none."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.address = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.stranger = ssl.create_default_context(cadata=authority)
        self.admin = ssl.create_default_context(cadata=authority)
        files = {}
        for part in ("certificate", "key"):
            files[part] = directory / f"raw-client.{part}"
            files[part].touch(0o600)
            files[part].write_bytes(base64.b64decode(user[f"client-{part}-data"]))
        self.admin.load_cert_chain(files["certificate"], files["key"])

    def send(
        self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None, known: bool = True
    ) -> Answer:
        connection = http.client.HTTPSConnection(
            self.address.hostname or "", self.address.port, timeout=60, context=self.admin if known else self.stranger
        )
        try:
            connection.request(method, path, body=body or None, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes | Any, content_type: str = "application/json") -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, body=data, headers={"Content-Type": content_type})
