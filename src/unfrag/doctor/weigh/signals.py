"""Weak signals of a snapshot, as names: known words of trouble, messages, flags, whose bytes fill the card, the stage.

None of them decides anything; ``hypotheses`` adds up what they are worth.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unfrag.doctor.weigh import evidence, oom
from unfrag.facts.snapshot import Gpus, Launch, Metrics
from unfrag.facts.values import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unfrag.facts.snapshot import Snapshot

_LOOSE = 0.1
_MOST = 0.5
_FULL = 0.9
_UNIFIED = re.compile(r"GB10\b|DGX Spark|Strix Halo|Jetson|Thor\b|GH200|unified memory|8060S", re.IGNORECASE)
_LAPTOP = re.compile(r"\bWSL|RTX\s?(?:20|30|40|50)\d\d|laptop|mobile", re.IGNORECASE)


def of(snapshot: Snapshot) -> frozenset[str]:
    """All of them."""
    return frozenset(
        (
            *_words(snapshot),
            *_messages(snapshot),
            *_flags(snapshot),
            *_allocation(snapshot),
            *_cards(snapshot),
            *_load(snapshot),
        )
    )


def _words(snapshot: Snapshot) -> Iterator[str]:
    for log in evidence.logs(snapshot):
        for term in log.terms:
            yield term.replace(":", " ", 1) if term.startswith("about:") else f"word {term}"


def _messages(snapshot: Snapshot) -> Iterator[str]:
    for log in evidence.logs(snapshot):
        for event in log.events:
            if evidence.still_counts(log, event.life, event.ready):
                yield f"message {event.kind}"
                if event.ready:
                    yield f"message {event.kind} while serving"
        if log.lives > 1:
            yield "log several starts"
    if evidence.serves(snapshot):
        yield "log serves"


def _flags(snapshot: Snapshot) -> Iterator[str]:
    if not isinstance(snapshot.launch, Launch):
        return
    for name in snapshot.launch.flags:
        yield f"flag {name}"
    for name in snapshot.launch.env:
        yield f"variable {name}"
    share = evidence.utilization(snapshot)
    if share is not None:
        yield "share high" if share > _FULL else "share low" if share < _MOST else "share usual"
    if evidence.ranks(snapshot) > 1:
        yield "ranks several"


def _allocation(snapshot: Snapshot) -> Iterator[str]:
    """The arithmetic of a failed allocation."""
    view = oom.of(snapshot)
    if view is None:
        bare = oom.bare(snapshot)
        if bare is not None:
            yield "allocation without numbers"
            yield f"allocation stage {bare[1]}"
            yield f"allocation component {bare[2]}"
        return
    yield "allocation failed"
    yield f"allocation stage {view.stage}"
    yield f"allocation component {view.component}"
    for name, value in (("others", view.others), ("free", view.free), ("asked", view.asked)):
        share = view.share(value)
        if share is not None:
            size = "most" if share > _MOST else "much" if share > _LOOSE else "some" if share > _LOOSE / 5 else "little"
            yield f"allocation {name} {size}"
    if view.fragmented >= 1:
        unused = view.share(view.unallocated) or 0.0
        yield "allocation fits into the reserve"
        yield "allocation reserve large" if unused > _LOOSE else "allocation reserve small"
    if view.free is not None and view.free >= view.asked:
        yield "allocation smaller than what is free"


def _cards(snapshot: Snapshot) -> Iterator[str]:
    words = f"{'' if isinstance(snapshot.cards, Unknown) else snapshot.cards} {evidence.command(snapshot)}"
    if _UNIFIED.search(words):
        yield "card unified"
    if _LAPTOP.search(words):
        yield "card of a person"
    if not isinstance(snapshot.engine, Unknown):
        yield f"engine {snapshot.engine.lower()}"
    gpus = snapshot.gpus
    if not isinstance(gpus, Gpus):
        return
    yield "cards listed"
    used = [gpu.used_bytes / gpu.total_bytes for gpu in gpus.gpus if gpu.used_bytes is not None and gpu.total_bytes]
    if len(used) > 1 and max(used) - min(used) > _LOOSE:
        yield "cards uneven"
    if used and min(used) > _FULL:
        yield "cards full"
    if used and max(used) < _LOOSE:
        yield "cards empty"
    if any(gpu.history for gpu in gpus.gpus):
        yield "cards polled again"


def _load(snapshot: Snapshot) -> Iterator[str]:
    metrics, found = snapshot.metrics, evidence.loads(snapshot)
    if isinstance(metrics, Metrics):
        yield "metrics given"
        if metrics.preemptions:
            yield "metrics preempted"
        if metrics.waiting:
            yield "load waits"
        if (metrics.kv_cache_usage or 0) > _FULL:
            yield "load full"
    if found:
        yield "load lines"
        last = found[-1]
        if last.waiting:
            yield "load waits"
        if (last.usage or 0) > _FULL:
            yield "load full"
        if last.running == 0:
            yield "load idle"
        if not last.generation_rate and last.running:
            yield "load stands still"
    if not isinstance(snapshot.series, Unknown):
        for series in snapshot.series:
            if len(series.values) > 2 and series.values[-1] > series.values[0] * (1 + _LOOSE):
                yield f"series {series.what} grows"
