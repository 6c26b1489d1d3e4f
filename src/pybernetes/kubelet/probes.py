"""Startup, readiness and liveness probes: one task per probe of a running container.

A probe runs from the node against the pod's address, or as an exec in the container. Before its first success a
readiness or startup probe is also tried quickly, without counting failures, so that a server which listens after
50 ms is not found out by a period of ten seconds.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from pybernetes.api.objects import Obj

from .runtime.protocol import Runtime, RuntimeFailure, Streams

QUICK_SECONDS = (0.02, 0.03, 0.05, 0.1, 0.1, 0.2, 0.25, 0.25)
_OUTPUT_LIMIT = 1024


class Outcome(NamedTuple):
    ok: bool
    message: str = ""


class Target(NamedTuple):
    """What a probe is about: the container and where its pod is."""

    container: str
    """Runtime id."""
    spec: Obj
    address: str


Check = Callable[[], Awaitable[Outcome]]


def port_number(container: Obj, port: int | str) -> int:
    """A port by number or by the name of a container port. Raises LookupError."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise LookupError(f"couldn't find port {port!r}")


class Prober:
    """Runs checks of probes; `run` drives one probe until cancelled."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def check(self, probe: Obj, target: Target) -> Outcome:
        """One attempt within timeoutSeconds."""
        seconds = float(probe.get("timeoutSeconds") or 1)
        try:
            async with asyncio.timeout(seconds):
                return await self.handle(probe, target)
        except TimeoutError:
            if "exec" in probe:
                words = " ".join(probe["exec"].get("command") or ())
                return Outcome(False, f'command "{words}" timed out')
            return Outcome(False, _timeout_text(probe, target))

    async def handle(self, handler: Obj, target: Target) -> Outcome:
        """One attempt without a bound in time; handlers of life-cycle hooks have the same form."""
        try:
            if (action := handler.get("exec")) is not None:
                return await self._exec(action, target)
            if (action := handler.get("httpGet")) is not None:
                return await _http(action, target)
            if (action := handler.get("tcpSocket")) is not None:
                return await _tcp(action, target)
            if (action := handler.get("grpc")) is not None:
                return await _tcp({"port": action["port"]}, target)
        except LookupError as error:
            return Outcome(False, str(error))
        return Outcome(True)

    async def _exec(self, action: Obj, target: Target) -> Outcome:
        output: list[bytes] = []

        async def keep(data: bytes) -> None:
            if sum(map(len, output)) < _OUTPUT_LIMIT:
                output.append(data)

        try:
            words = action.get("command") or ()
            code = await self.runtime.exec(target.container, words, io=Streams(stdout=keep, stderr=keep))
        except RuntimeFailure as error:
            return Outcome(False, error.message)
        return Outcome(code == 0, b"".join(output).decode("utf-8", "replace")[:_OUTPUT_LIMIT])

    async def run(
        self,
        kind: str,
        probe: Obj,
        target: Target,
        *,
        report: Callable[[bool, str], None],
        failed: Callable[[str], None],
    ) -> None:
        """Probe until cancelled. `report(True)` after successThreshold successes, `report(False)` after
        failureThreshold failures; `failed` for each failure that counts."""
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        period = float(probe.get("periodSeconds") or 10)
        needed = {True: int(probe.get("successThreshold") or 1), False: int(probe.get("failureThreshold") or 3)}
        if kind != "Liveness" and needed[True] == 1 and await self._quickly(probe, target, period):
            report(True, "")
            if kind == "Startup":
                return
            await asyncio.sleep(period)
        last, count = False, 0
        while True:
            outcome = await self.check(probe, target)
            count = count + 1 if outcome.ok == last else 1
            last = outcome.ok
            if not outcome.ok:
                failed(outcome.message)
            if count >= needed[outcome.ok]:
                report(outcome.ok, outcome.message)
                if kind == "Startup" and outcome.ok:
                    return
            await asyncio.sleep(period)

    async def _quickly(self, probe: Obj, target: Target, period: float) -> bool:
        """Try at short distances during the first period."""
        loop = asyncio.get_running_loop()
        until = loop.time() + period
        number = 0
        while True:
            if (await self.check(probe, target)).ok:
                return True
            wait = QUICK_SECONDS[min(number, len(QUICK_SECONDS) - 1)]
            if "exec" in probe:
                wait *= 4
            if loop.time() + wait > until:
                return False
            number += 1
            await asyncio.sleep(wait)


async def _tcp(action: Obj, target: Target) -> Outcome:
    host = action.get("host") or target.address
    port = port_number(target.spec, action["port"])
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: connect: {_why(error)}")
    writer.close()
    return Outcome(True)


async def _http(action: Obj, target: Target) -> Outcome:
    host = action.get("host") or target.address
    port = port_number(target.spec, action["port"])
    scheme = str(action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    url = f"{scheme}://{host}:{port}{path}"
    try:
        reader, writer = await asyncio.open_connection(
            host, port, ssl=_no_verification() if scheme == "https" else None
        )
    except OSError as error:
        return Outcome(False, f'Get "{url}": dial tcp {host}:{port}: connect: {_why(error)}')
    try:
        writer.write(_request(action, path, f"{host}:{port}"))
        status = await reader.readline()
        words = status.split(None, 2)
        if len(words) < 2 or not words[1].isdigit():
            return Outcome(False, f'Get "{url}": EOF')
        code = int(words[1])
        if 200 <= code < 400:
            return Outcome(True)
        return Outcome(False, f"HTTP probe failed with statuscode: {code}")
    except OSError as error:
        return Outcome(False, f'Get "{url}": {_why(error)}')
    finally:
        writer.close()


def _request(action: Obj, path: str, host: str) -> bytes:
    given = {header["name"].lower(): header for header in action.get("httpHeaders") or ()}
    lines = [f"GET {path} HTTP/1.1"]
    defaults = {"host": host, "user-agent": "kube-probe/1.37", "accept": "*/*", "connection": "close"}
    for name, value in defaults.items():
        if name not in given or name == "connection":
            lines.append(f"{name.title()}: {value}")
    lines += [f"{header['name']}: {header.get('value') or ''}" for header in given.values()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _no_verification() -> ssl.SSLContext:
    """Probes do not verify certificates (API reference, HTTPGetAction)."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: OSError) -> str:
    import os

    return os.strerror(error.errno).lower() if error.errno else str(error)


def _timeout_text(probe: Obj, target: Target) -> str:
    action = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
    try:
        port = port_number(target.spec, action.get("port", 0))
    except LookupError as error:
        return str(error)
    where = f"{action.get('host') or target.address}:{port}"
    if "httpGet" in probe:
        scheme = str(action.get("scheme") or "HTTP").lower()
        return f'Get "{scheme}://{where}{action.get("path") or "/"}": context deadline exceeded'
    return f"dial tcp {where}: i/o timeout"
