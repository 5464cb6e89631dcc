"""The expert-route cache in vLLM's ``/metrics``, as of the last reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import REGISTRY, CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric
    from starlette.types import ASGIApp, Receive, Scope, Send

    from unfrag.engine.watch import EngineWatch

_WAIT_SECONDS = 0.2  # a scrape is not held up longer; then it gets the reading before
_COUNTERS = (
    ("hits", "hits", "Tokens looked up whose routes were in the cache"),
    ("misses", "misses", "Tokens looked up whose routes were not"),
    ("evictions", "evictions", "Blocks that made room for others"),
    ("flips", "flips", "Routes computed again for comparison (verify, observe) that came out otherwise"),
    ("served_rows", "served_tokens", "Tokens that were not routed, because the cache served their routes"),
    ("computed_rows", "computed_tokens", "Tokens that were routed"),
)
_GAUGES = (
    ("bytes", "bytes", "Routes held on each rank, in bytes"),
    ("blocks", "blocks", "Blocks whose routes can be served"),
)


class ExpertMetrics:
    """A collector of prometheus_client's registry; with several API servers vLLM leaves those out."""

    def __init__(self) -> None:
        self.last: list[dict[str, Any] | None] = []

    def collect(self) -> Iterator[Metric]:
        """One sample an engine."""
        for source, name, text in _COUNTERS:
            counter = CounterMetricFamily(f"unfrag_expert_cache_{name}", text, labels=["engine"])
            self._fill(counter, source)
            yield counter
        for source, name, text in _GAUGES:
            gauge = GaugeMetricFamily(f"unfrag_expert_cache_{name}", text, labels=["engine"])
            self._fill(gauge, source)
            yield gauge
        balance = GaugeMetricFamily(
            "unfrag_expert_balance_ratio",
            "The busiest expert's share over the mean, in the layer where that is highest",
            labels=["engine"],
        )
        for engine, counts in enumerate(self.last):
            if counts is not None and counts["balance"]:
                balance.add_metric([str(engine)], max(counts["balance"].values()))
        yield balance

    def _fill(self, family: CounterMetricFamily | GaugeMetricFamily, source: str) -> None:
        for engine, counts in enumerate(self.last):
            if counts is not None:
                family.add_metric([str(engine)], counts[source])


class FreshMetrics:
    """ASGI middleware: asks the engines before ``/metrics`` answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._metrics = ExpertMetrics()
        REGISTRY.register(self._metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith("/metrics"):
            watch: EngineWatch | None = getattr(scope["app"].state, "unfrag_watch", None)
            if watch is not None:
                self._metrics.last = await watch.recent_experts(_WAIT_SECONDS)
        await self._app(scope, receive, send)
