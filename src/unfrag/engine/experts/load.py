"""How evenly the experts of a model are used: what a count per layer and expert says."""

from __future__ import annotations

from typing import Any

_HOTTEST = 5


def summary(counts: dict[str, Any]) -> dict[str, Any]:
    """``load`` of :func:`unfrag.engine.experts.worker.counts` as ``balance`` and ``hot`` of each layer.

    ``balance``: the busiest expert's choices over the mean of its layer, so 1.0 is even and 16.0 of 64 experts with
    four a token is the worst. ``hot``: the busiest experts and their share of the layer's choices.
    """
    balance: dict[str, float] = {}
    hot: dict[str, list[dict[str, float]]] = {}
    for layer, load in zip(counts["layers"], counts["load"], strict=True):
        total = sum(load)
        if not total:
            continue
        busiest = sorted(range(len(load)), key=load.__getitem__, reverse=True)[:_HOTTEST]
        balance[str(layer)] = round(load[busiest[0]] * len(load) / total, 3)
        hot[str(layer)] = [{"expert": expert, "share": round(load[expert] / total, 4)} for expert in busiest]
    return {"balance": balance, "hot": hot}
