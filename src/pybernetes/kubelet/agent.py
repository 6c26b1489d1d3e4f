"""The kubelet: watches the pods bound to its node and gives each a worker; keeps the Node; serves logs and exec.

Stopping it leaves pods running. A start takes over what runs: by the runtime's records, by addresses on disk, by what
the API says of containers. What runs here but is bound here no more is ended.
"""

import asyncio
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pybernetes.api import ranges
from pybernetes.api.objects import Key, Obj, key_of, uid_of
from pybernetes.api.resources import PODS, SERVICES
from pybernetes.client import Client, Delta, Informer
from pybernetes.control import EventSink, Recorder
from pybernetes.netlink.sysctl import forwarding

from .admission import Refusal, refusal
from .config import KubeletConfig
from .endpoints import KubeletServer
from .hostports import HostPorts
from .network import PodNetwork, RoutedNetwork
from .node import NodeKeeper
from .references import References
from .runtime.fake import FakeRuntime
from .runtime.process import ProcessRuntime
from .runtime.protocol import ContainerState, Phase
from .tools import Tools
from .volumes import PodVolumes
from .worker import PodWorker

log = logging.getLogger(__name__)

_POD_RANGE_POLL_SECONDS = 0.2
_ORPHAN_GRACE_SECONDS = 2.0


class Kubelet:
    """One node's kubelet: `run` until cancelled."""

    def __init__(
        self,
        client: Client,
        config: KubeletConfig,
        *,
        runtime: "ProcessRuntime | FakeRuntime | None" = None,
        network: PodNetwork | None = None,
        events: EventSink | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self.config = config
        self.clock = clock
        self.runtime: ProcessRuntime | FakeRuntime = runtime or process_runtime(config)
        self.network = network
        self.recorder = Recorder(client, "kubelet", host=config.node_name)
        self.events: EventSink = events or self.recorder
        self.workers: dict[str, PodWorker] = {}
        self.drifted = 0
        """How many tables of host ports others had changed."""
        self._assemble()
        self.handler = KubeletServer(_View(self), self.runtime, clock=clock, metrics=self._metrics)
        self._group: asyncio.TaskGroup | None = None
        self._tools: Tools | None = None

    def _assemble(self) -> None:
        """What belongs to one run."""
        self.node = NodeKeeper(self.client, self.config, clock=self.clock, problem=self._problem)
        self.pods_informer = Informer(self.client, PODS, fields=f"spec.nodeName={self.config.node_name}")
        self.services = Informer(self.client, SERVICES, slim=_slim_service)
        self.references = References(self.client, self._renew)
        self._problem_text = "container runtime is starting"

    @property
    def synced(self) -> bool:
        """Whether the pods of this node are known and cared for."""
        return self._tools is not None and self.pods_informer.synced.is_set()

    # Life

    async def run(self) -> None:
        """Run until cancelled; pods go on without us. May be run again."""
        self._assemble()
        self._prepare_directories()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self.recorder.run(), name="events")
                group.create_task(self.references.run(), name="references")
                group.create_task(self.services.run(), name="services")
                group.create_task(self.node.run(), name="node")
                if self.config.certificate or self.config.renewed_certificate:
                    group.create_task(self._serve(), name="server")
                await self.runtime.open()
                await self.node.registered.wait()
                self.network = self.network or await self._make_network()
                self._tools = self._make_tools(self.network)
                self._warn()
                self._problem_text = ""
                self.node.nudge()
                self.pods_informer.subscribe(self._on_pod)
                group.create_task(self.pods_informer.run(), name="pods")
                group.create_task(self._follow_runtime(), name="runtime")
                group.create_task(self.network.run(self._drifted), name="network")
                await self._end_strangers()
        finally:
            self._group = None
            self.workers.clear()
            await self.runtime.close()

    def _prepare_directories(self) -> None:
        self.config.state.mkdir(parents=True, exist_ok=True)
        self.config.run.mkdir(parents=True, exist_ok=True)

    async def _make_network(self) -> PodNetwork:
        pod_ranges = self.config.pod_ranges or self.node.pod_ranges
        while not pod_ranges:
            self._problem_text = "no pod range: neither configured nor given to the node (spec.podCIDRs)"
            self.node.nudge()
            await asyncio.sleep(_POD_RANGE_POLL_SECONDS)
            pod_ranges = self.node.pod_ranges
        forwarding(pod_ranges)
        network = RoutedNetwork(
            pod_ranges=pod_ranges,
            node_addresses=self.config.node_addresses,
            directory=self.config.run / "netns",
            records=self.config.state / "addresses",
            host_ports=HostPorts(
                versions={ranges.version(each) for each in pod_ranges},
                records=self.config.state / "hostports",
                owner=digest_of(self.config.state),
                exempt=set(self.config.cluster_dns) - set(self.config.node_addresses),
            ),
        )
        await network.restore()
        return network

    def _make_tools(self, network: PodNetwork) -> Tools:
        return Tools(
            config=self.config,
            client=self.client,
            runtime=self.runtime,
            network=network,
            events=self.events,
            references=self.references,
            services=self.services.cache.select,
            services_synced=self.services.synced,
            allocatable=self.node.allocatable,
            clock=self.clock,
            refusal=self._refusal,
        )

    def _refusal(self, pod: Obj) -> Refusal | None:
        """Beside the pods that the node has taken, or was given before this one."""
        others = (worker for worker in self.workers.values() if worker.uid != uid_of(pod) and worker.holds_ports)
        before = (worker.pod for worker in others if worker.admitted or _created(worker.pod) < _created(pod))
        return refusal(pod, before)

    def _drifted(self, tables: int) -> None:
        self.drifted += tables
        text = f"Rules of host ports had been changed by others: {tables} tables were put right"
        self.events.event(_node_reference(self.config), "HostPortRulesDrifted", text, type="Warning")

    def _warn(self) -> None:
        for text in getattr(self.runtime, "warnings", ()):
            log.warning("runtime is limited node=%s why=%s", self.config.node_name, text)
            self.events.event(_node_reference(self.config), "RuntimeLimited", text, type="Warning")

    def _problem(self) -> str:
        return self._problem_text

    async def _serve(self) -> None:
        from .serving import Serving  # with the HTTP server, which tests of pods need not

        await Serving(self.handler, self.client, self.config, node=self.node, clock=self.clock).run()

    # Pods

    def _on_pod(self, delta: Delta) -> None:
        known = self.workers.get(uid_of(delta.obj))
        if delta.now is None:
            if known is not None:
                known.orphaned()
            return
        pod = {"apiVersion": "v1", "kind": "Pod"} | delta.now
        if known is not None:
            known.update(pod)
            return
        assert self._group is not None
        assert self._tools is not None
        worker = self.workers[uid_of(pod)] = PodWorker(pod, self._tools)
        self._group.create_task(self._work(worker), name=f"pod-{key_of(pod)}")

    async def _work(self, worker: PodWorker) -> None:
        """A worker until its pod is gone; one pod's trouble is not the others'."""
        while True:
            try:
                await worker.run()
                break
            except Exception:
                log.exception("pod worker ended key=%s", worker.key)
                await asyncio.sleep(1.0)
        if self.workers.get(worker.uid) is worker:
            del self.workers[worker.uid]

    def _renew(self, uid: str) -> None:
        if (worker := self.workers.get(uid)) is not None:
            worker.renew()

    async def _follow_runtime(self) -> None:
        async with self.runtime.events() as events:
            for each in self.workers.values():
                each.wake()
            async for state in events:
                if (worker := self.workers.get(state.sandbox)) is not None:
                    worker.wake()

    async def _end_strangers(self) -> None:
        """End what an earlier run left of pods that are bound here no more."""
        await self.pods_informer.synced.wait()
        assert self.network is not None
        left = {state.sandbox for state in await self.runtime.list()} | self.network.known()
        for uid in left:
            if uid in self.workers:
                continue
            log.info("ending a pod that is gone uid=%s", uid)
            running = [s for s in await self.runtime.list() if s.sandbox == uid and s.phase is Phase.RUNNING]
            await asyncio.gather(*(self.runtime.stop(state.id, grace=_ORPHAN_GRACE_SECONDS) for state in running))
            await self.runtime.remove(uid)
            await self.network.tear_down(uid)
        for path in directories(self.config.state / "pods"):
            if path.name not in self.workers:
                PodVolumes(path).remove()
        for path in directories(self.config.state / "logs"):
            if path.name.rpartition("_")[2] not in self.workers:
                shutil.rmtree(path, ignore_errors=True)

    async def cleanup(self) -> None:
        """End all pods of this node and remove all that the kubelet made. Not while `run` runs."""
        from .cleanup import remove_everything

        await asyncio.to_thread(remove_everything, self.config.state, self.config.run)

    def _metrics(self) -> bytes:
        from prometheus_client import generate_latest

        running = sum(s.phase is Phase.RUNNING for w in self.workers.values() for s in w.states)
        own = (
            "# HELP kubelet_running_pods Number of pods with a worker\n# TYPE kubelet_running_pods gauge\n"
            f"kubelet_running_pods {len(self.workers)}\n"
            "# HELP kubelet_running_containers Number of running containers\n# TYPE kubelet_running_containers gauge\n"
            f'kubelet_running_containers{{container_state="running"}} {running}\n'
            "# HELP pybernetes_host_port_drift_total Tables of host ports that were put right\n"
            "# TYPE pybernetes_host_port_drift_total counter\n"
            f"pybernetes_host_port_drift_total {self.drifted}\n"
        )
        return own.encode() + generate_latest()


class _View:
    """What the server sees of the kubelet."""

    def __init__(self, kubelet: Kubelet) -> None:
        self.kubelet = kubelet

    def pod(self, key: Key) -> Obj | None:
        return next((worker.pod for worker in self.kubelet.workers.values() if worker.key == key), None)

    def pods(self) -> Sequence[Obj]:
        return [worker.pod for worker in self.kubelet.workers.values()]

    def states(self, pod: Obj) -> Sequence[ContainerState]:
        worker = self.kubelet.workers.get(uid_of(pod))
        return worker.states if worker else ()

    def netns(self, pod: Obj) -> str | None:
        if pod["spec"].get("hostNetwork") or self.kubelet.network is None:
            return None
        return self.kubelet.network.path(uid_of(pod))

    def address(self, pod: Obj) -> str:
        return str((pod.get("status") or {}).get("podIP") or "")


def process_runtime(config: KubeletConfig) -> ProcessRuntime:
    return ProcessRuntime(
        config.state / "runtime",
        cgroup=cgroup_of(config.state),
        hidden=hidden_paths(config),
        log_max_bytes=config.log_max_bytes,
        log_files=config.log_files,
    )


def cgroup_of(state: Path) -> str:
    """The control group of a node's pods: named by the state directory, so that several nodes share a machine."""
    return f"pybernetes/{digest_of(state)}"


def digest_of(state: Path) -> str:
    """Whose something is in a place that nodes share."""
    return hashlib.sha256(str(state).encode()).hexdigest()[:12]


def hidden_paths(config: KubeletConfig) -> tuple[str, ...]:
    """The node's secrets: no container sees them, whatever it runs as."""
    paths = ("/var/lib/pybernetes", config.state_directory, config.run_directory, *config.hidden)
    return tuple(dict.fromkeys(paths))


def directories(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []


def _created(pod: Obj) -> str:
    return str(pod["metadata"].get("creationTimestamp") or "")


def _slim_service(service: Obj) -> Obj:
    spec = service.get("spec") or {}
    kept = ("name", "namespace", "uid", "resourceVersion")
    return {
        "metadata": {name: value for name, value in service["metadata"].items() if name in kept},
        "spec": {"clusterIP": spec.get("clusterIP"), "ports": spec.get("ports")},
    }


def _node_reference(config: KubeletConfig) -> Obj:
    """What events about a node point at (kubectl describe node looks for the uid that is its name)."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": config.node_name, "uid": config.node_name}}
