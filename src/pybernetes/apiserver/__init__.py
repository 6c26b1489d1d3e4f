"""The API server: one handler over a Store, speaking the Kubernetes API."""

from .server import ApiServer, ApiServerConfig

__all__ = ["ApiServer", "ApiServerConfig"]
