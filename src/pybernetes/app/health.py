"""Health of a process for whoever asks: /healthz, /livez and /readyz with ?verbose and single checks (/readyz/proxy).

Formats are those of Kubernetes' components: "ok", or one line a check with [+] or [-] and status 500.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pybernetes.api.objects import encode
from pybernetes.wire import Handler, Request, Response

Check = Callable[[], bool]
Fact = Callable[[], dict[str, Any]]
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain; charset=utf-8"}


def health_handler(ready: Mapping[str, Check], *, facts: Mapping[str, Fact] | None = None) -> Handler:
    """A handler that answers the three paths; /livez and /healthz ask nothing but that the loop turns.

    `facts` are further paths, by name, each answered with what it returns as JSON.
    """

    async def handle(request: Request) -> Response:
        _, endpoint, *rest = request.path.split("/")
        if facts and endpoint in facts and not rest and request.method in ("GET", "HEAD"):
            return Response(headers=JSON, body=encode(facts[endpoint]()) + b"\n")
        if request.method not in ("GET", "HEAD") or endpoint not in ("healthz", "livez", "readyz") or len(rest) > 1:
            return Response(status=404, headers=TEXT, body=b"404 page not found\n")
        checks = {"ping": lambda: True, **(ready if endpoint == "readyz" else {})}
        if rest:
            if rest[0] not in checks:
                return Response(status=404, headers=TEXT, body=b"404 page not found\n")
            checks = {rest[0]: checks[rest[0]]}
        return report(endpoint, {name: check() for name, check in checks.items()}, verbose="verbose" in request.query)

    return handle


def report(endpoint: str, results: Mapping[str, bool], *, verbose: bool) -> Response:
    """The answer for checked results."""
    passed = all(results.values())
    if passed and not verbose:
        return Response(headers=TEXT, body=b"ok")
    lines = [f"[{'+' if good else '-'}]{name} {'ok' if good else 'failed'}" for name, good in results.items()]
    lines.append(f"{endpoint} check {'passed' if passed else 'failed'}")
    return Response(status=200 if passed else 500, headers=TEXT, body="\n".join(lines).encode() + b"\n")
