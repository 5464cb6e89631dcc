"""Repeats of a workload against a server, and the search for its maximum concurrency."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unfrag.bench.meter import Meter, Step
from unfrag.bench.result import MaxConcurrency, Repeat, Result, Trial, summarise
from unfrag.bench.sampler import Sampler
from unfrag.doctor.probes import launch
from unfrag.errors import NotEnoughEvidence
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Launch, Metrics
from unfrag.facts.values import Unknown
from unfrag.redaction import redact
from unfrag.server.client import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from unfrag.bench.load import LoadGenerator
    from unfrag.bench.workload import Prompt, Workload


@dataclass(frozen=True)
class BenchPlan:
    """How much to measure.

    Attributes:
        in_flight: requests at a time in the repeats.
        repeats: passes over the workload.
        searches: searches for the maximum concurrency; each after the first begins at the last value found.
        ttft_limit: P95 seconds that a level may reach.
        ceiling: the search goes no higher.
        precision: how near the search goes, as a share of the value (and never nearer than 1).
        rounds: a level of n is tried with rounds x n requests.
        max_seconds: for one pass or level; requests cut off by it count as failed.
    """

    in_flight: int = 24
    repeats: int = 3
    searches: int = 1
    ttft_limit: float = 4.0
    ceiling: int = 256
    precision: float = 0.0625
    rounds: int = 2
    max_seconds: float = 900.0


_FLUSH_SECONDS = 30.0


def bench(
    url: str,
    load: LoadGenerator,
    workload: Workload,
    plan: BenchPlan,
    label: str,
    say: Callable[[str], object] = lambda line: None,
    tell: Callable[[Step], object] = lambda step: None,
) -> Result:
    """Warm up, repeat, search. ``tell`` is called with how far it is.

    Raises:
        NotEnoughEvidence: the server cannot be loaded at all. Requests that fail are counted, not raised.
    """
    searched = plan.rounds * plan.in_flight if plan.searches else 0
    meter = Meter(len(workload.prompts) * plan.repeats, searched, tell)
    say(f"{label}: warming up with {len(workload.warmup)} prompts")
    warm_up(load, url, workload, plan.in_flight, plan.max_seconds)
    repeats = []
    for i in range(plan.repeats):
        name = f"pass {i + 1} of {plan.repeats}"
        meter.begin(name, len(workload.prompts))
        repeats.append(measure(load, url, workload.prompts, plan.in_flight, plan.max_seconds))
        left = meter.end(name).left
        say(f"{label}: {name}: {_in_words(repeats[-1])}" + (f"; {left}" if left and i + 1 < plan.repeats else ""))
    found: list[MaxConcurrency] = []
    for _ in range(plan.searches):

        def attempt(level: int) -> Repeat:
            prompts = level_prompts(workload, level, plan.rounds)
            meter.begin(f"{level} in flight", len(prompts), searching=True)
            seen = measure(load, url, prompts, level, plan.max_seconds)
            meter.end(f"{level} in flight")
            say(f"{label}: {level} in flight: {_why_not(seen, plan.ttft_limit) or 'holds'}")
            return seen

        start = int(statistics.median(f.value for f in found)) if found else plan.in_flight // 2
        found.append(max_concurrency(attempt, plan.ttft_limit, start, plan.ceiling, plan.precision, bool(found)))
    return _result(url, label, workload, plan, repeats, found)


def _result(
    url: str, label: str, workload: Workload, plan: BenchPlan, repeats: list[Repeat], found: list[MaxConcurrency]
) -> Result:
    with Server(url) as server:
        pool, version = server.pool(), server.version()
    line = launch.of_server(url)
    return Result(
        label=label,
        target=redact(url),
        engine_version=None if isinstance(version, Unknown) else version,
        command=redact(line.command) if isinstance(line, Launch) else None,
        workload=workload.description,
        in_flight=plan.in_flight,
        repeats=tuple(repeats),
        max_concurrency=tuple(found),
        pool_bytes=pool.capacity_bytes if isinstance(pool, Pool) else None,
        pool_tokens=pool.capacity_tokens if isinstance(pool, Pool) else None,
    )


def _in_words(seen: Repeat) -> str:
    ttft = "no first token" if seen.ttft_p95 is None else f"P95 TTFT {seen.ttft_p95:.2f} s"
    return f"{ttft}, {seen.tokens_per_second:,.0f} tokens/s, {seen.failed} failed"


def warm_up(load: LoadGenerator, url: str, workload: Workload, in_flight: int, max_seconds: float) -> None:
    """Empty the prefix cache where the plugin can, then send the warm-up prompts, unmeasured."""
    with Server(url) as server, contextlib.suppress(NotEnoughEvidence):
        server.flush(_FLUSH_SECONDS)
    load.run(workload.warmup, in_flight, max_seconds, progress=False)


def measure(load: LoadGenerator, url: str, prompts: tuple[Prompt, ...], in_flight: int, max_seconds: float) -> Repeat:
    """Send each prompt once, ``in_flight`` at a time, and sample the server's memory meanwhile."""
    with Server(url) as server:
        before = server.metrics()
        with Sampler(url) as sampler:
            requests = load.run(prompts, in_flight, max_seconds, progress=False)
        after = server.metrics()
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
    attempt: Callable[[int], Repeat],
    ttft_limit: float,
    start: int,
    ceiling: int,
    precision: float = 0.0625,
    known: bool = False,
) -> MaxConcurrency:
    """The most requests in flight with no failure, no preemption and P95 TTFT within the limit.

    From ``start``, doubles until a level does not hold, or halves until one does; then bisects between the two, to
    1 or to ``precision``. With ``known``, ``start`` is a former result and steps of an eighth replace doubling.

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

    good, bad, level = 0, ceiling + 1, max(1, min(start, ceiling))
    while good < level < bad:
        step = max(1, level // 8) if known else level
        if holds(level):
            good, level = level, min(level + step, ceiling)
        else:
            bad, level = level, level - max(1, level // 8) if known else level // 2
    while bad - good > max(1, good * precision):
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
