"""kube-proxy: Services and EndpointSlices into kernel rules."""

from .addresses import PRIMARY, BadAddresses
from .config import ProxyConfig
from .loop import Applied, Proxy, cleanup

__all__ = ["PRIMARY", "Applied", "BadAddresses", "Proxy", "ProxyConfig", "cleanup"]
