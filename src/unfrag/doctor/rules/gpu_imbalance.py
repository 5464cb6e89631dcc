"""Cards or ranks of one server hold very different amounts: a configuration error, not fragmentation."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.snapshot import Gpus, Launch
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import Snapshot

CAUSE = "gpu_imbalance"


def can_judge(snapshot: Snapshot) -> bool:
    several = isinstance(snapshot.gpus, Gpus) and (len(snapshot.gpus.gpus) > 1 or len(snapshot.gpus.processes) > 1)
    return several or evidence.tensor_parallel(snapshot) > 1


def looked(snapshot: Snapshot) -> bool:
    """Several cards are known, or what each rank printed."""
    printed = {event.rank for log in evidence.logs(snapshot) for event in log.all("kv_available", "model_loaded")}
    return (isinstance(snapshot.gpus, Gpus) and len(snapshot.gpus.gpus) > 1) or len(printed) > 1


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    unbalanced = evidence.said(snapshot, "unbalanced")
    if unbalanced is not None:
        return judged("unequal", unbalanced.text, "proven")
    return (
        _one_of_many(snapshot, thresholds)
        or _crowded(snapshot, thresholds)
        or _strays(snapshot, thresholds)
        or _from_cards(snapshot, thresholds)
        or _from_ranks(snapshot, thresholds)
        or _from_visibility(snapshot)
    )


def _one_of_many(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """The start failed on one full card while others are idle, and nothing asks for more than one."""
    failed = oom.of(snapshot)
    if failed is None or failed.oom.ready or not isinstance(snapshot.gpus, Gpus) or evidence.ranks(snapshot) > 1:
        return None
    used = [gpu.used_bytes for gpu in snapshot.gpus.gpus if gpu.used_bytes is not None]
    idle = [held for held in used if held < thresholds["idle_bytes"]]
    if not idle or len(used) - len(idle) != 1 or not isinstance(snapshot.launch, Launch):
        return None
    on_it = [
        p.name
        for gpu in snapshot.gpus.gpus
        for p in snapshot.gpus.on(gpu)
        if p.name and (p.used_bytes or 0) > thresholds["idle_bytes"]
    ]
    if len(on_it) > 1 and len(set(on_it)) == 1:
        return judged(
            "copies",
            failed.oom.text,
            "proven",
            explains=("foreign_process",),
            copies=len(on_it),
            program=on_it[0],
            idle=len(idle),
        )
    return judged("one", failed.oom.text, "strong", idle=len(idle))


def _crowded(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """A start that found its card taken by another copy of the same engine, while a card beside it is idle."""
    start = evidence.said(snapshot, "startup_free")
    if start is None or not isinstance(snapshot.gpus, Gpus):
        return None
    idle = [
        gpu for gpu in snapshot.gpus.gpus if gpu.used_bytes is not None and gpu.used_bytes < thresholds["idle_bytes"]
    ]
    held = [p for p in snapshot.gpus.processes if (p.used_bytes or 0) > thresholds["idle_bytes"]]
    if not idle or not held or not all(re.search(r"vllm|EngineCore", p.name or "", re.IGNORECASE) for p in held):
        return None
    return judged("crowded", start.text, "proven", explains=("foreign_process",), gpu=idle[0].index)


def _strays(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """Processes with a context on a card that is another one's."""
    places: dict[int, dict[str, int]] = defaultdict(dict)
    for p in snapshot.gpus.processes if isinstance(snapshot.gpus, Gpus) else ():
        card = p.gpu_uuid or (f"GPU {p.gpu_index}" if p.gpu_index is not None else None)
        if p.pid and card is not None and p.used_bytes is not None:
            places[p.pid][card] = p.used_bytes
    stray: dict[str, int] = defaultdict(int)
    for held in places.values():
        home = max(held, key=lambda card: held[card])
        for card, used in held.items():
            if card != home:
                stray[card] += used
    if not stray:
        return None
    card = max(stray, key=lambda name: stray[name])
    if stray[card] < thresholds["stray_bytes"]:
        return None
    line = f"{len(places)} processes, some on two cards"
    return judged("strays", line, "proven", card=card, held=size(stray[card]))


def _from_cards(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """Cards of one server: those in use. An idle one counts where a rank is missing on it."""
    used = _used_by_card(snapshot)
    wanted = evidence.ranks(snapshot)
    listed_only = isinstance(snapshot.gpus, Gpus) and not snapshot.gpus.gpus
    seen = "; ".join(f"{card}: {size(held)}" for card, held in used.items())
    if used and listed_only and len(used) < wanted:
        low, seen = 0, f"{len(used)} of {wanted} cards are in use"
    elif len(used) < 2 or _single(snapshot):
        return None
    else:
        busy = [held for held in used.values() if held >= thresholds["idle_bytes"]]
        missing = len(busy) < len(used) and (len(busy) < wanted or (wanted == 1 and not _power_of_two(len(busy))))
        if len(busy) < 2 and not missing:
            return None
        low = 0 if missing else min(sorted(busy, reverse=True)[: wanted if 1 < wanted <= len(busy) else None])
    high = max(used.values())
    if low >= high * thresholds["ratio"] or high - low < thresholds["bytes"]:
        return None
    return judged("uneven", seen, "strong" if wanted > 1 else "likely")


def _single(snapshot: Snapshot) -> bool:
    """Is the server known to be one of one card?"""
    visible = evidence.env(snapshot, "CUDA_VISIBLE_DEVICES")
    said = evidence.number(snapshot, "--tensor-parallel-size") == 1 or (visible is not None and "," not in visible)
    return evidence.ranks(snapshot) == 1 and said


def _power_of_two(number: int) -> bool:
    """One, two, four … busy cards are as many as a server has, or several servers of one each."""
    return number > 0 and number & (number - 1) == 0


def _from_ranks(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """What each rank printed at the last start: its weights, or what it has left for KV."""
    for log in evidence.logs(snapshot):
        for kind, key, what in (("kv_available", "kv", "left for KV"), ("model_loaded", "weights", "of weights")):
            events = [e for e in log.all(kind) if e.life == log.lives and e.rank and e.numbers.get(key, 0) > 0]
            by_rank = {event.rank: event.numbers[key] for event in events}
            if len(by_rank) < 2:
                continue
            low, high = min(by_rank.values()), max(by_rank.values())
            if low < high * thresholds["rank_ratio"] and high - low >= thresholds["bytes"]:
                line = "; ".join(f"{rank}: {size(value)} {what}" for rank, value in list(by_rank.items())[:8])
                ends: dict[str, Any] = {"low": size(low), "high": size(high)}
                return judged("ranks_kv" if key == "kv" else "ranks_weights", line, "strong", **ends)
    return None


def _from_visibility(snapshot: Snapshot) -> Judged | None:
    event = evidence.said(snapshot, "invalid_device")
    if event is None:
        return None
    return judged("unseen", event.text, "strong")


def _used_by_card(snapshot: Snapshot) -> dict[str, int]:
    """Bytes in use by card, from the cards themselves or, failing that, from their processes."""
    if not isinstance(snapshot.gpus, Gpus):
        return {}
    cards = {f"GPU {gpu.index}": gpu.used_bytes for gpu in snapshot.gpus.gpus if gpu.used_bytes is not None}
    if cards:
        return cards
    held: dict[str, int] = defaultdict(int)
    for process in snapshot.gpus.processes:
        if process.gpu_uuid is not None and process.used_bytes is not None:
            held[process.gpu_uuid] += process.used_bytes
    return dict(held)
