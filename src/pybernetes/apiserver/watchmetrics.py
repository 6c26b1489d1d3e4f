"""What the watch cache holds and what watches were sent, by resource, made when they are asked for.

Labels are rows of the scheme. One that is served in several versions counts under the stored one.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pybernetes.api.scheme import Scheme

from .watchcache import WatchCache


class ShelfMetrics(Collector):
    """For a prometheus_client registry."""

    def __init__(self, cache: WatchCache, scheme: Scheme) -> None:
        self._cache = cache
        self._scheme = scheme

    def collect(self) -> Iterator[Metric]:
        objects = GaugeMetricFamily("apiserver_storage_objects", "Objects stored.", labels=("resource",))
        resources = GaugeMetricFamily("apiserver_resource_objects", "Objects stored.", labels=("group", "resource"))
        events = CounterMetricFamily(
            "apiserver_watch_events", "Events that watches were sent.", labels=("group", "version", "kind")
        )
        shelves = {shelf.prefix: shelf for shelf in self._cache.shelves}
        rows = {row.storage.prefix: row.storage for row in self._scheme.resources}
        for prefix, row in rows.items():
            if (shelf := shelves.get(prefix)) is None:
                continue
            objects.add_metric((row.qualified,), len(shelf.items))
            resources.add_metric((row.group, row.plural), len(shelf.items))
            if shelf.sent:
                events.add_metric((row.group, row.version, row.kind), shelf.sent)
        yield from (objects, resources, events)
