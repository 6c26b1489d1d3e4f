"""The place a pod's containers live in: its network, volumes and files of /etc. Every step may be repeated."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pybernetes.api.objects import Obj, name_of, namespace_of, uid_of

from . import files
from .config import KubeletConfig
from .containers import Setting
from .environment import environment, service_variables
from .hostports import mappings_of
from .pod_certificates import PodCertificates
from .references import ALL_BUNDLES, Reference, references_of
from .tokens import PodTokens
from .tools import Tools
from .volumes import PodVolumes, mounts, written


class Sandbox:
    """One pod's. The pod itself is given to each call, for it changes."""

    def __init__(self, pod: Obj, tools: Tools) -> None:
        self.uid = uid_of(pod)
        self.tools = tools
        self.volumes = PodVolumes(tools.config.state / "pods" / self.uid)
        self.logs = logs_directory(tools.config, pod)
        self.paths: Mapping[str, Path] = {}
        """Where each volume lies on the node, by its name."""
        self.renew_at = 0.0
        """When a token or certificate in a volume is due; 0.0 for never."""
        self._tokens = PodTokens(tools.client)
        self._certificates = PodCertificates(tools.client)

    def addresses(self, pod: Obj) -> tuple[str, ...]:
        """One of each IP family, the primary one first; () before there is a network."""
        if is_on_host(pod):
            return self.tools.config.node_addresses
        return self.tools.network.addresses(self.uid)

    def address(self, pod: Obj) -> str:
        """Of the primary family, "" before there is a network."""
        return next(iter(self.addresses(pod)), "")

    async def make(self, pod: Obj, status: Callable[[], Obj]) -> None:
        """Raises VolumeError, ConfigError, ApiError, ConnectionError, TimeoutError, OSError, RuntimeFailure, Exhausted;
        `status` is asked once the pod has its addresses, which its volumes may show.
        """
        if not is_on_host(pod):
            await self.tools.network.set_up(self.uid, ports=mappings_of(pod))
        await self.refer(pod)
        await self.build_volumes(pod, status())
        self._write_etc(pod)
        netns = "" if is_on_host(pod) else self.tools.network.path(self.uid)
        await self.tools.runtime.sandbox(pod, netns=netns)

    async def refer(self, pod: Obj) -> None:
        """Watch the ConfigMaps, Secrets and trust bundles that it names, and wait until they are known."""
        wanted = references_of(pod)
        self.tools.references.need(self.uid, wanted)
        await self.tools.references.synced(wanted)

    async def build_volumes(self, pod: Obj, status: Obj) -> None:
        """Make them, or make what has changed anew. Raises VolumeError, ConfigError, ApiError and as HTTP does."""
        now = self.tools.clock()
        times = (await self._tokens.refresh(pod, now=now), await self._certificates.refresh(pod, now=now))
        self.renew_at = min((one for one in times if one), default=0.0)
        self.paths = self.volumes.build(
            pod,
            lookup=lambda kind, name: self.lookup(pod, kind, name),
            token=self._tokens.get,
            status=status,
            allocatable=self.tools.allocatable,
            bundles=lambda: self.tools.references.all(ALL_BUNDLES),
            credential=self._certificates.get,
        )

    def lookup(self, pod: Obj, kind: str, name: str) -> Obj | None:
        """A ConfigMap or Secret of the pod's namespace."""
        return self.tools.references.get(Reference(kind, namespace_of(pod), name))

    def setting(self, pod: Obj, container: Obj, *, attempt: int, target: str, status: Obj) -> Setting:
        """What a container meets here; `target` is the one whose processes it sees. Raises ConfigError, OSError."""
        variables = environment(
            pod,
            container,
            services=service_variables(pod, self.tools.services()),
            lookup=lambda kind, name: self.lookup(pod, kind, name),
            status=status,
            allocatable=self.tools.allocatable,
        )
        name = container["name"]
        termination = self.volumes.directory / "termination" / f"{name}-{attempt}"
        termination.parent.mkdir(parents=True, exist_ok=True)
        termination.touch(mode=0o666)
        termination.chmod(0o666)
        return Setting(
            environment=variables,
            mounts=mounts(container, self.paths, variables, ours=written(pod)),
            etc=self.volumes.etc,
            termination=termination,
            log=self.logs / name / f"{attempt}.log",
            node_name=self.tools.config.node_name,
            target=target,
        )

    async def release(self) -> None:
        """Network and references are let go of; what containers wrote stays."""
        if self.tools.network.addresses(self.uid):
            await self.tools.network.tear_down(self.uid)
        self.tools.references.need(self.uid, frozenset())

    def remove(self) -> None:
        """Volumes and logs."""
        self.volumes.remove()
        shutil.rmtree(self.logs, ignore_errors=True)

    def _write_etc(self, pod: Obj) -> None:
        config, etc = self.tools.config, self.volumes.etc
        etc.mkdir(parents=True, exist_ok=True)
        node = files.parse_resolv(_read_text(Path(config.resolv_conf)))
        settings = files.dns(pod, node=node, cluster_dns=config.cluster_dns, domain=config.cluster_domain)
        addresses, domain = self.addresses(pod), config.cluster_domain
        hosts = files.hosts(pod, addresses=addresses, node_name=config.node_name, domain=domain)
        if is_on_host(pod):
            hosts = f"# Kubernetes-managed hosts file (host network).\n{_read_text(Path('/etc/hosts'))}"
        name = files.hostname(pod, node_name=config.node_name)
        for file, text in (("hosts", hosts), ("resolv.conf", files.resolv(settings)), ("hostname", name + "\n")):
            path = etc / file
            if not path.exists():  # running containers may have changed theirs
                path.write_text(text)


def is_on_host(pod: Obj) -> bool:
    """Whether it lives in the node's own network."""
    return bool(pod["spec"].get("hostNetwork"))


def logs_directory(config: KubeletConfig, pod: Obj) -> Path:
    return config.state / "logs" / f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
