"""Another process, or what a dead one left, holds part of the card."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.facts.log import Log
from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Gpus
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import GpuProcess, Snapshot

ID = "UF008"
CAUSE = "foreign_process"
HEALTHY = "Nobody else holds the cards."
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


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    return (
        _from_oom(snapshot, thresholds)
        or _from_start(snapshot, thresholds)
        or _left_behind(snapshot, thresholds)
        or _from_cards(snapshot, thresholds)
        or _from_profiling(snapshot)
    )


def _from_oom(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    view = oom.of(snapshot)
    share = view.share(view.others) if view else None
    if view is None or share is None or view.others is None:
        return None
    if share < thresholds["ratio"] or view.others < thresholds["bytes"]:
        return None
    said = (
        f"{size(view.total or 0)} of card = {size(view.mine or 0)} of this process + {size(view.free or 0)} free + "
        f"{size(view.others)} held by others."
    )
    return _finding(snapshot, said, view.oom.text, 0.94 if share > 2 * thresholds["ratio"] else 0.8)


def _from_start(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    event = evidence.said(snapshot, "startup_free")
    if event is None or not {"free", "total"} <= event.numbers.keys():
        return None
    held = event.numbers["total"] - event.numbers["free"]
    if held < max(thresholds["start_bytes"], event.numbers["total"] * thresholds["start_ratio"]):
        return None
    said = f"{size(held)} of {size(event.numbers['total'])} were in use before this server took anything."
    return _finding(snapshot, said, event.text, 0.88)


def _left_behind(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    """Somebody looked and found no process, and the card is in use; or it was in use before profiling."""
    before = evidence.fact(snapshot, "profiled")
    if before is not None and {"initial", "total"} <= before.numbers.keys():
        held, total = before.numbers["initial"], before.numbers["total"]
        if held >= max(thresholds["start_bytes"], total * thresholds["start_ratio"]):
            said = f"{size(held)} of {size(total)} were in use before this server took anything."
            return _finding(snapshot, said, before.text, 0.9)
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
    said = f"{size(full[0].used_bytes or 0)} of GPU {full[0].index} are in use and no server runs: a dead one's."
    return _finding(snapshot, said, nobody.text, 0.88)


def _from_cards(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
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
                said = f"GPU {gpu.index}: {size(lost)} in use by no process that is listed: a dead one's, or a container's."
                return _finding(
                    snapshot, said, f"used {size(gpu.used_bytes or 0)}, listed {size(known)}", 0.86 if nobody else 0.75
                )
        strangers = _strangers(on, snapshot)
        held = sum(p.used_bytes or 0 for p in strangers)
        if strangers and held >= thresholds["bytes"] and held >= (gpu.total_bytes or 0) * thresholds["ratio"]:
            names = ", ".join(f"{p.pid} {p.name or ''} {size(p.used_bytes or 0)}".strip() for p in strangers[:4])
            return _finding(snapshot, f"GPU {gpu.index}: {size(held)} belong to another program: {names}.", names, 0.85)
    dead = [p for p in snapshot.gpus.processes if p.alive is False and (p.used_bytes or 0) >= thresholds["bytes"]]
    if dead:
        names = ", ".join(f"{p.pid} {size(p.used_bytes or 0)}" for p in dead[:4])
        return _finding(snapshot, f"A process that no longer exists holds memory: {names}.", names, 0.8)
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


def _from_profiling(snapshot: Snapshot) -> Finding | None:
    event = evidence.said(snapshot, "profile_disturbed")
    if event is None:
        return None
    return _finding(
        snapshot, "Free memory changed while vLLM measured it: another process let go of some.", event.text, 0.75
    )


def _finding(snapshot: Snapshot, said: str, line: str, confidence: float) -> Finding:
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=said,
        evidence=(line,),
        fixes=(
            "nvidia-smi --query-compute-apps=pid,process_name,used_memory,gpu_uuid --format=csv   # who",
            "fuser -v /dev/nvidia*   # finds the ones that nvidia-smi does not list; stop them, or move this server",
        ),
        meaning="vLLM plans with a share of the whole card, as if it were alone on it.",
        harmless="When the other process is meant to be there: then give vLLM the rest by --gpu-memory-utilization.",
    )


def looked(snapshot: Snapshot) -> bool:
    """Somebody listed the processes on the cards."""
    return isinstance(snapshot.gpus, Gpus) and bool(snapshot.gpus.processes)
