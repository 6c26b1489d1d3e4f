"""Composition of one node: kubelet, service proxy and cluster DNS in one process, each with its own identity."""

from pathlib import Path

from prometheus_client import REGISTRY

from pybernetes.aio.logs import setup_logging
from pybernetes.aio.process import run_forever
from pybernetes.aio.supervise import Fatal, supervise
from pybernetes.api import ranges
from pybernetes.client import Client, kubeconfig
from pybernetes.dns import Claim, Dns, DnsConfig
from pybernetes.kubelet import Kubelet, KubeletConfig
from pybernetes.kubelet.routes import PeerRoutes
from pybernetes.netlink.nft import KernelNftables
from pybernetes.proxy import Proxy, ProxyConfig
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.serve import Server

from . import connect
from .config import AgentConfig, ConfigError
from .dns_pages import pages
from .dns_workers import Task, Workers
from .health import Check
from .join import prepared
from .node_identity import PARTS, kubeconfig_path, renewal
from .service_proxy import REQUEST_SECONDS, node_health


def run(config: AgentConfig) -> None:
    """Serve until SIGTERM; pods go on running without the agent."""
    setup_logging(config.log_level, format=config.log_format)
    run_forever(_joined(config))


async def _joined(config: AgentConfig) -> None:
    """Raises Fatal when the node cannot join, or has no identity."""
    try:
        whole = await prepared(config)
    except ConfigError as error:
        raise Fatal(str(error)) from error
    await serve(whole)


async def serve(config: AgentConfig) -> None:
    """The three parts of a node; cancel it to stop."""
    transports = {part: transport_of(config, part) for part in PARTS}
    clients = {part: Client(transport, user_agent=f"pybernetes-{part}") for part, transport in transports.items()}
    renewals = [
        renewal(config, part, client=clients["kubelet"], transport=transport) for part, transport in transports.items()
    ]
    kubelet = Kubelet(clients["kubelet"], kubelet_config(config))
    proxy = Proxy(clients["proxy"], proxy_config(config))
    dns = Dns(clients["dns"], dns_config(config))
    REGISTRY.register(dns.collector)  # the kubelet's server shows the metrics of the whole process
    checks: dict[str, Check] = {
        "kubelet": lambda: kubelet.synced,
        "proxy": proxy.synced.is_set,
        "dns": dns.ready.is_set,
    }
    ports = (dns.config.port, *((config.dns_port,) if config.dns_port else ()))
    claim = Claim(dns_addresses(config), ready=dns.ready, nft=KernelNftables(), ports=ports)
    workers = Workers(dns_task(config), count=config.dns_workers - 1)
    shown = Server(
        pages(dns.ready.is_set, lambda: workers.metrics(dns.collector.collect())),
        listen=[(address, config.dns_port) for address in dns.config.listen if config.dns_port],
        shared=True,
    )
    health = Server(
        node_health(proxy, checks, applied={"dns": lambda: str(dns.applied or "")}),
        listen=[(address, config.health_port) for address in ranges.split(config.node_address)],
    )
    routes = [PeerRoutes(clients["proxy"], node_name=config.node_name)] if config.pod_routes else []
    try:
        await supervise(health, kubelet, proxy, dns, workers, shown, claim, *routes, *renewals)
    finally:
        for client in clients.values():
            await client.close()


def transport_of(config: AgentConfig, part: str) -> HttpTransport:
    """With the identity of one part."""
    return connect.transport(kubeconfig.load(kubeconfig_path(config, part)), timeout_seconds=REQUEST_SECONDS)


def dns_addresses(config: AgentConfig) -> tuple[str, ...]:
    return ranges.split(config.dns_address) or ranges.nth(config.service_range, 10)


def kubelet_config(config: AgentConfig) -> KubeletConfig:
    identities = Path(config.identities)
    return KubeletConfig(
        node_name=config.node_name,
        node_addresses=ranges.split(config.node_address),
        pod_ranges=ranges.split(config.pod_range),
        cluster_dns=dns_addresses(config),
        cluster_domain=config.cluster_domain,
        state_directory=config.state_directory,
        run_directory=config.run_directory,
        port=config.kubelet_port,
        certificate=str(identities / "kubelet-server.crt"),
        key=str(identities / "kubelet-server.key"),
        client_ca=str(identities / "ca.crt"),
        renewed_certificate=str(identities / "kubelet-server-current.pem"),
        hidden=(config.identities, *config.hidden),
        lease_seconds=config.lease_seconds,
        labels=config.labels,
    )


def proxy_config(config: AgentConfig) -> ProxyConfig:
    return ProxyConfig(
        node_name=config.node_name,
        node_addresses=ranges.split(config.node_address),
        node_port_addresses=config.node_port_addresses,
        localhost_node_ports=config.localhost_node_ports,
        cluster_cidr=config.cluster_pod_range,
        service_range=config.service_range,
        local_addresses=dns_addresses(config),
    )


def dns_config(config: AgentConfig) -> DnsConfig:
    return DnsConfig(
        node_name=config.node_name,
        listen=(*dns_addresses(config), *ranges.split(config.node_address)),
        cluster_domain=config.cluster_domain,
        reverse_ranges=(*ranges.split(config.cluster_pod_range), *ranges.split(config.service_range)),
        upstreams=config.dns_upstreams,
        lameduck_seconds=config.dns_lameduck_seconds,
    )


def dns_task(config: AgentConfig) -> Task:
    """What a further process of the cluster DNS does."""
    return Task(
        kubeconfig=str(kubeconfig_path(config, "dns")),
        config=dns_config(config),
        log_format=config.log_format,
        log_level=config.log_level,
    )
