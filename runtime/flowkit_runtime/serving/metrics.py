"""Counts what a server does, for Prometheus."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from flowkit_runtime.session import Graph

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server, and of its process, such as its memory and CPU time."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        asked = ("bundle", "endpoint")
        self._requests = Counter("flowkit_requests", "Requests by status.", (*asked, "status"), registry=registry)
        seconds = partial(Histogram, buckets=_SECONDS, registry=registry)
        rows = partial(Histogram, buckets=_ROWS, registry=registry)
        of_body = "Seconds from the first byte of a request's body to its answer."
        self._seconds = seconds("flowkit_request_seconds", of_body, asked)
        called = ("bundle", "graph")
        self._batch_rows = rows("flowkit_batch_rows", "Rows of each call of onnxruntime.", called)
        self._batch_seconds = seconds("flowkit_batch_seconds", "Seconds of each call of onnxruntime.", called)
        self.waiting = Gauge("flowkit_requests_in_progress", "Requests that wait or are computed.", registry=registry)

    def answered(self, bundle: str, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer. `bundle` and `endpoint` must be known names, so that clients can't create new series."""
        self._requests.labels(bundle, endpoint, str(status)).inc()
        self._seconds.labels(bundle, endpoint).observe(seconds)

    def computed(self, bundle: str, graph: Graph, rows: int, seconds: float) -> None:
        """Count a call of onnxruntime."""
        self._batch_rows.labels(bundle, graph.path.stem).observe(rows)
        self._batch_seconds.labels(bundle, graph.path.stem).observe(seconds)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        return generate_latest(self._registry)
