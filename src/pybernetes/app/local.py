"""What a local cluster needs of the composition: configuration files, identities, commands, clean-up.

The HTTP client and the cryptography are imported where they are used, beside the server's start.
"""

from pathlib import Path

from pybernetes.api import ranges
from pybernetes.client import Client, kubeconfig
from pybernetes.local import Layout, Node, python_command
from pybernetes.wire import Request, Transport

from .config import AgentConfig, ServerConfig


class LocalHooks:
    """local.Hooks for this program."""

    def configure(self, layout: Layout) -> None:
        _write(Path(layout.state) / "server.yaml", server_config(layout).dump())

    def prepare(self, layout: Layout) -> None:
        """Write what the agents read; what is there and valid is kept. The server may do its own part meanwhile."""
        from .identities import authority_in, node_identities, server_identities

        config = server_config(layout)
        server_identities(config, url=layout.server_url)
        with authority_in(Path(config.state_directory) / "pki") as authority:
            for node in layout.nodes():
                agent = agent_config(layout, node)
                node_identities(
                    authority,
                    Path(agent.identities),
                    node=node.name,
                    addresses=node.addresses,
                    url=f"https://{layout.server_address}",
                    cluster=layout.name,
                )
                _write(Path(node.state) / "agent.yaml", agent.dump())

    def server_command(self, layout: Layout) -> list[str]:
        return python_command("server", "--config", f"{layout.state}/server.yaml")

    def agent_command(self, layout: Layout, node: Node) -> list[str]:
        del layout
        return python_command("agent", "--config", f"{node.state}/agent.yaml")

    def client(self, layout: Layout) -> Client:
        from . import connect

        return connect.client(layout.kubeconfig, user_agent="pybernetes-up")

    async def server_ready(self, layout: Layout) -> bool:
        from . import connect

        return await _answers(connect.transport(kubeconfig.load(layout.kubeconfig)))

    async def agent_ready(self, layout: Layout, node: Node) -> bool:
        from pybernetes.wire.send import HttpTransport

        health = ranges.host_port(node.address, agent_config(layout, node).health_port)
        return await _answers(HttpTransport(f"http://{health}"))

    def end_containers(self, layout: Layout, node: Node) -> None:
        from pybernetes.kubelet import remove_everything

        agent = agent_config(layout, node)
        remove_everything(Path(agent.state_directory), Path(agent.run_directory))


async def _answers(transport: Transport) -> bool:
    """Whether /readyz answers 200."""
    try:
        response = await transport.send(Request(path="/readyz"))
    except (ConnectionError, TimeoutError):
        return False
    else:
        return response.status == 200
    finally:
        await transport.close()


def server_config(layout: Layout) -> ServerConfig:
    return ServerConfig(
        state_directory=f"{layout.state}/server",
        listen=(f"127.0.0.1:{layout.api_port}", layout.server_address),
        advertise=layout.server_address,
        cluster_name=layout.name,
        pod_range=layout.pod_range,
        service_range=layout.service_range,
        dns_address=",".join(layout.dns_addresses),
        node_grace_seconds=layout.node_grace_seconds,
        kubeconfig=layout.kubeconfig,
    )


def agent_config(layout: Layout, node: Node) -> AgentConfig:
    return AgentConfig(
        node_name=node.name,
        node_address=",".join(node.addresses),
        identities=f"{node.state}/pki",
        state_directory=f"{node.state}/pods",
        run_directory=node.run,
        pod_range=",".join(node.pod_ranges),
        cluster_pod_range=layout.pod_range,
        service_range=layout.service_range,
        dns_address=",".join(layout.dns_addresses),
        dns_lameduck_seconds=0.0,
        hidden=(layout.state,),
        lease_seconds=layout.heartbeat_seconds,
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
