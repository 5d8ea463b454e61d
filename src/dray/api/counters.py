"""What the server counted since it started, and its Prometheus text."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Counters:
    """Counts from the loop and from the threads that move bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_received = 0
        self.bytes_sent = 0
        self.requests: Counter[tuple[str, int]] = Counter()

    def received(self, count: int) -> None:
        """Count bytes of file bodies as they come in, whatever becomes of them."""
        with self._lock:
            self.bytes_received += count

    def sent(self, count: int) -> None:
        """Count bytes of file bodies that went out."""
        with self._lock:
            self.bytes_sent += count

    def answered(self, method: str, status: int) -> None:
        """Count one answer."""
        with self._lock:
            self.requests[method, status] += 1


def render(counters: Counters, gauges: Mapping[str, float]) -> bytes:
    """Return everything in the Prometheus text format; ``gauges`` are numbers of this moment by name."""
    from prometheus_client import CollectorRegistry, generate_latest  # an eighth of a second at start otherwise

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(counters, gauges))
    return generate_latest(registry)


class _Snapshot:
    """A Prometheus collector of what is known now."""

    def __init__(self, counters: Counters, gauges: Mapping[str, float]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield CounterMetricFamily("dray_received_bytes", "bytes of file bodies", value=self._counters.bytes_received)
        yield CounterMetricFamily("dray_sent_bytes", "bytes of file bodies", value=self._counters.bytes_sent)
        requests = CounterMetricFamily("dray_requests", "answers given", labels=["method", "status"])
        for (method, status), count in sorted(self._counters.requests.items()):
            requests.add_metric([method, str(status)], count)
        yield requests
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(f"dray_{name}", name.replace("_", " "), value=value)
