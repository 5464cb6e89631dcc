"""What fills a card, as parts that add up to it; and those as an SVG, a bar per card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.system.templates import render
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.plan.cards import Card
    from unfrag.plan.estimate import Estimate

_WIDTH, _LEFT, _LEGEND = 704, 24, 122
_COLOURS = {
    "weights": "#4878a8",
    "activation peak": "#e49444",
    "CUDA graphs": "#85b6b2",
    "outside PyTorch": "#967662",
    "KV cache": "#6a9f58",
    "left free": "#eeeeee",
}


class Part(msgspec.Struct, frozen=True):
    """``bytes`` is None where it is not known."""

    what: str
    bytes: int | None


def parts(plan: Estimate, card: Card) -> tuple[Part, ...]:
    """One card's memory. A cache that does not fit counts as 0; the last part is what remains."""
    rank = plan.per_rank
    cache = None if rank.kv_cache_bytes is None else max(0, rank.kv_cache_bytes)
    named = (
        Part("weights", rank.weights_bytes),
        Part("activation peak", rank.activation_bytes),
        Part("CUDA graphs", rank.cuda_graph_bytes),
        Part("outside PyTorch", rank.non_torch_bytes),
        Part("KV cache", cache),
    )
    known = sum(part.bytes or 0 for part in named)
    return *named, Part("left free", max(0, card.memory_bytes - known))


def svg(plan: Estimate, card: Card, count: int, model: str) -> str:
    """A picture of ``count`` cards, self-contained."""
    found = parts(plan, card)
    whole = max(card.memory_bytes, sum(part.bytes or 0 for part in found))
    drawn, left = [], float(_LEFT)
    for number, part in enumerate(found):
        width = _WIDTH * (part.bytes or 0) / whole
        drawn.append(
            {
                "what": part.what,
                "size": "unknown" if part.bytes is None else size(part.bytes),
                "colour": _COLOURS[part.what],
                "x": round(left, 2),
                "width": round(width, 2),
                "legend": number * _LEGEND,
            }
        )
        left += width
    title = f"{model}: {count} x {card.name}, {size(card.memory_bytes)} each"
    return render("unfrag.reports", "picture.svg.j2", markup=True, title=title, parts=drawn, cards=min(count, 32))
