"""The kubelet's server: logs, exec, attach, port-forward, for the API server alone; /healthz for everybody.

/containerLogs/{namespace}/{pod}/{container}   follow, tailLines, sinceSeconds, sinceTime, timestamps, previous, ...
/exec/... /attach/{namespace}/{pod}/{container} WebSocket, channels of remotecommand
/portForward/{namespace}/{pod}                  WebSocket, v4.channel.k8s.io (two channels for each port)
/pods /metrics /healthz
"""

import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pybernetes.api import times
from pybernetes.api.errors import ApiError, BadRequest, Forbidden, NotFound, Unauthorized
from pybernetes.api.objects import Key, Obj, encode
from pybernetes.wire import Channel, Pace, Request, Response, Upgrade, offered, wants_upgrade
from pybernetes.wire.answer import error_response
from pybernetes.wire.channels import Remote, choose
from pybernetes.wire.streams import SPDY_PLAIN, SPDY_PROTOCOLS, remote_of

from .lifecycle import newest
from .logs import LogOptions, read_log
from .peers import caller_of
from .portforward import CHANNELS, TUNNEL, forward_channels, tunnel
from .runtime.protocol import ContainerState, Phase, Runtime, RuntimeFailure, Streams


class Pods(Protocol):
    """What the server asks of the kubelet."""

    def pod(self, key: Key) -> Obj | None: ...

    def pods(self) -> Sequence[Obj]: ...

    def states(self, pod: Obj) -> Sequence[ContainerState]: ...

    def netns(self, pod: Obj) -> str | None:
        """The file of the pod's network namespace; None for the node's own."""
        ...

    def address(self, pod: Obj) -> str: ...


class _Found(NamedTuple):
    pod: Obj
    state: ContainerState


class KubeletServer:
    """A Handler over the pods of this node."""

    def __init__(
        self,
        pods: Pods,
        runtime: Runtime,
        *,
        clock: Callable[[], float],
        metrics: Callable[[], bytes],
        open: bool = False,
    ) -> None:
        """`open` asks nobody who they are: for tests over a loopback transport."""
        self.pods = pods
        self.runtime = runtime
        self.clock = clock
        self.metrics = metrics
        self.open = open

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except ApiError as error:
            return error_response(error)

    async def _answer(self, request: Request) -> Response:
        parts = [part for part in request.path.split("/") if part]
        if parts == ["healthz"]:
            return Response(headers={"content-type": "text/plain"}, body=b"ok")
        self._authorize(request)
        match parts:
            case ["containerLogs", namespace, pod, container]:
                return await self._logs(request, Key(namespace, pod), container)
            case ["exec", namespace, pod, container]:
                return await self._exec(request, Key(namespace, pod), container)
            case ["attach", namespace, pod, container]:
                return await self._attach(request, Key(namespace, pod), container)
            case ["portForward", namespace, pod]:
                return self._port_forward(request, Key(namespace, pod))
            case ["pods"]:
                return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(self.pods.pods())})
            case ["metrics"]:
                return Response(headers={"content-type": "text/plain; version=0.0.4"}, body=self.metrics())
        raise NotFound("404 page not found")

    def _authorize(self, request: Request) -> None:
        if self.open:
            return
        try:
            caller = caller_of(request.peer.certificate)
        except ValueError as error:
            raise Unauthorized(str(error)) from error
        if caller is None:
            raise Unauthorized("Unauthorized")
        if not caller.allowed:
            verb = request.method.lower()
            raise Forbidden(f"Forbidden (user={caller.user}, verb={verb}, resource=nodes, subresource(s)=[proxy])")

    # Logs

    async def _logs(self, request: Request, key: Key, container: str) -> Response:
        pod = self._pod(key)
        _spec(pod, container)
        attempts = newest(self.pods.states(pod)).get(container, [])
        if request.flag("previous"):
            attempts = attempts[1:] or [s for s in attempts if s.phase is Phase.EXITED]
            if not attempts:
                raise BadRequest(f'previous terminated container "{container}" in pod "{key.name}" not found')
        if not attempts or attempts[0].phase is Phase.CREATED:
            raise BadRequest(_not_running(pod, container))
        state = attempts[0]
        body = read_log(Path(state.log), _options(request, self.clock()), running=lambda: self._runs(pod, state.id))
        return Response(headers={"content-type": "text/plain"}, body=body, pace=Pace.FREE)

    def _runs(self, pod: Obj, container: str) -> bool:
        return any(s.id == container and s.phase is Phase.RUNNING for s in self.pods.states(pod))

    # exec and attach

    async def _exec(self, request: Request, key: Key, container: str) -> Response:
        argv = list(request.query.get("command", ()))
        if not argv:
            raise BadRequest("you must specify at least 1 command for the container")
        state = self._running(key, container).state
        tty = request.flag("tty")

        async def run(channel: Channel) -> None:
            async with remote_of(channel, wanted=_wanted(request, tty=tty)) as remote:
                try:
                    code = await self.runtime.exec(state.id, argv, io=_streams(request, remote, tty=tty), tty=tty)
                except RuntimeFailure as error:
                    await remote.fail(f"error executing command in container: {error.message}")
                else:
                    await remote.exit(code)

        return _upgrade(request, run)

    async def _attach(self, request: Request, key: Key, container: str) -> Response:
        found = self._running(key, container)
        tty = bool(_spec(found.pod, container).get("tty"))

        async def run(channel: Channel) -> None:
            async with remote_of(channel, wanted=_wanted(request, tty=tty)) as remote:
                try:
                    await self.runtime.attach(found.state.id, io=_streams(request, remote, tty=tty))
                except RuntimeFailure as error:
                    await remote.fail(f"error attaching to container: {error.message}")
                else:
                    await remote.exit(0)

        return _upgrade(request, run)

    def _running(self, key: Key, container: str) -> _Found:
        pod = self._pod(key)
        _spec(pod, container)
        attempts = newest(self.pods.states(pod)).get(container, [])
        if not attempts or attempts[0].phase is not Phase.RUNNING:
            raise NotFound(f'container not found ("{container}")')
        return _Found(pod, attempts[0])

    def _pod(self, key: Key) -> Obj:
        pod = self.pods.pod(key)
        if pod is None:
            raise NotFound(f'pod "{key.name}_{key.namespace}" not found')
        return pod

    # Port-forward

    def _port_forward(self, request: Request, key: Key) -> Response:
        netns = self.pods.netns(self._pod(key))
        names = offered(request)
        if TUNNEL in names or names == [SPDY_PLAIN]:
            return Response(upgrade=Upgrade(protocol=TUNNEL, run=lambda channel: tunnel(channel, netns)))
        if CHANNELS not in names:
            raise BadRequest(f"port-forward is spoken as {TUNNEL} or {CHANNELS}")
        asked = request.query.get("ports", request.query.get("port", ()))
        texts = [text for value in asked for text in value.split(",")]
        if not texts or not all(text.isdigit() and 0 < int(text) < 65536 for text in texts):
            raise BadRequest('query parameter "port" is required, a number from 1 to 65535')
        ports = [int(text) for text in texts]
        run = functools.partial(forward_channels, ports=ports, netns=netns)
        return Response(upgrade=Upgrade(protocol=CHANNELS, run=run))


def _spec(pod: Obj, name: str) -> Obj:
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in pod["spec"].get(field) or ():
            if container["name"] == name:
                return dict(container)
    raise NotFound(f'container "{name}" in pod "{pod["metadata"]["name"]}" is not available')


def _not_running(pod: Obj, container: str) -> str:
    """Why there is no log, in the words of the kubelet."""
    reason = "ContainerCreating"
    status = pod.get("status") or {}
    fields = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    for entry in (entry for field in fields for entry in status.get(field) or ()):
        if entry.get("name") == container:
            reason = ((entry.get("state") or {}).get("waiting") or {}).get("reason", reason)
    texts = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }
    return (
        f'container "{container}" in pod "{pod["metadata"]["name"]}" is waiting to start: {texts.get(reason, reason)}'
    )


def _options(request: Request, now: float) -> LogOptions:
    def whole(name: str) -> int | None:
        text = request.param(name)
        if not text:
            return None
        if not text.isdigit():
            raise BadRequest(f'{name}: "{text}" is not a number')
        return int(text)

    since = 0.0
    if (seconds := whole("sinceSeconds")) is not None:
        since = now - seconds
    elif text := request.param("sinceTime"):
        try:
            since = times.parse(text)
        except ValueError as error:
            raise BadRequest(str(error)) from error
    stream = request.param("stream").lower()
    return LogOptions(
        follow=request.flag("follow"),
        tail=whole("tailLines"),
        since=since,
        timestamps=request.flag("timestamps"),
        limit_bytes=whole("limitBytes"),
        stream=stream if stream in ("stdout", "stderr") else "",
    )


_ASKED = {"stdin": ("input", "stdin"), "stdout": ("output", "stdout"), "stderr": ("error", "stderr")}


def _wanted(request: Request, *, tty: bool) -> list[str]:
    """Which streams a request opens."""
    found = [name for name, params in _ASKED.items() if any(request.flag(param) for param in params)]
    return [name for name in found if name != "stderr"] + ["resize"] if tty else found


def _streams(request: Request, remote: Remote, *, tty: bool) -> Streams:
    wanted = _wanted(request, tty=tty)
    return Streams(
        stdin=remote.stdin if "stdin" in wanted else None,
        stdout=remote.stdout if "stdout" in wanted else None,
        stderr=remote.stderr if "stderr" in wanted else None,
        resize=remote.resize if "resize" in wanted else None,
    )


def _upgrade(request: Request, run: Callable[[Channel], Awaitable[None]]) -> Response:
    if not wants_upgrade(request):
        raise BadRequest("Upgrade request required")
    names = offered(request)
    protocol = next((name for name in names if name in SPDY_PROTOCOLS), None) or choose(", ".join(names))
    if protocol is None:
        raise BadRequest("none of the subprotocols offered is spoken here")
    return Response(upgrade=Upgrade(protocol=protocol, run=run))


def _json(value: Obj) -> Response:
    return Response(headers={"content-type": "application/json"}, body=encode(value))
