"""The main job on the rig: one KV budget, the article's command before and after its advice, and unfrag's.

Each configuration is put in place by ``apply`` under a real supervisord, diagnosed under load, and measured.
"""

from __future__ import annotations

import statistics
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from unfrag.apply import change
from unfrag.apply.history import History
from unfrag.apply.program import Program
from unfrag.bench.load import LoadGenerator
from unfrag.bench.result import Result
from unfrag.bench.run import BenchPlan, bench
from unfrag.bench.workload import Workload, generate
from unfrag.doctor import collect, diagnosis
from unfrag.doctor.probes import launch
from unfrag.doctor.rules.thresholds import load_thresholds
from unfrag.errors import NotEnoughEvidence
from unfrag.facts.finding import SEVERITIES
from unfrag.facts.memory_stats import Pool
from unfrag.launchers import Edit
from unfrag.plan.advise import Advice, advise
from unfrag.rig.environment import SERVED_NAME
from unfrag.rig.server import Rig
from unfrag.server.client import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KV_BUDGET_BYTES = 144 * 2**20
STOCK_BLOCK_TOKENS = 128
KV_BYTES_PER_TOKEN = 4096  # 4 layers x 4 heads x (64 key + 64 value) x 2 bytes
MEAN_TOKENS = 3200
OUTPUT_TOKENS = 64
_START_SECONDS = 240.0
ARTICLE_FLAGS: dict[str, str | None] = {
    "--block-size": "32",
    "--max-num-seqs": "256",
    "--kv-cache-dtype": "float16",
    "--enable-chunked-prefill": None,
}


class Configuration(msgspec.Struct, frozen=True):
    """One column of the table: what was changed and why, what was found under load, what was measured."""

    label: str
    flags: dict[str, str | None]
    advice: tuple[Advice, ...]
    diagnosis: diagnosis.Diagnosis | None
    result: Result


class Demo(msgspec.Struct, frozen=True):
    """What the demo writes as JSON."""

    schema_version: int
    kv_budget_bytes: int
    configurations: tuple[Configuration, ...]


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    prompts: int
    questions_per_document: int
    plan: BenchPlan


FULL = Size(100, 5, BenchPlan(in_flight=24, repeats=3, searches=3, ceiling=128))
QUICK = Size(40, 2, BenchPlan(in_flight=24, repeats=1, searches=1, ceiling=64, rounds=1, precision=0.25))


def run_demo(size: Size, say: Callable[[str], object], progress: Callable[[str], None]) -> Demo:
    """Run all four configurations; about 4 minutes quick, 12 in full, on two cores.

    Raises:
        NeverReady, RolledBack, NotEnoughEvidence: a server did not come up; nothing is left running.
    """
    untuned: dict[str, str | None] = {"--num-gpu-blocks-override": _blocks(STOCK_BLOCK_TOKENS)}
    with Rig(untuned) as rig, LoadGenerator(rig.url, SERVED_NAME) as load:
        say(f"vLLM on this CPU under supervisord, {KV_BUDGET_BYTES >> 20} MiB of KV cache in every configuration")
        say("A: the article's command, untuned")
        rig.wait_ready(_START_SECONDS, progress)
        with Server(rig.url) as server:
            workload = generate(
                partial(server.tokens, SERVED_NAME),
                prompts=size.prompts,
                mean_tokens=MEAN_TOKENS,
                output_tokens=OUTPUT_TOKENS,
                questions_per_document=size.questions_per_document,
            )
            pool = server.pool()
        if not isinstance(pool, Pool):
            raise NotEnoughEvidence(pool.why)
        history = History(rig.folder / "changes")
        seen = [_measure(rig, load, "A untuned", untuned, (), workload, size.plan, say)]
        for label, title, flags, advice in _changes(pool, untuned, seen[0].result):
            say(title)
            for flag in advice:
                say(f"   {flag.flag} {flag.value or ''}: {flag.why}. Costs: {flag.costs}")
            earlier = tuple(flag for flag in ARTICLE_FLAGS if flag not in flags)
            planned = change.plan(rig.launcher, Edit(flags, earlier))
            change.apply(Program(rig.launcher, _START_SECONDS, progress, history), planned)
            seen.append(_measure(rig, load, label, flags, advice, workload, size.plan, say))
    return Demo(1, KV_BUDGET_BYTES, tuple(seen))


def _changes(
    pool: Pool, untuned: dict[str, str | None], before: Result
) -> Iterator[tuple[str, str, dict[str, str | None], tuple[Advice, ...]]]:
    yield (
        "B article",
        "B: the article's own flags",
        {**ARTICLE_FLAGS, "--num-gpu-blocks-override": _blocks(int(ARTICLE_FLAGS["--block-size"] or 0))},
        (),
    )
    held = int(statistics.median(found.value for found in before.max_concurrency)) or None
    for label, title, quantize in (
        (
            "C without FP8 KV",
            "C without KV quantisation: unfrag's choice, the model's numbers untouched",
            False,
        ),
        ("C unfrag", "C: unfrag's choice, FP8 KV allowed", True),
    ):
        advice = advise(pool, untuned, MEAN_TOKENS + OUTPUT_TOKENS, quantize, held)
        yield label, title, {item.flag: item.value for item in advice}, advice


def _blocks(block_tokens: int) -> str:
    return str(KV_BUDGET_BYTES // (block_tokens * KV_BYTES_PER_TOKEN))


def _measure(
    rig: Rig,
    load: LoadGenerator,
    label: str,
    flags: dict[str, str | None],
    advice: tuple[Advice, ...],
    workload: Workload,
    plan: BenchPlan,
    say: Callable[[str], object],
) -> Configuration:
    with _diagnosed_under_load(rig) as found:
        result = bench(rig.url, load, workload, plan, label, lambda line: say(f"   {line}"))
    best = found[-1] if found else None
    if best is not None:
        say(f"   diagnosed under load: {best.verdict}" + "".join(f"\n      {f.summary}" for f in best.findings[:1]))
    return Configuration(label, flags, advice, best, result)


@contextmanager
def _diagnosed_under_load(rig: Rig, every_seconds: float = 5.0) -> Iterator[list[diagnosis.Diagnosis]]:
    """Diagnose every few seconds while the body runs; yields the list, the gravest finding last."""
    found: list[diagnosis.Diagnosis] = []
    done = threading.Event()
    thresholds = load_thresholds()

    def look() -> None:
        while not done.wait(every_seconds):
            snapshot = collect.live(
                collect.Asked(rig.url, rig.log, launch=launch.of_text(rig.launcher.read().command, str(rig.config)))
            )
            found.append(diagnosis.diagnose(snapshot, thresholds))

    thread = threading.Thread(target=look, name="diagnose", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found.sort(key=lambda d: max((SEVERITIES.index(f.severity) for f in d.findings), default=-1))
