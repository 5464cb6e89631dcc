"""Another process, or what a dead one left, holds part of the card."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.facts.log import Log
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Gpus
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.snapshot import GpuProcess, Snapshot

CAUSE = "foreign_process"
_FAMILIES = (
    ("vllm", r"vllm|EngineCore|Worker_TP|ray::"),
    ("sglang", r"sglang|sgl_"),
    ("lmdeploy", r"lmdeploy|turbomind"),
    (
        "other",
        r"ollama|llama[-_]?(?:server|cpp)|comfy|stable|webui|train|jupyter|ipykernel|tritonserver|text-generation|blender|ffmpeg|notebook|finetune|accelerate|deepspeed|torchrun|whisper|tensorrt|xinference|embedding|infinity|tei",
    ),
)


def can_judge(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.gpus, Gpus) or evidence.has_text(snapshot)


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    return (
        _from_oom(snapshot, thresholds)
        or _from_start(snapshot, thresholds)
        or _left_behind(snapshot, thresholds)
        or _from_cards(snapshot, thresholds)
        or _from_profiling(snapshot)
    )


def _from_oom(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    view = oom.of(snapshot)
    share = view.share(view.others) if view else None
    if view is None or share is None or view.others is None:
        return None
    if share < thresholds["ratio"] or view.others < thresholds["bytes"]:
        return None
    return judged(
        "sum",
        view.oom.text,
        "proven" if share > 2 * thresholds["ratio"] else "strong",
        total=size(view.total or 0),
        mine=size(view.mine or 0),
        free=size(view.free or 0),
        others=size(view.others),
    )


def _from_start(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    event = evidence.said(snapshot, "startup_free")
    if event is None or not {"free", "total"} <= event.numbers.keys():
        return None
    held = event.numbers["total"] - event.numbers["free"]
    if held < max(thresholds["start_bytes"], event.numbers["total"] * thresholds["start_ratio"]):
        return None
    return judged("before", event.text, "proven", held=size(held), total=size(event.numbers["total"]))


def _left_behind(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    """Somebody looked and found no process, and the card is in use; or it was in use before profiling."""
    before = evidence.fact(snapshot, "profiled")
    if before is not None and {"initial", "total"} <= before.numbers.keys():
        # V0 measures this once the weights are in.
        loaded = evidence.fact(snapshot, "model_loaded")
        weights = loaded.numbers.get("weights", 0) if loaded is not None else 0
        held, total = before.numbers["initial"], before.numbers["total"]
        held -= weights if weights <= held else 0
        if held >= max(thresholds["start_bytes"], total * thresholds["start_ratio"]):
            return judged("before", before.text, "proven", held=size(held), total=size(total))
    nobody = evidence.said(snapshot, "nobody_runs")
    if nobody is None or not isinstance(snapshot.gpus, Gpus) or _serves(snapshot):
        return None
    full = [
        g
        for g in snapshot.gpus.gpus
        if g.total_bytes and (g.used_bytes or 0) > g.total_bytes * thresholds["lost_ratio"]
    ]
    if not full:
        return None
    return judged("dead_server", nobody.text, "proven", held=size(full[0].used_bytes or 0), gpu=full[0].index)


def _from_cards(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    if not isinstance(snapshot.gpus, Gpus):
        return None
    for gpu in snapshot.gpus.gpus:
        on = snapshot.gpus.on(gpu)
        known = sum(p.used_bytes or 0 for p in on)
        lost = (gpu.used_bytes or 0) - known
        unlisted = all(p.used_bytes is None for p in on)
        # Inside a container the driver lists nobody, so an empty list counts only where it was pasted, of a dead server.
        nobody = (
            not on and snapshot.gpus.source == "nvidia-smi" and snapshot.gpus.lists_processes and not _serves(snapshot)
        )
        if gpu.total_bytes and (nobody or (on and not unlisted)):  # noqa: SIM102
            if lost > max(thresholds["lost_bytes"], gpu.total_bytes * thresholds["lost_ratio"]):
                line = f"used {size(gpu.used_bytes or 0)}, listed {size(known)}"
                return judged("unlisted", line, "strong", gpu=gpu.index, lost=size(lost))
        strangers = _strangers(on, snapshot)
        held = sum(p.used_bytes or 0 for p in strangers)
        if strangers and held >= thresholds["bytes"] and held >= (gpu.total_bytes or 0) * thresholds["ratio"]:
            names = ", ".join(f"{p.pid} {p.name or ''} {size(p.used_bytes or 0)}".strip() for p in strangers[:4])
            return judged("stranger", names, "strong", gpu=gpu.index, held=size(held), names=names)
    dead = [p for p in snapshot.gpus.processes if p.alive is False and (p.used_bytes or 0) >= thresholds["bytes"]]
    if dead:
        names = ", ".join(f"{p.pid} {size(p.used_bytes or 0)}" for p in dead[:4])
        return judged("gone", names, "strong", names=names)
    return None


def _serves(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.pool, Pool) or (isinstance(snapshot.log, Log) and snapshot.log.ready)


def _strangers(processes: list[GpuProcess], snapshot: Snapshot) -> list[GpuProcess]:
    """Those of another program than the largest one's, which is taken for the server."""
    named = [p for p in processes if p.name and p.used_bytes]
    if len(named) < 2:
        return []
    engine = snapshot.engine if isinstance(snapshot.engine, str) else ""
    families = {p.pid: _family(p.name or "") for p in named}
    own = next((family for family in families.values() if family and family == engine), None)
    own = own or families[max(named, key=lambda p: p.used_bytes or 0).pid]
    return [p for p in named if families[p.pid] is not None and families[p.pid] != own]


def _family(name: str) -> str | None:
    return next((family for family, pattern in _FAMILIES if re.search(pattern, name, re.IGNORECASE)), None)


def _from_profiling(snapshot: Snapshot) -> Judged | None:
    event = evidence.said(snapshot, "profile_disturbed")
    if event is None:
        return None
    return judged("disturbed", event.text, "strong")


def looked(snapshot: Snapshot) -> bool:
    """Somebody listed the processes on the cards."""
    return isinstance(snapshot.gpus, Gpus) and bool(snapshot.gpus.processes)
