"""/healthz, /livez, /readyz: one word, or a line for each check with ?verbose; one check by its own path."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pybernetes.wire import Request, Response

from ..route import missing

log = logging.getLogger("pybernetes.apiserver.health")

Check = Callable[[], str]
"""What is wrong; "" when nothing is."""
_TEXT = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}


class Health(Collector):
    """`alive` makes /healthz and /livez, `ready` is asked in addition for /readyz."""

    def __init__(self, *, alive: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._alive = dict(alive)
        self._ready = self._alive | dict(ready)
        self._results: Counter[tuple[str, str, str]] = Counter()
        self._latest: dict[tuple[str, str], bool] = {}

    def serve(self, request: Request) -> Response:
        """Raises NotFound for a check there is none of."""
        _, kind, *one = request.path.split("/")
        checks = self._ready if kind == "readyz" else self._alive
        if one and one[0]:
            if one[0] not in checks or len(one) > 1:
                raise missing()
            why = self._asked(kind, one[0], checks[one[0]])
            body = f"internal server error: {why}\n" if why else "ok"
            return Response(status=500 if why else 200, headers=_TEXT, body=body.encode())
        return self._all(kind, checks, request)

    def _asked(self, kind: str, name: str, check: Check) -> str:
        why = check()
        self._results[name, kind, "error" if why else "success"] += 1
        self._latest[name, kind] = not why
        return why

    def collect(self) -> Iterator[Metric]:
        """What /metrics/slis tells: each check's latest result (1 is good), and how often it had which."""
        latest = GaugeMetricFamily("kubernetes_healthcheck", "The latest result of a check.", labels=("name", "type"))
        for name, well in self._latest.items():
            latest.add_metric(name, float(well))
        labels = ("name", "type", "status")
        results = CounterMetricFamily("kubernetes_healthchecks", "Results of checks.", labels=labels)
        for found, count in self._results.items():
            results.add_metric(found, count)
        yield from (latest, results)

    @property
    def paths(self) -> list[str]:
        """Where each check is asked for."""
        alive = [f"/{kind}/{name}" for kind in ("healthz", "livez") for name in self._alive]
        return ["/healthz", "/livez", "/readyz", *alive, *(f"/readyz/{name}" for name in self._ready)]

    def _all(self, kind: str, checks: Mapping[str, Check], request: Request) -> Response:
        """Everybody may ask, so the reasons are for the log only."""
        excluded = set(request.query.get("exclude", ()))
        lines, failed = [], []
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif why := self._asked(kind, name, check):
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
