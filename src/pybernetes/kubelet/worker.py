"""One pod's worker: asks `plan` what to do, does it, and keeps the status in the API true. One task per pod.

Slow things (stopping, hooks, probes, status writes) are tasks beside the loop, so that a pod in its grace period still
says at once that it is no longer ready.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping, Sequence

from pybernetes.api.errors import ApiError, Conflict, NotFound
from pybernetes.api.objects import Key, Obj, is_deleting, key_of, metadata, name_of, namespace_of, revision_of, uid_of
from pybernetes.api.resources import PODS
from pybernetes.control.pods import is_terminal

from .admission import is_refused, refused_status
from .containers import container_spec
from .environment import ConfigError
from .health import Health, Running
from .hooks import Hooks
from .lifecycle import Backoff, containers_of, field_path, newest
from .memory import Memory
from .messages import termination_message
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
from .runtime.protocol import ContainerState, ImageMissing, Phase, RuntimeFailure
from .sandbox import Sandbox
from .status import SCHEME, Facts, Waiting, difference, pod_reason, pod_status
from .tools import Tools
from .troubles import POD, PULL_BACKOFF_AFTER_SECONDS, RETRY_SECONDS, Troubles
from .volumes import VolumeError

log = logging.getLogger(__name__)

CONFIG_RETRY_SECONDS = 5.0


class PodWorker:
    """Runs one pod until it is gone. `update`, `orphaned` and `wake` are synchronous and may be called at any time."""

    def __init__(self, pod: Obj, tools: Tools) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.key: Key = key_of(pod)
        self.tools = tools
        self.finished = False
        self.status: Obj = dict(pod.get("status") or {})
        self.admitted = bool(self.status.get("startTime"))
        """The node has taken the pod: it did before the agent was started anew, or will not refuse it any more."""
        self.sandbox = Sandbox(pod, tools)
        self._memory = Memory()
        self._troubles = Troubles(tools.clock)
        self._states: list[ContainerState] = []
        self._prober = Prober(tools.runtime)
        self._hooks = Hooks(self._prober, lambda reason, text, of: self._event("Warning", reason, text, of))
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
        self._troubles.retry()
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    @property
    def states(self) -> Sequence[ContainerState]:
        return self._states

    @property
    def holds_ports(self) -> bool:
        """Whether the host ports of its pod are taken: it is here, or will be, and has not ended."""
        memory = self._memory
        going = self.finished or memory.released or memory.orphan or memory.refusal is not None
        return not going and not is_terminal(self.pod)

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
                return min((at for at in (result.again, renewed, self._troubles.next) if at), default=0.0)

    async def _look(self) -> None:
        """Read what the runtime has of this pod, and have the right probes running."""
        self._states = [state for state in await self.tools.runtime.list() if state.sandbox == self.uid]
        specs = {container["name"]: container for container in self._containers()}
        for state in self._states:
            if state.phase is Phase.EXITED and state.id not in self._memory.messages:
                self._memory.messages[state.id] = termination_message(state, specs.get(state.name, {}))
        running = [
            Running(attempts[0], specs[name])
            for name, attempts in newest(self._states).items()
            if name in specs and attempts[0].phase is Phase.RUNNING
        ]
        assert self._health is not None
        self._health.sync(running, address=self.sandbox.address(self.pod), stopping=frozenset(self._memory.stopping))

    def _containers(self) -> list[Obj]:
        return containers_of(self.pod["spec"])

    def _observed(self) -> Observed:
        memory = self._memory
        assert self._health is not None
        return Observed(
            containers=self._states,
            sandbox=memory.sandbox,
            sandbox_retry=self._troubles.until(POD),
            stopping=frozenset(memory.stopping),
            started=frozenset(self._health.started),
            unhealthy=dict(self._health.unhealthy),
            backoffs=memory.backoffs,
            blocked=self._troubles.blocked,
            released=memory.released,
            orphan=memory.orphan,
            refused=memory.refusal is not None,
        )

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
                if self._admit():
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

    def _admit(self) -> bool:
        """Whether the node takes the pod, which is asked once; else it fails."""
        if not self.admitted:
            why = self._memory.refusal = self.tools.refusal(self.pod)
            if why is not None:
                self._event("Warning", *why)
            self.admitted = why is None
        return self.admitted

    async def _make_sandbox(self) -> None:
        try:
            await self.sandbox.make(self.pod, self._status)
        except (VolumeError, ConfigError) as error:
            self._troubles.note(POD, Waiting("ContainerCreating"))
            self._event("Warning", "FailedMount", str(error))
        except (ApiError, ConnectionError, TimeoutError) as error:
            self._troubles.note(POD, Waiting("ContainerCreating"))
            self._event(
                "Warning", "FailedMount", f"MountVolume.SetUp failed: {error or 'timed out waiting for the API'}"
            )
        except (OSError, RuntimeFailure, RuntimeError) as error:
            log.warning("sandbox failed key=%s error=%s", self.key, error)
            self._troubles.note(POD, Waiting("ContainerCreating"))
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        else:
            self._troubles.drop(POD)
            self._memory.sandbox = True

    async def _renew_volumes(self) -> float:
        """After a change of what they refer to, or when a token is due; returns when the next is."""
        sandbox, now = self.sandbox, self.tools.clock()
        if self._memory.sandbox and (self._renew or 0.0 < sandbox.renew_at <= now):
            self._renew = False
            try:
                await sandbox.build_volumes(self.pod, self._status())
            except (VolumeError, ConfigError) as error:
                self._event("Warning", "FailedMount", str(error))
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.warning("volumes not renewed key=%s error=%s", self.key, error)
                sandbox.renew_at = now + CONFIG_RETRY_SECONDS
        return sandbox.renew_at

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
            waiting = Waiting("CreateContainerConfigError", str(error))
            self._troubles.note(action.name, waiting, CONFIG_RETRY_SECONDS)
            self._event("Warning", "Failed", f"Error: {error}", container)
        except (RuntimeFailure, OSError) as error:
            self._not_started(container, error)
        else:
            self._troubles.drop(action.name)
            self._event("Normal", "Started", f"Started container {action.name}", container)
            hook = (container.get("lifecycle") or {}).get("postStart")
            if hook:
                target = Target(identifier, container, self.sandbox.address(self.pod))
                self._spawn(group, self._post_start(hook, target), f"postStart-{action.name}")

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
        self._troubles.note(
            name, Waiting(error.reason, error.message), min(10.0 * 2 ** self._troubles.count(name), 300.0)
        )
        if error.reason == "ErrImagePull":
            asyncio.get_running_loop().call_later(PULL_BACKOFF_AFTER_SECONDS + 0.01, self.wake)

    def _not_started(self, container: Obj, error: RuntimeFailure | OSError) -> None:
        failure = error if isinstance(error, RuntimeFailure) else RuntimeFailure("CreateContainerError", str(error))
        self._event("Warning", "Failed", f"Error: {failure.message}", container)
        waiting = Waiting(failure.reason, failure.message)
        if failure.reason == "RunContainerError":
            # it is an exited container now, and comes back by the back-off of the restart policy
            self._troubles.hold(container["name"], waiting)
        else:
            self._troubles.note(container["name"], waiting, CONFIG_RETRY_SECONDS)

    async def _create(self, container: Obj, attempt: int, image: str) -> str:
        await self.tools.services_synced.wait()
        await self.sandbox.refer(self.pod)  # an ephemeral container may have brought references
        target = self._target(container)
        setting = self.sandbox.setting(self.pod, container, attempt=attempt, target=target, status=self._status())
        spec = container_spec(self.pod, container, attempt, setting)
        return await self.tools.runtime.create(self.uid, spec, image=image)

    def _target(self, container: Obj) -> str:
        """Whose processes an ephemeral container sees; "" for its own."""
        attempts = newest(self._states).get(container.get("targetContainerName") or "", ())
        return attempts[0].id if attempts else ""

    async def _post_start(self, hook: Obj, target: Target) -> None:
        if not await self._hooks.post_start(hook, target):
            assert self._health is not None
            name = target.spec["name"]
            self._health.unhealthy[target.container] = f"FailedPostStartHook: container {name} is ended"
            self.wake()

    async def _stop(self, action: StopContainer) -> None:
        """preStop and SIGTERM within the grace, then SIGKILL."""
        container = next((one for one in self._containers() if one["name"] == action.name), {})
        self._event("Normal", "Killing", action.reason, container)
        grace = action.grace_seconds
        hook = (container.get("lifecycle") or {}).get("preStop")
        try:
            if hook and grace > 0:
                target = Target(action.id, container, self.sandbox.address(self.pod))
                grace = await self._hooks.pre_stop(hook, target, grace_seconds=grace)
            await self.tools.runtime.stop(action.id, grace=grace)
        except RuntimeFailure as error:
            log.warning("stop failed key=%s container=%s error=%s", self.key, action.name, error)
        finally:
            if self._memory.stopping.get(action.id) is asyncio.current_task():
                del self._memory.stopping[action.id]
            self.wake()

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
        await self.sandbox.release()
        self._memory.sandbox, self._memory.released = False, True
        if not delete:
            return
        self.sandbox.remove()
        if not self._memory.orphan:
            with contextlib.suppress(NotFound, Conflict):
                await tools.client.delete(PODS, self.key, uid=self.uid, grace_seconds=0)
        self.finished = True

    # Status

    def _status(self, *, final: bool = False) -> Obj:
        memory, config = self._memory, self.tools.config
        assert self._health is not None
        if memory.refusal is not None:
            return refused_status(self.pod, memory.refusal, now=self.tools.clock())
        if is_refused(self.pod):
            return dict(self.pod["status"])
        facts = Facts(
            containers=self._states,
            waiting=self._troubles.waiting,
            started=frozenset(self._health.started),
            ready=frozenset(self._health.ready),
            sandbox=memory.sandbox,
            addresses=self.sandbox.addresses(self.pod),
            node_addresses=config.node_addresses,
            messages=memory.messages,
            final=final,
            **pod_reason(self.pod, now=self.tools.clock()),
        )
        return pod_status(self.pod, facts, now=self.tools.clock())

    def _explain(self, waiting: Mapping[str, str]) -> None:
        """Turn the plan's reasons into what users read; say once that a container is held back."""
        memory, latest = self._memory, newest(self._states)
        for name, reason in waiting.items():
            state = latest[name][0]
            where = f"{name_of(self.pod)}_{namespace_of(self.pod)}({self.uid})"
            text = f"back-off {memory.backoffs.get(name, Backoff())} restarting failed container={name} pod={where}"
            self._troubles.hold(name, Waiting(reason, text))
            if state.id not in memory.told:
                memory.told.add(state.id)
                container = next(one for one in self._containers() if one["name"] == name)
                message = f"Back-off restarting failed container {name} in pod {where}"
                self._event("Warning", "BackOff", message, container)
        for name in self._troubles.give_up_pulling():
            container = next(one for one in self._containers() if one["name"] == name)
            text = f'Back-off pulling image "{container.get("image")}"'
            self._troubles.say(name, f"{text}: ErrImagePull: {self._troubles.waiting[name].message}")
            self._event("Normal", "BackOff", text, container)
            self._event("Warning", "Failed", "Error: ImagePullBackOff", container)
        for name, attempts in latest.items():
            if attempts[0].phase is Phase.RUNNING:
                self._troubles.drop(name)

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

    def _probe_failed(self, name: str, kind: str, message: str) -> None:
        container = next((one for one in self._containers() if one["name"] == name), {})
        self._event("Warning", "Unhealthy", f"{kind} probe failed: {message}", container)

    def _event(self, type: str, reason: str, message: str, container: Obj | None = None) -> None:
        path = field_path(self.pod, container["name"]) if container else ""
        self.tools.events.event(self.pod, reason, message, type=type, field_path=path)


def _revision(obj: Obj) -> int:
    text = revision_of(obj)
    return int(text) if text.isdigit() else 0
