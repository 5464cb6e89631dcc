"""The model's weights alone are more than the cards hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from unfrag.doctor.weigh import evidence, oom
from unfrag.doctor.weigh.judged import judged
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.doctor.weigh.judged import Judged
    from unfrag.facts.finding import Certainty
    from unfrag.facts.snapshot import Snapshot

CAUSE = "weights_do_not_fit"


def judge(snapshot: Snapshot, thresholds: dict[str, Any]) -> Judged | None:
    view = oom.of(snapshot)
    if view is not None:
        return _from_oom(snapshot, view, thresholds)
    bare = evidence.said(snapshot, "bare_oom")
    told = oom.bare(snapshot)
    if told is not None and told[1] == "weights":
        return _judged(snapshot, "ran_out", told[0].text, "strong")
    expected, card = _expected(snapshot), evidence.card_bytes(snapshot)
    if bare is not None and not bare.ready and expected and card and expected > card * thresholds["share"]:
        sizes = {"expected": size(expected), "card": size(card)}
        return _judged(snapshot, "start", bare.text, "strong", expected * evidence.ranks(snapshot), **sizes)
    converting = evidence.fact(snapshot, "converting")
    if bare is not None and not bare.ready and converting is not None and converting.numbers.get("percent", 100) < 100:
        return _judged(snapshot, "loading", bare.text, "strong", expected)
    none = evidence.said(snapshot, "kv_none")
    loaded = evidence.fact(snapshot, "model_loaded", "profiled")
    if none is not None:
        weights = loaded.numbers.get("weights") if loaded else None
        share = weights / card if weights and card else None
        if not weights:
            return _judged(snapshot, "nothing", none.text, "likely")
        certainty: Certainty = "likely" if share is None else "strong" if share > thresholds["share"] else "possible"
        return _judged(snapshot, "nothing_took", none.text, certainty, weights, took=size(weights))
    have = evidence.said(snapshot, "kv_available")
    if have is not None and have.numbers.get("kv", 1) <= 0:
        return _judged(snapshot, "negative", have.text, "likely")
    return None


def _from_oom(snapshot: Snapshot, view: oom.View, thresholds: dict[str, Any]) -> Judged | None:
    ours = view.share(view.allocated) or 0.0
    crowded = (view.share(view.others) or 0.0) > thresholds["others"]
    expected = _expected(snapshot)
    too_big = bool(expected and view.total and expected > view.total * thresholds["share"])
    if view.stage == "weights":
        small = bool(expected and view.total and expected < view.total * 0.6)
        certainty: Certainty = "possible" if crowded else "likely" if small else "strong"
    elif view.stage is None and not crowded and ours >= thresholds["allocated"]:
        certainty = "strong" if too_big and view.fragmented < 0.5 else "likely"
    else:
        return None
    weights = expected and expected * evidence.ranks(snapshot)
    if not view.allocated or not view.total:
        return _judged(snapshot, "failed", view.oom.text, certainty, weights, asked=size(view.asked))
    sizes = {"asked": size(view.asked), "allocated": size(view.allocated), "total": size(view.total)}
    return _judged(snapshot, "failed_of", view.oom.text, certainty, weights, **sizes)


def _expected(snapshot: Snapshot) -> float | None:
    """Bytes of weights per rank, from the model's name."""
    parameters = evidence.parameters(snapshot)
    return parameters * evidence.bytes_per_parameter(snapshot) / evidence.ranks(snapshot) if parameters else None


def _judged(
    snapshot: Snapshot,
    seen: str | tuple[str, ...],
    line: str,
    certainty: Certainty,
    weights: float | None = None,
    **values: Any,
) -> Judged:
    """With as many cards as hold ``weights`` bytes, where that is known."""
    card = evidence.card_bytes(snapshot)
    if not weights or not card:
        ranks = evidence.tensor_parallel(snapshot) * 2
        return judged(seen, line, certainty, fixes=("double", "fp8"), ranks=ranks, **values)
    wanted = 2 ** math.ceil(math.log2(max(1.0, weights / (card * 0.75))))
    if wanted <= evidence.ranks(snapshot):
        return judged(seen, line, certainty, fixes=("fp8",), **values)
    each = size(weights / wanted)
    return judged(seen, line, certainty, fixes=("cards", "fp8"), ranks=wanted, each=each, **values)
