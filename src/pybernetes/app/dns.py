"""The cluster DNS as a process of its own, for the cluster of any kubeconfig: as `agent` runs it on each node."""

from collections.abc import Callable

from prometheus_client import REGISTRY, generate_latest

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal, stacked
from pybernetes.client import BadKubeconfig, Client
from pybernetes.dns import Dns, DnsConfig
from pybernetes.wire import Handler, Request, Response
from pybernetes.wire.serve import Server

from . import connect
from .config import ConfigError, DnsProcessConfig, endpoint
from .health import health_handler


def run(config: DnsProcessConfig) -> None:
    """Until SIGTERM. Raises ConfigError."""
    try:
        client = connect.client(config.kubeconfig, user_agent="pybernetes-dns")
    except (OSError, BadKubeconfig) as error:
        raise ConfigError(f"kubeconfig {config.kubeconfig}: {error}") from error
    try:
        dns = Dns(client, dns_config(config))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    health = endpoint(config.health)
    setup_logging(config.log_level, format=config.log_format)
    run_forever(serve(client, dns, health=health))


async def serve(client: Client, dns: Dns, *, health: tuple[str, int]) -> None:
    """Until cancelled: then the names end first, and /readyz says so meanwhile. Raises Fatal for a port in use."""
    REGISTRY.register(dns.collector)
    handler = with_metrics(health_handler({"dns": dns.ready.is_set}), lambda: generate_latest(REGISTRY))
    server = Server(handler, listen=[health])
    try:
        await server.start()
        await stacked([server], [_Names(dns)])
    except OSError as error:
        raise Fatal(str(error)) from error
    finally:
        REGISTRY.unregister(dns.collector)
        await client.close()


class _Names:
    """The DNS, for which a port that cannot be had is the end: nobody would be told otherwise."""

    def __init__(self, dns: Dns) -> None:
        self._dns = dns

    async def run(self) -> None:
        try:
            await self._dns.run()
        except* OSError as errors:
            raise Fatal(str(errors.exceptions[0])) from None


def with_metrics(others: Handler, metrics: Callable[[], bytes]) -> Handler:
    """A handler that answers /metrics, and passes on the rest."""

    async def handle(request: Request) -> Response:
        if request.path != "/metrics":
            return await others(request)
        return Response(headers={"content-type": "text/plain; version=0.0.4"}, body=metrics())

    return handle


def dns_config(config: DnsProcessConfig) -> DnsConfig:
    return DnsConfig(
        listen=config.listen,
        port=config.port,
        node_name=config.node_name,
        cluster_domain=config.cluster_domain,
        reverse_ranges=config.reverse_ranges,
        pods=config.pods,
        autopath=config.autopath,
        ttl=config.ttl,
        upstreams=config.upstreams,
        rate_limit=config.rate_limit,
        lameduck_seconds=config.lameduck_seconds,
    )
