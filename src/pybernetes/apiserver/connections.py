"""The connections of the socket as metrics, made when they are asked for. Names without a counterpart are our own."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pybernetes.wire.door import Door


class ServesConnections(Protocol):
    """What is asked of a wire.serve.Server."""

    door: Door
    failed_handshakes: int
    cut: int


class ConnectionMetrics(Collector):
    """For a prometheus_client registry."""

    def __init__(self, server: ServesConnections) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        door = self._server.door
        yield GaugeMetricFamily("apiserver_connections", "Open connections, handshakes included.", value=door.open)
        yield CounterMetricFamily("apiserver_connections_accepted", "Connections let in.", value=door.accepted)
        refused = CounterMetricFamily(
            "apiserver_connections_refused", "Connections past the bound in all, or of one address.", labels=("bound",)
        )
        for bound, count in door.refused.items():
            refused.add_metric((bound,), count)
        yield refused
        yield CounterMetricFamily(
            "apiserver_connections_cut", "Connections whose peers sent or read too slowly.", value=self._server.cut
        )
        yield CounterMetricFamily(
            "apiserver_tls_handshake_errors", "Handshakes that failed.", value=self._server.failed_handshakes
        )
