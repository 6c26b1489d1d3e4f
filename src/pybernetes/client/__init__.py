"""The client side of the API: calls, watch, informer, cache, kubeconfig."""

from .cache import Cache, Index, IndexedCache, StaticCache
from .client import Client, Listing, PatchType, WatchEvent
from .informer import Delta, Handler, Informer, Informers, Slim
from .kubeconfig import BadKubeconfig, Kubeconfig

__all__ = [
    "BadKubeconfig",
    "Cache",
    "Client",
    "Delta",
    "Handler",
    "Index",
    "IndexedCache",
    "Informer",
    "Informers",
    "Kubeconfig",
    "Listing",
    "PatchType",
    "Slim",
    "StaticCache",
    "WatchEvent",
]
