"""Repeats of a workload against a server, and the search for its maximum concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.bench.result import MaxConcurrency, Repeat, Trial, summarise
from unfrag.bench.sampler import Sampler
from unfrag.facts import Metrics
from unfrag.probes import http

if TYPE_CHECKING:
    from collections.abc import Callable

    from unfrag.bench.load import LoadGenerator
    from unfrag.bench.workload import Prompt, Workload


def warm_up(load: LoadGenerator, url: str, workload: Workload, in_flight: int, max_seconds: float) -> None:
    """Empty the prefix cache where the plugin can, then send the warm-up prompts, unmeasured."""
    with http.client(url) as server:
        server.post("/flush_cache", timeout=30.0)
    load.run(workload.warmup, in_flight, max_seconds, progress=False)


def measure(
    load: LoadGenerator, url: str, prompts: tuple[Prompt, ...], in_flight: int, max_seconds: float, progress: bool
) -> Repeat:
    """Send each prompt once, ``in_flight`` at a time, and sample the server's memory meanwhile."""
    with http.client(url) as server:
        before = http.read_metrics(server)
        with Sampler(url) as sampler:
            requests = load.run(prompts, in_flight, max_seconds, progress)
        after = http.read_metrics(server)
    return summarise(requests, sampler.samples, _rise(before, after, "preemptions"), _hit_rate(before, after))


def _rise(before: object, after: object, field: str) -> float | None:
    if not isinstance(before, Metrics) or not isinstance(after, Metrics):
        return None
    first, last = getattr(before, field), getattr(after, field)
    return None if first is None or last is None else last - first


def _hit_rate(before: object, after: object) -> float | None:
    queries, hits = _rise(before, after, "prefix_queries"), _rise(before, after, "prefix_hits")
    return None if not queries or hits is None else hits / queries


def max_concurrency(
    attempt: Callable[[int], Repeat], ttft_limit: float, start: int, ceiling: int
) -> MaxConcurrency:
    """The most requests in flight with no failure, no preemption and P95 TTFT within the limit.

    Doubles from ``start`` until a level does not hold (or halves until one does), then bisects between the last that
    held and the first that did not, to 1 up to 16 and to 6% above. A level is asked once.

    Args:
        attempt: runs one level and returns what happened.
        ttft_limit: seconds.
        ceiling: never more than this.
    """
    trials: dict[int, Trial] = {}

    def holds(level: int) -> bool:
        seen = attempt(level)
        trials[level] = Trial(level, seen.failed, seen.preempted, seen.ttft_p95, _why_not(seen, ttft_limit))
        return trials[level].why is None

    good, bad, level = 0, ceiling + 1, min(start, ceiling)
    while good < level < bad:
        if holds(level):
            good, level = level, min(level * 2, ceiling)
        else:
            bad, level = level, level // 2
    while bad - good > max(1, good // 16):
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return MaxConcurrency(good, ttft_limit, good == ceiling, tuple(trials.values()))


def _why_not(seen: Repeat, ttft_limit: float) -> str | None:
    if seen.failed:
        return f"{seen.failed} failed"
    if seen.preempted:
        return f"{seen.preempted} preempted"
    if seen.ttft_p95 is None or seen.ttft_p95 > ttft_limit:
        return f"P95 TTFT {seen.ttft_p95:.2f} s" if seen.ttft_p95 is not None else "no first token"
    return None


def level_prompts(workload: Workload, level: int, rounds: int = 2) -> tuple[Prompt, ...]:
    """``rounds`` x ``level`` prompts of the workload, begun again at its end."""
    return tuple(workload.prompts[i % len(workload.prompts)] for i in range(level * rounds))
