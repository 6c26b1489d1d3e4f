"""/healthz, /livez, /readyz: one word, or a line for each check with ?verbose; one check by its own path."""

import logging
from collections.abc import Callable, Mapping

from pybernetes.wire import Request, Response

from ..route import missing

log = logging.getLogger("pybernetes.apiserver.health")

Check = Callable[[], str]
"""What is wrong; "" when nothing is."""
_TEXT = {
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-cache, private",
    "x-content-type-options": "nosniff",
}


class Health:
    """`alive` makes /healthz and /livez, `ready` is asked in addition for /readyz."""

    def __init__(self, *, alive: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._alive = dict(alive)
        self._ready = self._alive | dict(ready)

    def serve(self, request: Request) -> Response:
        """Raises NotFound for a check there is none of."""
        _, kind, *one = request.path.split("/")
        checks = self._ready if kind == "readyz" else self._alive
        if one and one[0]:
            if one[0] not in checks or len(one) > 1:
                raise missing()
            why = checks[one[0]]()
            body = f"internal server error: {why}\n" if why else "ok"
            return Response(status=500 if why else 200, headers=_TEXT, body=body.encode())
        return self._all(kind, checks, request)

    def _all(self, kind: str, checks: Mapping[str, Check], request: Request) -> Response:
        """Everybody may ask, so the reasons are for the log only."""
        excluded = set(request.query.get("exclude", ()))
        lines, failed = [], []
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif why := check():
                lines.append(f"[-]{name} failed: reason withheld")
                failed.append(f"{name}: {why}")
            else:
                lines.append(f"[+]{name} ok")
        if unknown := excluded - checks.keys():
            names = ",".join(f'"{name}"' for name in sorted(unknown))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
        if failed:
            log.info("health check failed kind=%s failed=%s", kind, "; ".join(failed))
        elif "verbose" not in request.query:
            return Response(headers=_TEXT, body=b"ok")
        lines.append(f"{kind} check {'failed' if failed else 'passed'}")
        return Response(status=500 if failed else 200, headers=_TEXT, body="\n".join(lines).encode() + b"\n")
