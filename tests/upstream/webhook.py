"""The mutating webhook that makes the suite's pods run here: over TLS on loopback, registered in the cluster by URL.

It sees pods as they are made, and ephemeral containers as they are added; nothing else. What stays of it in a pod is
the image and the command.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pybernetes.pki import Authority

from .images import patch

NAME = "images.upstream.example"
_LOOPBACK = "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    """One AdmissionReview a POST (admission.k8s.io/v1)."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps(review(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Not logged: the API server tells of what failed."""


def review(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The AdmissionReview that answers one; every pod is allowed."""
    request = asked["request"]
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    if steps := patch(request["object"]):
        encoded = base64.b64encode(json.dumps(steps).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": encoded}
    return {"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": response}


@contextmanager
def serving(directory: Path) -> Iterator[dict[str, Any]]:
    """Serves while the block runs; gives the MutatingWebhookConfiguration to register. Keys go to `directory`."""
    authority = Authority.ensure(directory, name="upstream-webhook")
    pair = authority.issue("webhook", user=NAME, addresses=[_LOOPBACK], server=True, client=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ThreadingHTTPServer((_LOOPBACK, 0), _Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, name="webhook")
    thread.start()
    try:
        yield configuration(
            f"https://{_LOOPBACK}:{server.server_address[1]}/", Path(authority.certificate).read_bytes()
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configuration(url: str, authority: bytes) -> dict[str, Any]:
    """The MutatingWebhookConfiguration. Called again when another webhook adds containers (IfNeeded)."""
    core = {"apiGroups": [""], "apiVersions": ["v1"], "scope": "Namespaced"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [
            {
                "name": NAME,
                "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
                "rules": [
                    core | {"operations": ["CREATE"], "resources": ["pods"]},
                    core | {"operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]},
                ],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "reinvocationPolicy": "IfNeeded",
                "failurePolicy": "Fail",
                "timeoutSeconds": 10,
            }
        ],
    }
