"""What the cluster DNS tells by HTTP, under CoreDNS' paths: /health, /ready, /metrics; and those of every component.

CoreDNS has a port for each (8080, 8181, 9153). Here every port shows all of them.
"""

from collections.abc import Awaitable, Callable

from pybernetes.wire import Handler, Request, Response

from .health import TEXT, Check, health_handler
from .service_proxy import METRICS

_READY_LACKS = b"kubernetes"
"""What CoreDNS' /ready names when the cluster is not known: the plugin that waits for it."""


def pages(ready: Check, metrics: Callable[[], Awaitable[bytes]]) -> Handler:
    """A handler. /health is 200 while the process lives; /ready is 503 until the cluster is known, and at the end."""
    others = health_handler({"dns": ready})

    async def handle(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return await others(request)
        match request.path:
            case "/health":
                return Response(headers=TEXT, body=b"OK")
            case "/ready":
                fine = ready()
                return Response(status=200 if fine else 503, headers=TEXT, body=b"OK" if fine else _READY_LACKS)
            case "/metrics":
                return Response(headers=METRICS, body=await metrics())
        return await others(request)

    return handle
