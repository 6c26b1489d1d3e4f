"""One pod's worker: asks `plan` what to do, does it, and keeps the status in the API true. One task per pod.

Slow things (stopping, hooks, probes, status writes) are tasks beside the loop, so that a pod in its grace period still
says at once that it is no longer ready.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pybernetes.api import times
from pybernetes.api.errors import ApiError, Conflict, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, metadata, name_of, namespace_of, revision_of, uid_of
from pybernetes.api.resources import PODS
from pybernetes.client import Client
from pybernetes.control import EventSink

from . import files
from .config import KubeletConfig
from .containers import Setting, container_spec
from .environment import ConfigError, environment, service_variables
from .health import Health, Running
from .lifecycle import Backoff, newest
from .network import PodNetwork
from .plan import (
    Action,
    Finish,
    MakeSandbox,
    Observed,
    RemoveContainer,
    StartContainer,
    StopContainer,
    plan,
)
from .probes import Prober, Target
from .references import Reference, References, references_of
from .runtime.protocol import ContainerState, ImageMissing, Phase, Runtime, RuntimeFailure
from .status import SCHEME, Facts, Waiting, difference, pod_status
from .tokens import PodTokens
from .volumes import PodVolumes, VolumeError, mounts, written

log = logging.getLogger(__name__)

PULL_BACKOFF_AFTER_SECONDS = 1.0
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
CONFIG_RETRY_SECONDS = 5.0
MESSAGE_LIMIT, LOG_MESSAGE_LIMIT = 4096, 2048


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What all workers of a node share."""

    config: KubeletConfig
    client: Client
    runtime: Runtime
    network: PodNetwork
    events: EventSink
    references: References
    services: Callable[[], Iterable[Obj]]
    services_synced: asyncio.Event
    """Set once Services are known: no container starts before."""
    allocatable: Mapping[str, str]
    clock: Callable[[], float]


@dataclass(slots=True)
class _Trouble:
    """Why a container (or "" for the whole pod) cannot be started, and when to try again."""

    waiting: Waiting
    until: float
    since: float
    count: int = 1


@dataclass
class _Memory:
    """What a worker remembers between steps; all of it may be lost without harm."""

    sandbox: bool = False
    released: bool = False
    orphan: bool = False
    renew_at: float = 0.0
    stopping: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    backoffs: dict[str, Backoff] = field(default_factory=dict)
    troubles: dict[str, _Trouble] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)


class PodWorker:
    """Runs one pod until it is gone. `update`, `orphaned` and `wake` are synchronous and may be called at any time."""

    def __init__(self, pod: Obj, tools: Tools) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.key: Key = key_of(pod)
        self.tools = tools
        self.finished = False
        self.status: Obj = dict(pod.get("status") or {})
        self.volumes = PodVolumes(tools.config.state / "pods" / self.uid)
        self._memory = _Memory()
        self._states: list[ContainerState] = []
        self._paths: dict[str, Path] = {}
        self._tokens = PodTokens(tools.client)
        self._prober = Prober(tools.runtime)
        self._health: Health | None = None
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._renew = False

    def __repr__(self) -> str:
        return f"PodWorker({self.key})"

    # From outside

    def update(self, pod: Obj) -> None:
        """A newer state of the pod."""
        if _revision(pod) < _revision(self.pod):
            return
        old, new = (metadata(one).get("deletionGracePeriodSeconds") for one in (self.pod, pod))
        renamed = any(metadata(self.pod).get(what) != metadata(pod).get(what) for what in ("labels", "annotations"))
        self.pod = pod
        if renamed:
            self.renew()  # downwardAPI volumes show them
        if new is not None and old is not None and new < old:
            self._forget_stops()  # asked again with less patience
        self.wake()

    def orphaned(self) -> None:
        """The pod is gone from the API: end it."""
        self._memory.orphan = True
        if is_deleting(self.pod):
            self._forget_stops()
        self.wake()

    def renew(self) -> None:
        """Something that its volumes or variables refer to has changed."""
        self._renew = True
        for name in [
            n for n, t in self._memory.troubles.items() if t.waiting.reason == "CreateContainerConfigError" or not n
        ]:
            self._memory.troubles[name].until = 0.0
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    @property
    def states(self) -> Sequence[ContainerState]:
        return self._states

    # The loop

    async def run(self) -> None:
        """Until the pod is gone; cancelling leaves its containers running."""
        group = asyncio.TaskGroup()
        async with group:
            self._health = Health(self._prober, group, changed=self.wake, failed=self._probe_failed)
            statuses = [
                *(self.status.get("containerStatuses") or ()),
                *(self.status.get("initContainerStatuses") or ()),
            ]
            self._health.take_over(statuses, SCHEME)
            writer = group.create_task(self._keep_status(), name=f"status-{self.key}")
            failures = 0
            while not self.finished:
                self._wake.clear()
                try:
                    again = await self._steps(group)
                    failures = 0
                except Exception:
                    log.exception("pod worker failed key=%s", self.key)
                    again = self.tools.clock() + RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                    failures += 1
                if not self.finished:
                    await self._sleep(again)
            writer.cancel()
            self._health.stop()

    async def _sleep(self, again: float) -> None:
        seconds = self.tools.config.resync_seconds
        if again:
            seconds = min(seconds, max(again - self.tools.clock(), 0.0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can swallow a cancellation
                await self._wake.wait()

    async def _steps(self, group: asyncio.TaskGroup) -> float:
        """Plan and act until nothing is left to do now; returns when to come again."""
        while True:
            await self._look()
            result = plan(self.pod, self._observed(), now=self.tools.clock())
            self._explain(result.waiting)
            self._publish()
            for action in result.actions:
                await self._act(action, group)
                if self.finished:
                    return 0.0
            await self._look()
            self._publish()
            if not any(isinstance(action, MakeSandbox | StartContainer) for action in result.actions):
                renewed = await self._renew_volumes()
                return min((at for at in (result.again, renewed, self._next_trouble()) if at), default=0.0)

    async def _look(self) -> None:
        """Read what the runtime has of this pod, and have the right probes running."""
        self._states = [state for state in await self.tools.runtime.list() if state.sandbox == self.uid]
        for state in self._states:
            if state.phase is Phase.EXITED and state.id not in self._memory.messages:
                self._memory.messages[state.id] = self._termination_message(state)
        specs = {container["name"]: container for container in self._containers()}
        running = [
            Running(attempts[0], specs[name])
            for name, attempts in newest(self._states).items()
            if name in specs and attempts[0].phase is Phase.RUNNING
        ]
        assert self._health is not None
        self._health.sync(running, address=self._address(), stopping=frozenset(self._memory.stopping))

    def _containers(self) -> list[Obj]:
        spec = self.pod["spec"]
        return [*(spec.get("initContainers") or ()), *spec["containers"]]

    def _observed(self) -> Observed:
        memory = self._memory
        assert self._health is not None
        return Observed(
            containers=self._states,
            sandbox=memory.sandbox,
            sandbox_retry=memory.troubles[""].until if "" in memory.troubles else 0.0,
            stopping=frozenset(memory.stopping),
            started=frozenset(self._health.started),
            unhealthy=dict(self._health.unhealthy),
            backoffs=memory.backoffs,
            blocked={name: trouble.until for name, trouble in memory.troubles.items() if name},
            released=memory.released,
            orphan=memory.orphan,
        )

    def _next_trouble(self) -> float:
        return min((t.until for t in self._memory.troubles.values() if t.until > self.tools.clock()), default=0.0)

    def _spawn(self, group: asyncio.TaskGroup, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("pod task failed key=%s task=%s", self.key, name)

        return group.create_task(guarded(), name=name)

    async def _act(self, action: Action, group: asyncio.TaskGroup) -> None:
        match action:
            case MakeSandbox():
                await self._make_sandbox()
            case StartContainer():
                await self._start(action, group)
            case StopContainer():
                self._memory.stopping[action.id] = self._spawn(group, self._stop(action), f"stop-{action.name}")
            case RemoveContainer():
                await self.tools.runtime.remove(action.id)
                self._memory.messages.pop(action.id, None)
            case Finish():
                await self._finish(delete=action.delete)

    # Sandbox

    async def _make_sandbox(self) -> None:
        try:
            await self._prepare()
        except (VolumeError, ConfigError) as error:
            self._troubled("", Waiting("ContainerCreating"))
            self._event("Warning", "FailedMount", str(error))
        except (ApiError, ConnectionError, TimeoutError) as error:
            self._troubled("", Waiting("ContainerCreating"))
            self._event(
                "Warning", "FailedMount", f"MountVolume.SetUp failed: {error or 'timed out waiting for the API'}"
            )
        except (OSError, RuntimeFailure, RuntimeError) as error:
            log.warning("sandbox failed key=%s error=%s", self.key, error)
            self._troubled("", Waiting("ContainerCreating"))
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        else:
            self._memory.troubles.pop("", None)
            self._memory.sandbox = True

    async def _prepare(self) -> None:
        tools, wanted = self.tools, references_of(self.pod)
        tools.references.need(self.uid, wanted)
        host = bool(self.pod["spec"].get("hostNetwork"))
        if not host:
            await tools.network.set_up(self.uid)
        await tools.references.synced(wanted)
        await self._build_volumes()
        self._write_etc(host)
        await tools.runtime.sandbox(self.pod, netns="" if host else tools.network.path(self.uid))

    async def _build_volumes(self) -> None:
        self._memory.renew_at = await self._tokens.refresh(self.pod, now=self.tools.clock())
        self._paths = self.volumes.build(
            self.pod,
            lookup=self._lookup,
            token=self._tokens.get,
            status=self._status(),
            allocatable=self.tools.allocatable,
        )

    async def _renew_volumes(self) -> float:
        """After a change of what they refer to, or when a token is due; returns when the next is."""
        memory = self._memory
        due = memory.renew_at and memory.renew_at <= self.tools.clock()
        if memory.sandbox and (self._renew or due):
            self._renew = False
            try:
                await self._build_volumes()
            except (VolumeError, ConfigError) as error:
                self._event("Warning", "FailedMount", str(error))
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.warning("volumes not renewed key=%s error=%s", self.key, error)
                memory.renew_at = self.tools.clock() + 10.0
        return memory.renew_at

    def _write_etc(self, host: bool) -> None:
        config, etc = self.tools.config, self.volumes.etc
        etc.mkdir(parents=True, exist_ok=True)
        node = files.parse_resolv(_read_text(Path(config.resolv_conf)))
        settings = files.dns(self.pod, node=node, cluster_dns=config.cluster_dns, domain=config.cluster_domain)
        hosts = files.hosts(
            self.pod, addresses=self._addresses(), node_name=config.node_name, domain=config.cluster_domain
        )
        if host:
            hosts = f"# Kubernetes-managed hosts file (host network).\n{_read_text(Path('/etc/hosts'))}"
        name = files.hostname(self.pod, node_name=config.node_name)
        for file, text in (("hosts", hosts), ("resolv.conf", files.resolv(settings)), ("hostname", name + "\n")):
            path = etc / file
            if not path.exists():  # running containers may have changed theirs
                path.write_text(text)

    def _lookup(self, kind: str, name: str) -> Obj | None:
        return self.tools.references.get(Reference(kind, namespace_of(self.pod), name))

    def _address(self) -> str:
        """Of the primary family, "" before there is a network."""
        return next(iter(self._addresses()), "")

    def _addresses(self) -> tuple[str, ...]:
        """One of each family, () before there is a network."""
        if self.pod["spec"].get("hostNetwork"):
            return self.tools.config.node_addresses
        return self.tools.network.addresses(self.uid)

    # Containers

    async def _start(self, action: StartContainer, group: asyncio.TaskGroup) -> None:
        container = next(one for one in self._containers() if one["name"] == action.name)
        if action.attempt > 0:
            before = self._memory.backoffs.get(action.name, Backoff())
            self._memory.backoffs[action.name] = before.raised(self.tools.clock())
        try:
            image = await self._pull(container)
            identifier = await self._create(container, action.attempt, image)
            self._event("Normal", "Created", f"Created container: {action.name}", container)
            await self.tools.runtime.start(identifier)
        except ImageMissing as error:
            self._image_missing(container, error)
        except (ConfigError, VolumeError) as error:
            self._troubled(action.name, Waiting("CreateContainerConfigError", str(error)), CONFIG_RETRY_SECONDS)
            self._event("Warning", "Failed", f"Error: {error}", container)
        except (RuntimeFailure, OSError) as error:
            self._not_started(container, error)
        else:
            self._memory.troubles.pop(action.name, None)
            self._event("Normal", "Started", f"Started container {action.name}", container)
            hook = (container.get("lifecycle") or {}).get("postStart")
            if hook:
                self._spawn(group, self._post_start(container, identifier, hook), f"postStart-{action.name}")

    async def _pull(self, container: Obj) -> str:
        image = str(container.get("image") or "")
        if container.get("imagePullPolicy") == "Never":
            try:
                return await self.tools.runtime.pull(image)
            except ImageMissing as error:
                message = f'Container image "{image}" is not present with pull policy of Never'
                raise ImageMissing("ErrImageNeverPull", message) from error
        reference = await self.tools.runtime.pull(image)
        self._event("Normal", "Pulled", f'Container image "{image}" already present on machine', container)
        return reference

    def _image_missing(self, container: Obj, error: ImageMissing) -> None:
        name, image = container["name"], container.get("image")
        if error.reason in ("ErrImageNeverPull", "InvalidImageName"):
            self._event("Warning", error.reason, error.message, container)
            self._event("Warning", "Failed", f"Error: {error.reason}", container)
        else:
            self._event("Normal", "Pulling", f'Pulling image "{image}"', container)
            self._event("Warning", "Failed", f'Failed to pull image "{image}": {error.message}', container)
            self._event("Warning", "Failed", f"Error: {error.reason}", container)
        before = self._memory.troubles.get(name)
        count = before.count if before else 0
        self._troubled(name, Waiting(error.reason, error.message), min(10.0 * 2**count, 300.0))

    def _not_started(self, container: Obj, error: RuntimeFailure | OSError) -> None:
        failure = error if isinstance(error, RuntimeFailure) else RuntimeFailure("CreateContainerError", str(error))
        self._event("Warning", "Failed", f"Error: {failure.message}", container)
        if failure.reason == "RunContainerError":
            # it is an exited container now, and comes back by the back-off of the restart policy
            self._memory.troubles[container["name"]] = _Trouble(
                Waiting(failure.reason, failure.message), 0.0, self.tools.clock()
            )
        else:
            self._troubled(container["name"], Waiting(failure.reason, failure.message), CONFIG_RETRY_SECONDS)

    async def _create(self, container: Obj, attempt: int, image: str) -> str:
        tools, name = self.tools, container["name"]
        await tools.services_synced.wait()
        variables = environment(
            self.pod,
            container,
            services=service_variables(self.pod, tools.services()),
            lookup=self._lookup,
            status=self._status(),
            allocatable=tools.allocatable,
        )
        termination = self.volumes.directory / "termination" / f"{name}-{attempt}"
        termination.parent.mkdir(parents=True, exist_ok=True)
        termination.touch(mode=0o666)
        termination.chmod(0o666)
        setting = Setting(
            environment=variables,
            mounts=mounts(container, self._paths, variables, ours=written(self.pod)),
            etc=self.volumes.etc,
            termination=termination,
            log=self.logs / name / f"{attempt}.log",
            node_name=tools.config.node_name,
        )
        spec = container_spec(self.pod, container, attempt, setting)
        return await tools.runtime.create(self.uid, spec, image=image)

    @property
    def logs(self) -> Path:
        """The directory of this pod's logs."""
        return logs_directory(self.tools.config, self.pod)

    async def _post_start(self, container: Obj, identifier: str, hook: Obj) -> None:
        outcome = await self._prober.handle(hook, Target(identifier, container, self._address()))
        if not outcome.ok:
            self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.message}", container)
            assert self._health is not None
            self._health.unhealthy[identifier] = f"FailedPostStartHook: container {container['name']} is ended"
            self.wake()

    async def _stop(self, action: StopContainer) -> None:
        """preStop and SIGTERM within the grace, then SIGKILL."""
        container = next((one for one in self._containers() if one["name"] == action.name), {})
        self._event("Normal", "Killing", action.reason, container)
        grace = action.grace_seconds
        hook = (container.get("lifecycle") or {}).get("preStop")
        try:
            if hook and grace > 0:
                grace = await self._pre_stop(hook, action, container, grace)
            await self.tools.runtime.stop(action.id, grace=grace)
        except RuntimeFailure as error:
            log.warning("stop failed key=%s container=%s error=%s", self.key, action.name, error)
        finally:
            if self._memory.stopping.get(action.id) is asyncio.current_task():
                del self._memory.stopping[action.id]
            self.wake()

    async def _pre_stop(self, hook: Obj, action: StopContainer, container: Obj, grace: float) -> float:
        """Returns what is left of the grace, two seconds at least."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(grace):
                if (pause := hook.get("sleep")) is not None:
                    await asyncio.sleep(float(pause["seconds"]))
                else:
                    outcome = await self._prober.handle(hook, Target(action.id, container, self._address()))
                    if not outcome.ok:
                        self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {outcome.message}", container)
        except TimeoutError:
            self._event("Warning", "FailedPreStopHook", "PreStopHook did not end within the grace period", container)
        return max(grace - (clock() - began), 2.0)

    def _forget_stops(self) -> None:
        for task in list(self._memory.stopping.values()):
            task.cancel()
        self._memory.stopping.clear()

    # The end

    async def _finish(self, *, delete: bool) -> None:
        tools = self.tools
        self._publish(final=True)
        if delete and not self._memory.orphan:
            await self._write()
        if delete:
            await tools.runtime.remove(self.uid)
        if tools.network.addresses(self.uid):
            await tools.network.tear_down(self.uid)
        tools.references.need(self.uid, frozenset())
        self._memory.sandbox, self._memory.released = False, True
        if not delete:
            return
        self.volumes.remove()
        shutil.rmtree(self.logs, ignore_errors=True)
        if not self._memory.orphan:
            with contextlib.suppress(NotFound, Conflict):
                await tools.client.delete(PODS, self.key, uid=self.uid, grace_seconds=0)
        self.finished = True

    # Status

    def _status(self, *, final: bool = False) -> Obj:
        memory, config = self._memory, self.tools.config
        assert self._health is not None
        facts = Facts(
            containers=self._states,
            waiting={name: trouble.waiting for name, trouble in memory.troubles.items() if name},
            started=frozenset(self._health.started),
            ready=frozenset(self._health.ready),
            sandbox=memory.sandbox,
            addresses=self._addresses(),
            node_addresses=config.node_addresses,
            messages=memory.messages,
            final=final,
            **self._pod_reason(),
        )
        return pod_status(self.pod, facts, now=self.tools.clock())

    def _pod_reason(self) -> dict[str, str]:
        old = self.pod.get("status") or {}
        if old.get("phase") == "Failed" and old.get("reason"):
            return {"reason": old["reason"], "message": old.get("message", "")}
        seconds, started = self.pod["spec"].get("activeDeadlineSeconds"), old.get("startTime")
        if seconds is not None and started and self.tools.clock() >= times.parse(started) + float(seconds):
            return {
                "reason": "DeadlineExceeded",
                "message": "Pod was active on the node longer than the specified deadline",
            }
        return {}

    def _explain(self, waiting: Mapping[str, str]) -> None:
        """Turn the plan's reasons into what users read; say once that a container is held back."""
        memory, now = self._memory, self.tools.clock()
        latest = newest(self._states)
        for name, reason in waiting.items():
            state = latest[name][0]
            seconds = memory.backoffs.get(name, Backoff()).seconds
            where = f"{name_of(self.pod)}_{namespace_of(self.pod)}({self.uid})"
            text = f"back-off {_duration(seconds)} restarting failed container={name} pod={where}"
            memory.troubles[name] = _Trouble(Waiting(reason, text), 0.0, now)
            if state.id not in memory.told:
                memory.told.add(state.id)
                container = next(one for one in self._containers() if one["name"] == name)
                message = f"Back-off restarting failed container {name} in pod {where}"
                self._event("Warning", "BackOff", message, container)
        for name, trouble in memory.troubles.items():
            late = now - trouble.since > PULL_BACKOFF_AFTER_SECONDS
            if trouble.waiting.reason == "ErrImagePull" and late:
                container = next(one for one in self._containers() if one["name"] == name)
                text = f'Back-off pulling image "{container.get("image")}"'
                trouble.waiting = Waiting("ImagePullBackOff", f"{text}: ErrImagePull: {trouble.waiting.message}")
                self._event("Normal", "BackOff", text, container)
                self._event("Warning", "Failed", "Error: ImagePullBackOff", container)
        for name in [n for n, a in latest.items() if a[0].phase is Phase.RUNNING]:
            memory.troubles.pop(name, None)

    def _troubled(self, name: str, waiting: Waiting, seconds: float = 0.0) -> None:
        now = self.tools.clock()
        before = self._memory.troubles.get(name)
        count = before.count + 1 if before else 1
        wait = seconds or RETRY_SECONDS[min(count - 1, len(RETRY_SECONDS) - 1)]
        self._memory.troubles[name] = _Trouble(waiting, now + wait, now, count)
        if waiting.reason == "ErrImagePull":
            asyncio.get_running_loop().call_later(PULL_BACKOFF_AFTER_SECONDS + 0.01, self.wake)

    def _publish(self, *, final: bool = False) -> None:
        """Compute the status; the writer sends it if it differs."""
        ended = not any(state.phase is Phase.RUNNING for state in self._states)
        going = is_deleting(self.pod) or self._memory.released
        self.status = self._status(final=final or (going and ended and bool(self._states)))
        if difference(self.pod.get("status") or {}, self.status):
            self._dirty.set()

    async def _keep_status(self) -> None:
        """Write at once what has changed; what changes during a write goes with the next."""
        failures = 0
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._write()
                failures = 0
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.info("status not written key=%s error=%s", self.key, error)
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                self._dirty.set()

    async def _write(self) -> None:
        patch = difference(self.pod.get("status") or {}, self.status)
        if not patch or self._memory.orphan:
            return
        body = {"metadata": {"uid": self.uid}, "status": patch}
        try:
            answer = await self.tools.client.patch(PODS, self.key, body, subresource="status")
        except (NotFound, Conflict):
            return  # gone, or another pod of that name: the informer will say so
        if _revision(answer) > _revision(self.pod):
            self.pod = {"apiVersion": "v1", "kind": "Pod"} | answer
            self.wake()

    def _termination_message(self, state: ContainerState) -> str:
        path = state.annotations.get("termination")
        text = _tail(Path(path), MESSAGE_LIMIT) if path else ""
        container = next((one for one in self._containers() if one["name"] == state.name), {})
        fallback = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not text and fallback and state.exit_code != 0 and state.log:
            lines = _tail(Path(state.log), LOG_MESSAGE_LIMIT * 2).splitlines()[-80:]
            text = "\n".join(line.split(" ", 3)[-1] for line in lines)[-LOG_MESSAGE_LIMIT:]
        return text

    def _probe_failed(self, name: str, kind: str, message: str) -> None:
        container = next((one for one in self._containers() if one["name"] == name), {})
        self._event("Warning", "Unhealthy", f"{kind} probe failed: {message}", container)

    def _event(self, type: str, reason: str, message: str, container: Obj | None = None) -> None:
        path = ""
        if container:
            inits = [one["name"] for one in self.pod["spec"].get("initContainers") or ()]
            kind = "initContainers" if container.get("name") in inits else "containers"
            path = f"spec.{kind}{{{container.get('name')}}}"
        self.tools.events.event(self.pod, reason, message, type=type, field_path=path)


def logs_directory(config: KubeletConfig, pod: Obj) -> Path:
    return config.state / "logs" / f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"


def _revision(obj: Obj) -> int:
    text = revision_of(obj)
    return int(text) if text.isdigit() else 0


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _tail(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - limit))
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def _duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
