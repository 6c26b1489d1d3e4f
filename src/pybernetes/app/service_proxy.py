"""The service proxy of one node as a process of its own, and a node's health for who balances in front of it."""

import asyncio
import platform
from collections.abc import Callable, Mapping

from prometheus_client import generate_latest

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal, supervise
from pybernetes.api import ranges
from pybernetes.client import BadKubeconfig, Client
from pybernetes.proxy import PRIMARY, Proxy, ProxyConfig, cleanup
from pybernetes.wire import Handler, Request, Response
from pybernetes.wire.serve import Server

from . import connect
from .config import ConfigError, ServiceProxyConfig, endpoint
from .health import TEXT, Check, health_handler

REQUEST_SECONDS = 10.0
"""A call that takes longer is tried again on a new connection: a node that was cut off heals this soon."""

METRICS = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}


def run(config: ServiceProxyConfig) -> None:
    """Serve until SIGTERM; the rules stay. Raises ConfigError."""
    client = _client(config)
    setup_logging(config.log_level, format=config.log_format)
    run_forever(serve(config, client))


def remove(config: ServiceProxyConfig) -> None:
    """Take away every rule that a proxy has left in this network namespace; nothing is served. Raises OSError."""
    setup_logging(config.log_level, format=config.log_format)
    asyncio.run(cleanup(proxy_config(config)))


async def serve(config: ServiceProxyConfig, client: Client) -> None:
    """The proxy, its health port and its metrics port; cancel it to stop. Raises Fatal when a port is not free."""
    proxy = Proxy(client, proxy_config(config))
    health = Server(node_health(proxy, {"proxy": proxy.synced.is_set}), listen=[endpoint(config.health)])
    metrics = Server(metrics_handler, listen=[endpoint(config.metrics)])
    try:
        for server in (health, metrics):
            await server.start()
        await supervise(health, metrics, proxy)
    except OSError as error:
        raise Fatal(str(error)) from error
    finally:
        for server in (health, metrics):
            await server.stop()
        await client.close()


def proxy_config(config: ServiceProxyConfig) -> ProxyConfig:
    return ProxyConfig(
        node_name=config.node_name or platform.node().lower(),
        node_addresses=ranges.split(config.node_address),
        node_port_addresses=config.node_port_addresses or (PRIMARY,),
        localhost_node_ports=config.localhost_node_ports,
        cluster_cidr=config.cluster_pod_range,
        service_range=config.service_range,
    )


def node_health(
    proxy: Proxy, checks: Mapping[str, Check], *, applied: Mapping[str, Callable[[], str]] | None = None
) -> Handler:
    """The node's health port: /healthz is what load balancers ask kube-proxy there, the rest is as everywhere.

    /applied is how far the kernel is programmed, and beside it up to which revision others (`applied`) have come.
    """

    def revisions() -> dict[str, str]:
        others = {name: revision() for name, revision in (applied or {}).items()}
        return {**proxy.applied._asdict(), **others}

    others = health_handler(checks, facts={"applied": revisions})

    async def handle(request: Request) -> Response:
        return proxy.healthz() if request.path == "/healthz" else await others(request)

    return handle


async def metrics_handler(request: Request) -> Response:
    """/metrics of the whole process."""
    if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
        return Response(status=404, headers=TEXT, body=b"404 page not found\n")
    return Response(headers=METRICS, body=generate_latest())


def _client(config: ServiceProxyConfig) -> Client:
    if not config.kubeconfig:
        raise ConfigError("no kubeconfig: name one by --kubeconfig or in the configuration file")
    try:
        return connect.client(config.kubeconfig, user_agent="pybernetes-proxy", timeout_seconds=REQUEST_SECONDS)
    except (OSError, BadKubeconfig) as error:
        raise ConfigError(f"kubeconfig {config.kubeconfig}: {error}") from error
