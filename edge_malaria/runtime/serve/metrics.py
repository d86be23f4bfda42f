"""Numbers for Prometheus: of slides, fields, disk and requests; nothing of samples or persons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.pushing import Pushing
from edge_malaria.runtime.store.disk import room


class _Device(Collector):
    """Read off the desk whenever somebody asks."""

    def __init__(self, desk: Desk, pushing: Pushing) -> None:
        self._desk, self._pushing = desk, pushing

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Prometheus."""
        states = GaugeMetricFamily("edge_malaria_slides", "Slides by state.", labels=["state"])
        counted: dict[str, int] = {}
        for entry in self._desk.entries():
            counted[entry.state] = counted.get(entry.state, 0) + 1
        for state, n in sorted(counted.items()):
            states.add_metric([state], n)
        yield states
        space = room(self._desk.settings.data)
        yield GaugeMetricFamily("edge_malaria_disk_free_bytes", "Room left.", space.free_bytes)
        running = self._desk.running
        seen = running.seen() if running is not None else None
        yield GaugeMetricFamily(
            "edge_malaria_running_fields",
            "Fields of the running slide.",
            seen.fields if seen else 0,
        )
        yield GaugeMetricFamily(
            "edge_malaria_running_cells", "Cells of the running slide.", seen.cells if seen else 0
        )
        yield GaugeMetricFamily(
            "edge_malaria_stuck", "1 where the running slide stands still.", int(self._desk.stuck)
        )
        yield from self._outbox()

    def _outbox(self) -> Iterator[GaugeMetricFamily]:
        waiting, sent, oldest = (
            GaugeMetricFamily(f"edge_malaria_outbox_{name}", words, labels=["target"])
            for name, words in (
                ("waiting", "Signed results that wait to be sent."),
                ("sent", "Signed results that were sent."),
                ("oldest_seconds", "How long the oldest that waits has waited."),
            )
        )
        now = datetime.now(UTC)
        for count in self._pushing.counts():
            waiting.add_metric([count.target], count.waiting)
            sent.add_metric([count.target], count.sent)
            since = datetime.fromisoformat(count.oldest) if count.oldest else now
            oldest.add_metric([count.target], max(0.0, (now - since).total_seconds()))
        yield from (waiting, sent, oldest)


class Metrics:
    """One server's numbers."""

    def __init__(self, desk: Desk, pushing: Pushing) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Device(desk, pushing))
        self._requests = Counter(
            "edge_malaria_requests", "Requests by status.", ["status"], registry=self._registry
        )

    def answered(self, status: int) -> None:
        """Counts one answer."""
        self._requests.labels(status=str(status)).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return bytes(generate_latest(self._registry))
