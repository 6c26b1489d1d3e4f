"""From a kubeconfig to a connection."""

from pathlib import Path

from pybernetes.client import Client, Kubeconfig
from pybernetes.client.kubeconfig import load
from pybernetes.wire.send import HttpTransport


def transport(config: Kubeconfig, *, timeout_seconds: float = 60.0) -> HttpTransport:
    """A transport to the server of a kubeconfig with its credential."""
    return HttpTransport(
        config.server,
        ca=config.ca,
        certificate=config.certificate,
        key=config.key,
        token=(lambda: config.token) if config.token else None,
        server_name=config.server_name,
        insecure=config.insecure,
        timeout_seconds=timeout_seconds,
    )


def client(path: Path | str, *, user_agent: str, timeout_seconds: float = 60.0) -> Client:
    """A client for a kubeconfig file. Raises OSError, BadKubeconfig."""
    return Client(transport(load(path), timeout_seconds=timeout_seconds), user_agent=user_agent)
