"""kube-proxy: Services and EndpointSlices into kernel rules."""

from .config import ProxyConfig
from .loop import Applied, Proxy, cleanup

__all__ = ["Applied", "Proxy", "ProxyConfig", "cleanup"]
