"""From a model's shape, a card and flags to what fits: weights, KV, blocks, concurrency, each with its range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.plan import architecture, kv, limits, verdict, weights
from unfrag.plan import budget as budgets

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.cards import Card

_LIMITS_READ_IN = (0, 20)  # of older versions it is not known here what they refused


_LARGEST_WEIGHTS = 2**55  # bytes of one rank


class Choice(msgspec.Struct, frozen=True):
    """How the server would be started; None: vLLM's default."""

    tp: int = 1
    pp: int = 1
    dp: int = 1
    dcp: int = 1
    expert_parallel: bool = False
    dtype: str | None = None
    quantization: str | None = None
    kv_dtype: str | None = None
    utilization: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    step_tokens: int | None = None
    block_tokens: int | None = None
    eager: bool = False
    draft_tokens: int | None = None
    """Of the model's own MTP layer, drafted in each step."""


class PerRank(msgspec.Struct, frozen=True):
    weights_bytes: int | None
    kv_bytes_per_token: float | None
    kv_cache_bytes: int | None
    activation_bytes: int | None
    cuda_graph_bytes: int | None
    non_torch_bytes: int | None


class Estimate(msgspec.Struct, frozen=True):
    """``fits``: see ``verdict``; ``kv_cache_range`` says between which bytes the cache may end up.

    ``kv_tokens``, ``num_blocks`` and ``max_concurrency`` are of one data-parallel replica.
    """

    choice: Choice
    fits: bool | None
    reason: str
    per_rank: PerRank
    kv_cache_range: tuple[int, int] | None
    kv_tokens: int | None
    num_blocks: int | None
    block_size: int | None
    max_concurrency: float | None
    max_model_len: int | None
    notes: tuple[str, ...]


def estimate(
    a: Architecture, card: Card, count: int, choice: Choice, version: tuple[int, ...], exact_weights: int | None = None
) -> Estimate:
    """Work it out. ``exact_weights``: of one rank, where vLLM itself was asked.

    Raises:
        UsageError: the split is impossible, in vLLM's own words where it has some.
    """
    if (why := limits.flags(a, choice) or limits.splits(a, choice, count)) is not None:
        raise UsageError(why)
    refused = limits.card(a, card, choice) if version >= _LIMITS_READ_IN else None
    held = weights_of_rank(a, choice, exact_weights)
    if held is not None and held > _LARGEST_WEIGHTS:
        raise UsageError("the configuration describes more weights than any model has: look at its sizes")
    notes = [*a.assumed, *limits.notes(a, card, choice)]
    if choice.draft_tokens:
        a = architecture.with_draft(a)
    utilization = choice.utilization or budgets.default_utilization(version)
    length = choice.max_model_len or a.longest
    seqs = choice.max_num_seqs or budgets.default_seqs(card, version)
    step = choice.step_tokens or budgets.default_step(card)
    cache = kv.cache(a, choice.tp, choice.pp, choice.dcp, choice.kv_dtype, choice.block_tokens, version, card.name)
    budget = budgets.estimate(a, choice.tp, seqs, step, version, choice.eager)
    notes += cache.notes if cache else (f"how {a.model_type} lays out its KV is not known here",)
    room = None
    if held is not None:
        spare = 0
        if choice.utilization is None:
            spare = int(card.memory_bytes * (verdict.HIGHEST_UTILIZATION - utilization))
        room = _room(int(card.memory_bytes * utilization), held, budget, spare)
    blocks = cache.blocks(room.likely) if cache and room else None
    need = concurrency = tokens = None
    if cache and length:
        of_request = cache.blocks_of_request(length, step, a.sliding_window)
        need = of_request * cache.page_bytes
        if blocks is not None and of_request:
            concurrency = blocks / of_request
            tokens = cache.tokens(blocks, length, concurrency, version)
    tuned = choice.utilization is None and choice.max_model_len is not None
    fits, reason = (False, refused) if refused else verdict.judge(room, need, length, tuned)
    return Estimate(
        choice=choice,
        fits=fits,
        reason=reason,
        per_rank=PerRank(
            weights_bytes=held,
            kv_bytes_per_token=round(cache.token_bytes, 2) if cache else None,
            kv_cache_bytes=room.likely if room else None,
            activation_bytes=budget.activation.likely,
            cuda_graph_bytes=budget.graphs.likely,
            non_torch_bytes=budget.non_torch.likely,
        ),
        kv_cache_range=(room.least, room.most) if room else None,
        kv_tokens=tokens,
        num_blocks=blocks,
        block_size=cache.block_tokens if cache else None,
        max_concurrency=round(concurrency, 2) if concurrency is not None else None,
        max_model_len=length,
        notes=tuple(notes),
    )


def weights_of_rank(a: Architecture, choice: Choice, exact: int | None = None) -> int | None:
    """Bytes, by formula, or ``exact`` ones of the model itself and the formula's for what is drafted with."""
    split = (choice.tp, choice.pp, choice.quantization, choice.dtype, choice.dp)
    plain = weights.per_rank(a, *split)
    if not choice.draft_tokens:
        return exact or plain
    drafted = weights.per_rank(architecture.with_draft(a), *split)
    return exact + drafted - plain if exact and drafted and plain else drafted


def _room(whole: int, held: int, budget: budgets.Budget, spare: int) -> verdict.Room:
    """What utilisation leaves for the cache, as a range; of the weights 4% either way are not known."""
    aside = budget.graphs if budget.graphs_set_aside else budgets.Range(0, 0, 0)
    parts = (budget.activation, budget.non_torch, aside)
    return verdict.Room(
        likely=whole - held - sum(part.likely for part in parts),
        least=int(whole - held * 1.04) - sum(part.most for part in parts),
        most=int(whole - held * 0.96) - sum(part.least for part in parts),
        whole=whole,
        weights=held,
        spare=spare,
    )
