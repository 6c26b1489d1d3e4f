"""The cluster DNS as a process of its own, for the cluster of any kubeconfig: as `agent` runs it on each node."""

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import REGISTRY

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal, stacked
from pybernetes.client import BadKubeconfig, Client
from pybernetes.dns import Dns, DnsConfig
from pybernetes.wire.serve import Server

from . import connect
from .config import ConfigError, DnsProcessConfig, endpoint
from .dns_pages import pages
from .dns_workers import Task, Workers


def run(config: DnsProcessConfig) -> None:
    """Until SIGTERM. Raises ConfigError."""
    try:
        client = connect.client(config.kubeconfig, user_agent="pybernetes-dns")
    except (OSError, BadKubeconfig) as error:
        raise ConfigError(f"kubeconfig {config.kubeconfig}: {error}") from error
    try:
        settings = dns_config(config)
        dns = Dns(client, settings)
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    listen = [endpoint(text) for text in dict.fromkeys((config.health, config.ready, config.metrics)) if text]
    task = Task(kubeconfig=config.kubeconfig, config=settings, log_format=config.log_format, log_level=config.log_level)
    setup_logging(config.log_level, format=config.log_format)
    run_forever(serve(client, dns, listen=listen, workers=Workers(task, count=config.workers - 1)))


async def serve(client: Client, dns: Dns, *, listen: Sequence[tuple[str, int]], workers: Workers) -> None:
    """Until cancelled: then the names end first, and /ready says so meanwhile. Raises Fatal for a port in use."""
    REGISTRY.register(dns.collector)
    handler = pages(dns.ready.is_set, lambda: workers.metrics(REGISTRY.collect()))
    server = Server(handler, listen=listen, shared=True)
    try:
        await server.start()
        await stacked([server], [_Names(dns), workers])
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


def dns_config(config: DnsProcessConfig) -> DnsConfig:
    """Raises OSError for a file that is not there."""
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
        tls_ca=Path(config.tls_ca).read_text() if config.tls_ca else "",
    )
