"""The model's weights alone are more than the cards hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from unfrag.doctor.rules import oom
from unfrag.doctor.weigh import evidence
from unfrag.facts.finding import Finding
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.facts.snapshot import Snapshot

ID = "UF007"
CAUSE = "weights_do_not_fit"
HEALTHY = "No start is known to have failed for want of room for the weights."


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Finding | None:
    view = oom.of(snapshot)
    if view is not None:
        return _from_oom(snapshot, view, thresholds)
    bare = evidence.said(snapshot, "bare_oom")
    told = oom.bare(snapshot)
    if told is not None and told[1] == "weights":
        return _finding(snapshot, "Memory ran out while the weights were loading.", told[0].text, 0.8, None)
    expected, card = _expected(snapshot), evidence.card_bytes(snapshot)
    if bare is not None and not bare.ready and expected and card and expected > card * thresholds["share"]:
        seen = f"Out of memory at the start: about {size(expected)} of weights for each card of {size(card)}."
        return _finding(snapshot, seen, bare.text, 0.85, expected * evidence.ranks(snapshot))
    converting = evidence.fact(snapshot, "converting")
    if bare is not None and not bare.ready and converting is not None and converting.numbers.get("percent", 100) < 100:
        return _finding(snapshot, "Out of memory while the weights were loading.", bare.text, 0.85, expected)
    none = evidence.said(snapshot, "kv_none")
    loaded = evidence.fact(snapshot, "model_loaded", "profiled")
    if none is not None:
        weights = loaded.numbers.get("weights") if loaded else None
        share = weights / card if weights and card else None
        seen = f"; the weights took {size(weights)}" if weights else ""
        confidence = 0.6 if share is None else 0.8 if share > thresholds["share"] else 0.5
        return _finding(snapshot, f"Nothing is left for the KV cache{seen}.", none.text, confidence, weights)
    have = evidence.said(snapshot, "kv_available")
    if have is not None and have.numbers.get("kv", 1) <= 0:
        return _finding(snapshot, "The memory left for the KV cache is negative.", have.text, 0.7, None)
    return None


def _from_oom(snapshot: Snapshot, view: oom.View, thresholds: dict[str, Any]) -> Finding | None:
    ours = view.share(view.allocated) or 0.0
    crowded = (view.share(view.others) or 0.0) > thresholds["others"]
    expected = _expected(snapshot)
    too_big = bool(expected and view.total and expected > view.total * thresholds["share"])
    if view.stage == "weights":
        confidence = 0.5 if crowded else 0.86 if not (expected and view.total and expected < view.total * 0.6) else 0.55
    elif view.stage is None and not crowded and ours >= thresholds["allocated"]:
        confidence = 0.85 if too_big and view.fragmented < 0.5 else 0.58
    else:
        return None
    seen = f"{size(view.asked)} could not be had while the weights were loading"
    if view.allocated and view.total:
        seen += f": PyTorch had {size(view.allocated)} of {size(view.total)} in use already"
    return _finding(snapshot, seen + ".", view.oom.text, confidence, expected and expected * evidence.ranks(snapshot))


def _expected(snapshot: Snapshot) -> float | None:
    """Bytes of weights per rank, from the model's name."""
    parameters = evidence.parameters(snapshot)
    return parameters * evidence.bytes_per_parameter(snapshot) / evidence.ranks(snapshot) if parameters else None


def _finding(snapshot: Snapshot, seen: str, line: str, confidence: float, weights: float | None) -> Finding:
    card = evidence.card_bytes(snapshot)
    fixes = ["--quantization fp8   # half of bf16's weights; measure the quality"]
    if weights and card:
        wanted = 2 ** math.ceil(math.log2(max(1.0, weights / (card * 0.75))))
        if wanted > evidence.ranks(snapshot):
            fixes.insert(0, f"--tensor-parallel-size {wanted}   # {size(weights / wanted)} of weights on each card")
    else:
        fixes.insert(
            0, f"--tensor-parallel-size {evidence.tensor_parallel(snapshot) * 2}   # halves what each card holds"
        )
    return Finding(
        id=ID,
        cause=CAUSE,
        severity="critical",
        confidence=confidence,
        summary=seen,
        evidence=(line,),
        fixes=tuple(fixes),
        meaning="No setting of the cache or the allocator helps: weights are not shared with anything and never evicted.",
        harmless="Never: the server does not start.",
    )
