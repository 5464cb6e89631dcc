"""The guard's own metrics, for Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from unfrag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from unfrag.guard.fleet import Fleet
    from unfrag.guard.service import WatchedServer


class Collector:
    """``watched``: gives the servers under guard now."""

    def __init__(self, watched: Callable[[], list[WatchedServer]]) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("unfrag_guard_target_up", "1 while /health answers 200", labels=["target"])
        age = GaugeMetricFamily("unfrag_guard_poll_age_seconds", "Seconds since the last poll", labels=["target"])
        page = GaugeMetricFamily("unfrag_guard_human_needed", "1 while it is left to a human", labels=["target"])
        actions = CounterMetricFamily(
            "unfrag_guard_actions", "What was done, and how it came out", labels=["target", "action", "outcome"]
        )
        for one in self._watched():
            label, seen = one.target.label, one.last
            if seen is None:
                continue
            up.add_metric([label], seen.answers == "ok")
            age.add_metric([label], time.monotonic() - seen.at)
            page.add_metric([label], bool(one.remembered.state.paged))
            for (action, outcome), times in list(one.actions.items()):
                actions.add_metric([label, action, outcome], times)
        yield from (up, age, page, actions)


def serve(port: int, fleet: Fleet) -> None:
    """On 127.0.0.1. Raises UsageError: the port is taken."""
    registry = CollectorRegistry()
    registry.register(Collector(lambda: fleet.watched))
    try:
        start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as fault:
        raise UsageError(
            f"--metrics-port {port}: {getattr(fault, 'strerror', None) or fault}; choose another"
        ) from fault
