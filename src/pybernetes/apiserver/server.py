"""The API server put together: cache, registry, identity, endpoints, chain."""

import asyncio
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest

from pybernetes.aio.supervise import Fatal
from pybernetes.api import names, openapi, ranges, resources
from pybernetes.api.errors import BadRequest, quoted
from pybernetes.api.objects import Obj, encode
from pybernetes.api.scheme import Scheme
from pybernetes.store import Store, Unavailable
from pybernetes.wire import Handler, Pace, RawTransport, Request, Response, Transport
from pybernetes.wire.loopback import LoopbackTransport

from . import chain
from .admission import ADMISSION, VALIDATION
from .admission.connect import admit_connect
from .admission.events import OF_NAMESPACE, OF_USER, EventRateLimit, Rate
from .allocate import Allocator
from .answers import respond
from .audit import AuditLog, AuditMetrics, Auditor, Policy
from .auth.certificates import Authenticator
from .auth.tokens import Tokens
from .body_socket import watch_socket
from .bootstrap import bootstrap
from .connections import ConnectionMetrics, ServesConnections
from .custom import CustomResources
from .endpoints.discovery import Discovery
from .endpoints.health import Health
from .endpoints.objects import Objects
from .endpoints.openapi import OpenApi
from .endpoints.reviews import Reviews
from .fairness import FlowMetrics, Gate
from .kubelets import Connect, Kubelets
from .metrics import Metrics
from .parts import Parts
from .registry import Registry
from .route import STREAMING, missing, not_allowed, proxied
from .users import AUTHENTICATED, User, route_of, service_account_user, warn
from .watchcache import WatchCache
from .watchmetrics import ShelfMetrics

if TYPE_CHECKING:
    from pybernetes.wire.send import HttpTransport

log = logging.getLogger("pybernetes.apiserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerConfig:
    """Paths are of PEM files; without a service account key no tokens are issued or taken."""

    service_range: str = "10.96.0.0/16"
    """One range, or two of both families with a comma between."""
    node_port_range: tuple[int, int] = (30000, 32767)
    advertise_address: str = "127.0.0.1"
    advertise_port: int = 6443
    cluster_domain: str = "cluster.local"
    client_ca: str = ""
    """A PEM file: the authorities of clients' certificates. TLS checks them; here they are only told to others."""
    service_account_key: str = ""
    service_account_public_key: str = ""
    service_account_key_files: tuple[str, ...] = ()
    """Further keys, private or public, whose tokens are taken and which are told in the JWKS."""
    kubelet_client_certificate: str = ""
    kubelet_client_key: str = ""
    kubelet_ca: str = ""
    audit_policy_file: str = ""
    """YAML, an audit.k8s.io/v1 Policy; without it, or without a path, nothing is logged."""
    audit_log_path: str = ""
    """"-" is standard output."""
    audit_log_maxsize: int = 0
    """Megabytes of one file (0 for 100)."""
    audit_log_maxage: int = 0
    """Days that old files are kept (0 for ever)."""
    audit_log_maxbackup: int = 0
    """Old files that are kept (0 for all)."""
    events_of_namespace: Rate = OF_NAMESPACE
    """What is written into one namespace, whoever writes it."""
    events_of_user: Rate = OF_USER

    @property
    def service_ranges(self) -> Sequence[str]:
        return ranges.split(self.service_range)

    @property
    def url(self) -> str:
        """Where nodes reach this server."""
        return f"https://{ranges.host_port(self.advertise_address, self.advertise_port)}"

    @property
    def issuer(self) -> str:
        return f"https://kubernetes.default.svc.{self.cluster_domain}"


class ApiServer:
    """`handler` is what a Server serves; `run` keeps the cache true; `trusted` is the road inside the process."""

    def __init__(
        self,
        store: Store,
        config: ApiServerConfig | None = None,
        *,
        scheme: Scheme | None = None,
        connect: Connect | None = None,
    ) -> None:
        """`connect` makes the transports to kubelets and proxied pods; tests give their own."""
        self.config = config or ApiServerConfig()
        self.scheme = scheme or Scheme.builtin()
        self.cache = WatchCache(store)
        self.allocator = Allocator(self.config.service_ranges, self.config.node_port_range)
        events = EventRateLimit(namespace=self.config.events_of_namespace, user=self.config.events_of_user)
        self.registry = Registry(
            store,
            self.cache,
            self.scheme,
            allocator=self.allocator,
            admission=ADMISSION,
            validation=(events, *VALIDATION),
        )
        self.custom = CustomResources(self.registry)
        self.tokens = self._tokens()
        self.metrics = Metrics()
        self.gate = Gate()
        self.audit_log, self.auditor = _auditor(self.config)
        self.registry.webhooks.observe = self.metrics.webhook
        if self.tokens is not None:
            self.tokens.observe = self.metrics.token
        self.custom.observe = self.metrics.conversion
        self._pods: HttpTransport | None = None
        self.kubelets = Kubelets(self.registry, connect or self._connect, connect or self._reach)
        self._ready = asyncio.Event()
        self._draining = False
        self._objects = Objects(self.registry)
        self._parts = Parts(self.registry, self._objects, self.tokens)
        self._authenticator = Authenticator(self.tokens, read=self.registry.read)
        self._reviews = Reviews(self.registry, self._authenticator)
        address = f"{self.config.advertise_address}:{self.config.advertise_port}"
        self._discovery = Discovery(self.scheme, address=address)
        self._openapi = OpenApi(self.scheme)
        self._health = Health(
            alive={"ping": lambda: "", "log": lambda: "", "etcd": self._store_trouble},
            ready={
                "watch-cache": lambda: "" if self.cache.loaded.is_set() else "not loaded",
                "shutdown": lambda: "process is shutting down" if self._draining else "",
                "bootstrap": lambda: "" if self._ready.is_set() else "not finished",
            },
        )
        self._slis = CollectorRegistry()
        self._slis.register(self._health)
        self._store = store
        self.handler: Handler = self._chain()
        self._measure()

    def _chain(self) -> Handler:
        filters = (
            chain.recover,
            chain.request_id,
            chain.measure(self.metrics),
            chain.recover,
            chain.routed(self.scheme.find),
            chain.deadline,
            chain.authenticate(self._authenticator, self.metrics, self.auditor.unknown if self.auditor else None),
            *([self.auditor.filter] if self.auditor else []),
            chain.expected,
            chain.bodies,
            self.gate.filter,
            chain.authorize(self.registry.authorizer, self.metrics),
        )
        return chain.compose(filters, self._serve)

    def _measure(self) -> None:
        self.metrics.build(version())
        self.metrics.registry.register(FlowMetrics(self.gate))
        self.metrics.registry.register(ShelfMetrics(self.cache, self.scheme))
        self.metrics.registry.register(self.registry.times)
        if self.auditor is not None and self.audit_log is not None:
            self.metrics.registry.register(AuditMetrics(self.auditor, self.audit_log))
        self.metrics.gauge(
            "apiserver_storage_revision", "The latest revision of the store.", lambda: float(self._store.revision)
        )
        self.metrics.gauge(
            "apiserver_registered_watchers",
            "Open watches.",
            lambda: float(sum(shelf.watchers for shelf in self.cache.shelves)),
        )
        self.metrics.gauge(
            "apiserver_cached_objects",
            "Objects in the watch cache.",
            lambda: float(sum(len(shelf.items) for shelf in self.cache.shelves)),
        )

    proxied = staticmethod(proxied)

    def serving(self, socket: ServesConnections) -> None:
        """Tell in the metrics of the connections of the server that serves `handler`."""
        self.metrics.registry.register(ConnectionMetrics(socket))

    def _tokens(self) -> Tokens | None:
        if not self.config.service_account_key:
            return None
        return Tokens(
            private_key=Path(self.config.service_account_key).read_bytes(),
            issuer=self.config.issuer,
            audiences=[self.config.issuer],
            read=self.registry.read,
            now=time.time,
            public_keys=[Path(file).read_bytes() for file in self.config.service_account_key_files],
        )

    def _connect(self, url: str) -> RawTransport:
        """To a kubelet, with this server's certificate."""
        from pybernetes.wire.send import HttpTransport

        return HttpTransport(
            url,
            ca=_read(self.config.kubelet_ca),
            certificate=_read(self.config.kubelet_client_certificate),
            key=_read(self.config.kubelet_client_key),
            insecure=not self.config.kubelet_ca,
        )

    def _reach(self, url: str) -> RawTransport:
        """To a pod: nobody vouches for its certificate, and it is not shown ours (as in kube-apiserver)."""
        from pybernetes.wire.send import HttpTransport

        if self._pods is None:
            self._pods = HttpTransport("https://pods", insecure=True)
        return self._pods.to(url)

    def trusted(self, user: str, *groups: str) -> Transport:
        """A transport whose requests are this user's, without any credential: for parts of the same process."""
        return LoopbackTransport(self.handler, context={"user": User(user, (*groups, AUTHENTICATED))})

    def trusted_account(self, namespace: str, name: str) -> Transport:
        """The same as a service account."""
        return LoopbackTransport(self.handler, context={"user": service_account_user(namespace, name, extra={})})

    def drain(self) -> None:
        """From now on /readyz says that the end is near; everything is still served."""
        self._draining = True

    async def ready(self) -> None:
        """Wait until requests are answered in full: all objects loaded, the defaults there."""
        await self._ready.wait()

    async def run(self) -> None:
        """Until cancelled. Raises Fatal when the store is broken."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.cache.run())
                group.create_task(self.custom.run())
                await self._prepare()
        except* Unavailable as errors:
            raise Fatal(f"the store is unavailable: {errors.exceptions[0]}") from None
        finally:
            self._ready.clear()
            self.cache.close()
            await self.kubelets.close()
            if self._pods is not None:
                await self._pods.close()
            await self.registry.caller.close()
            if self.audit_log is not None:
                self.audit_log.close()

    async def _prepare(self) -> None:
        begun = time.perf_counter()
        await self.cache.fresh()
        authority = self.config.client_ca
        await bootstrap(
            self.registry,
            client_ca=await asyncio.to_thread(Path(authority).read_text) if authority else "",
            service_ranges=self.config.service_ranges,
            address=self.config.advertise_address,
            port=self.config.advertise_port,
        )
        self._ready.set()
        log.info(
            "ready objects=%d revision=%d seconds=%.3f",
            sum(len(shelf.items) for shelf in self.cache.shelves),
            self.cache.revision,
            time.perf_counter() - begun,
        )

    async def _serve(self, request: Request) -> Response:
        """The endpoint's answer, which its reader may take as long over as its kind allows."""
        response, found = await self._dispatch(request), route_of(request)
        if found.verb == "watch":
            response.pace = Pace.LIVE
            if request.headers.get("upgrade", "").lower() == "websocket":
                return watch_socket(request, response)
        elif found.subresource in STREAMING:
            response.pace = Pace.FREE
        return response

    async def _dispatch(self, request: Request) -> Response:
        found = route_of(request)
        if request.upload is not None and not found.tail:
            await chain.take(request)
        if found.resource is None:
            if "unroutable" in request.context:
                raise request.context["unroutable"]
            return await self._plain(request)
        if warning := self.scheme.warning(found.resource):
            self._deprecated(request, warning)
        if problems := list(names.path_segment(found.name)):
            raise BadRequest(f"Name parameter invalid: {quoted(found.name)}: {';'.join(problems)}")
        if not self.cache.loaded.is_set():
            await self.cache.loaded.wait()
        if not found.subresource:
            if found.verb == "create" and self._reviews.has(found):
                return await self._reviews.serve(request, found)
            if found.verb == "create" and found.resource is resources.BINDINGS:
                return await self._parts.binding(request, found)
            return await self._objects.serve(request, found)
        if found.subresource in STREAMING:
            await admit_connect(self.registry, request, found)
            return await self.kubelets.serve(request, found)
        return await self._parts.serve(request, found)

    def _deprecated(self, request: Request, warning: str) -> None:
        """Told in the answer, in a metric and to the audit log."""
        warn(request, warning)
        self.metrics.deprecated(route_of(request))
        if "annotations" in request.context:
            request.context["annotations"]["k8s.io/deprecated"] = "true"

    async def _plain(self, request: Request) -> Response:
        """Paths that are no resource's. Raises NotFound."""
        path = request.path
        first = path.split("/")[1]
        if first in ("healthz", "livez", "readyz"):  # with any method, as in Kubernetes
            return self._health.serve(request)
        if request.method != "GET":
            raise not_allowed() if first in _ROOTS else missing()
        if first in ("api", "apis"):
            return self._discovery.serve(request)
        if path in ("/version", "/version/"):
            return respond(version())
        if path == "/openapi/v3" or path.startswith("/openapi/v3/"):
            return await self._openapi.serve(request)
        if path == "/openapi/v2":
            return await self._openapi.serve_v2(request)
        if path == "/metrics":
            return Response(headers=_METRICS, body=self.metrics.text())
        if path == "/metrics/slis":
            return Response(headers=_METRICS, body=generate_latest(self._slis))
        if self.tokens is not None and path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
            return self._issuer(path)
        if path == "/":
            return respond({"paths": self._paths()})
        raise missing()

    def _issuer(self, path: str) -> Response:
        """What others need to verify our tokens (OpenID Connect discovery; RFC 7517 section 8.5 for the keys)."""
        assert self.tokens is not None
        headers = {"content-type": "application/json", "cache-control": "public, max-age=3600"}
        if path == "/openid/v1/jwks":
            headers["content-type"] = "application/jwk-set+json"
            return Response(headers=headers, body=encode({"keys": self.tokens.jwks}))
        document = {
            "issuer": self.tokens.issuer,
            "jwks_uri": f"{self.config.url}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": self.tokens.algorithms,
        }
        return Response(headers=headers, body=encode(document))

    def _paths(self) -> list[str]:
        roots = {row.root for row in self.scheme.resources}
        groups = {f"/apis/{row.group}" for row in self.scheme.resources if row.group}
        return sorted(
            {
                "/api",
                "/apis",
                "/metrics",
                "/metrics/slis",
                "/openapi/v2",
                "/openapi/v3",
                "/version",
                *self._health.paths,
            }
            | ({"/.well-known/openid-configuration", "/openid/v1/jwks"} if self.tokens is not None else set())
            | roots
            | groups
        )

    def _store_trouble(self) -> str:
        try:
            return "" if self._store.revision >= 0 else "no revision"
        except Unavailable as error:
            return str(error)


_METRICS = {"content-type": "text/plain; version=0.0.4"}
_ROOTS = frozenset({"", "api", "apis", "version", "openapi", "metrics", ".well-known", "openid"})


def _auditor(config: ApiServerConfig) -> tuple[AuditLog | None, Auditor | None]:
    """Raises BadPolicy, OSError."""
    if not (config.audit_policy_file and config.audit_log_path):
        return None, None
    policy = Policy.load(Path(config.audit_policy_file))
    made = AuditLog(
        config.audit_log_path,
        max_size_mb=config.audit_log_maxsize,
        max_age_days=config.audit_log_maxage,
        max_backups=config.audit_log_maxbackup,
    )
    return made, Auditor(policy, made)


def version() -> Obj:
    """GET /version: the Kubernetes release whose API this is."""
    release = openapi.release()
    major, minor, *_ = release.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{release}+pybernetes",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{_machine()}",
    }


def _machine() -> str:
    found = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(found, found)


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""
