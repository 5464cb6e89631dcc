"""What vLLM subtracts beside weights and KV, on one card: estimates with a range, fitted to public start-ups.

Activation peak: the sampler's buffers over the logits of as many dummy requests as may run, and the widest layer of one
step. CUDA graphs are set aside in advance from vLLM 0.21; before, they come out of what utilisation leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.units import GIB

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.cards import Card

_LOGIT_COPIES = 7.0  # float32 logits, sorted copy, indices of 8 bytes, probabilities, temporaries
_GRAPHS_SET_ASIDE_FROM = (0, 21)
_DEFAULT_UTILIZATION_ROSE = (0, 20)


class Range(msgspec.Struct, frozen=True):
    """Bytes: the least and the most that are plausible, and what to count with."""

    least: int
    likely: int
    most: int


class Budget(msgspec.Struct, frozen=True):
    activation: Range
    graphs: Range
    non_torch: Range
    graphs_set_aside: bool


def default_utilization(version: tuple[int, ...]) -> float:
    """``--gpu-memory-utilization`` when nothing is said."""
    return 0.92 if version >= _DEFAULT_UTILIZATION_ROSE else 0.9


def default_seqs(card: Card, version: tuple[int, ...]) -> int:
    """``--max-num-seqs`` when nothing is said (``EngineArgs.get_batch_defaults``)."""
    return 1024 if card.large and version >= (0, 8) else 256


def default_step(card: Card) -> int:
    """``--max-num-batched-tokens`` of the API server when nothing is said."""
    return 8192 if card.large else 2048


def estimate(
    a: Architecture, tp: int, seqs: int, step_tokens: int, version: tuple[int, ...], eager: bool = False
) -> Budget:
    """The budget of one rank. Sizes that the config lacks count as those of a middling model."""
    hidden, vocab = a.hidden or 4096, a.vocab or 150_000
    inner = (a.intermediate or 4 * hidden) / tp
    if a.experts:
        inner = max(
            a.shared_intermediate / tp, a.experts_per_token * ((a.moe_intermediate or hidden) * 1.5 / tp + hidden / 2)
        )
    sampler = _LOGIT_COPIES * seqs * vocab * 4
    layer = step_tokens * (6 * hidden + 4 * inner) * 2
    activation = int(sampler + layer)
    graphs = 0 if eager else int((0.25 + 0.02 * min(tp, 8) + 0.008 * a.depth) * GIB)
    non_torch = int((0.15 if tp == 1 else 0.5) * GIB)
    return Budget(
        activation=Range(int(activation * 0.5), activation, int(activation * 1.7) + GIB // 4),
        graphs=Range(0 if eager else graphs // 4, graphs, graphs * 4),
        non_torch=Range(non_torch // 3, non_torch, non_torch * 2),
        graphs_set_aside=version >= _GRAPHS_SET_ASIDE_FROM and not eager,
    )
