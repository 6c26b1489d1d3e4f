"""/healthz, /livez, /readyz: one word, or a line for each check with ?verbose; one check by its own path."""

from collections.abc import Callable, Mapping

from pybernetes.wire import Request, Response

from ..route import missing

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
            checks = {one[0]: checks[one[0]]}
        excluded = set(request.query.get("exclude", ()))
        found = {name: check() for name, check in checks.items() if name not in excluded}
        failed = any(found.values())
        if not failed and ("verbose" not in request.query or one):
            return Response(headers=_TEXT, body=b"ok")
        lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in found.items()]
        lines += [f"[+]{name} excluded: ok" for name in sorted(excluded & set(checks))]
        lines.append(f"{kind} check {'failed' if failed else 'passed'}")
        return Response(status=500 if failed else 200, headers=_TEXT, body="\n".join(lines).encode() + b"\n")
