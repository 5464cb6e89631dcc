"""From a model's shape, a card and flags to what fits: weights, KV, blocks, concurrency, each with its range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.plan import budget as budgets
from unfrag.plan import kv, weights
from unfrag.reports import size

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.cards import Card


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


class PerRank(msgspec.Struct, frozen=True):
    weights_bytes: int | None
    kv_bytes_per_token: float | None
    kv_cache_bytes: int | None
    activation_bytes: int | None
    cuda_graph_bytes: int | None
    non_torch_bytes: int | None


class Estimate(msgspec.Struct, frozen=True):
    """``fits`` by the likely budget; ``kv_cache_range`` says between which bytes the cache may end up."""

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
    _check(a, count, choice)
    utilization = choice.utilization or budgets.default_utilization(version)
    length = choice.max_model_len or a.longest
    seqs = choice.max_num_seqs or budgets.default_seqs(card, version)
    step = choice.step_tokens or budgets.default_step(card)
    held = exact_weights or weights.per_rank(a, choice.tp, choice.pp, choice.quantization, choice.dtype)
    cache = kv.cache(a, choice.tp, choice.pp, choice.dcp, choice.kv_dtype, choice.block_tokens, version, card.name)
    budget = budgets.estimate(a, choice.tp, seqs, step, version, choice.eager)
    room = card.memory_bytes * utilization
    notes = [*a.assumed, *(cache.notes if cache else ())]
    if cache is None:
        notes.append(f"how {a.model_type} lays out its KV is not known here")
    available = None
    spread = None
    if held is not None:
        aside = budget.graphs if budget.graphs_set_aside else budgets.Range(0, 0, 0)
        available = int(room - held - budget.activation.likely - budget.non_torch.likely - aside.likely)
        low = int(room - held * 1.04 - budget.activation.most - budget.non_torch.most - aside.most)
        high = int(room - held * 0.96 - budget.activation.least - budget.non_torch.least - aside.least)
        spread = (low, high)
    blocks = cache.blocks(available) if cache and available is not None else None
    concurrency = tokens = None
    if cache and blocks is not None and length:
        concurrency = blocks / cache.blocks_of_request(length, step, a.sliding_window)
        tokens = cache.tokens(blocks, length, concurrency, version)
    fits, reason = _verdict(held, available, spread, cache, blocks, concurrency, length, room, step, a)
    return Estimate(
        choice=choice,
        fits=fits,
        reason=reason,
        per_rank=PerRank(
            weights_bytes=held,
            kv_bytes_per_token=round(cache.token_bytes, 2) if cache else None,
            kv_cache_bytes=available,
            activation_bytes=budget.activation.likely,
            cuda_graph_bytes=budget.graphs.likely,
            non_torch_bytes=budget.non_torch.likely,
        ),
        kv_cache_range=spread,
        kv_tokens=tokens,
        num_blocks=blocks,
        block_size=cache.block_tokens if cache else None,
        max_concurrency=round(concurrency, 2) if concurrency is not None else None,
        max_model_len=length,
        notes=tuple(notes),
    )


def _check(a: Architecture, count: int, choice: Choice) -> None:
    """Splits that vLLM refuses."""
    wanted = choice.tp * choice.pp * choice.dp
    if wanted > count:
        raise UsageError(
            f"tensor {choice.tp} x pipeline {choice.pp} x data {choice.dp} needs {wanted} cards, not {count}; "
            "raise --gpu-count or lower one of them"
        )
    if a.heads and a.heads % choice.tp:
        raise UsageError(
            f"Total number of attention heads ({a.heads}) must be divisible by tensor parallel size ({choice.tp}); "
            f"try --tp {next(t for t in range(choice.tp, 0, -1) if a.heads % t == 0)}"
        )
    if choice.pp > a.depth:
        raise UsageError(f"{a.depth} layers cannot be split into {choice.pp} pipeline stages; lower --pp")
    if choice.tp % choice.dcp:
        raise UsageError(f"--dcp {choice.dcp} must divide --tp {choice.tp}")


def _verdict(
    held: int | None,
    available: int | None,
    spread: tuple[int, int] | None,
    cache: kv.Cache | None,
    blocks: int | None,
    concurrency: float | None,
    length: int | None,
    room: float,
    step: int,
    a: Architecture,
) -> tuple[bool | None, str]:
    if held is None or available is None or spread is None:
        return None, "the configuration lacks sizes that the weights depend on; give the whole config.json"
    if available <= 0:
        certain = "" if spread[1] < 0 else "; it is close, so a smaller --max-num-seqs may do"
        return False, (
            f"weights of {size(held)} and the rest leave {size(available)} of {size(room)} for the KV cache{certain}"
        )
    if cache is None or blocks is None or concurrency is None or length is None:
        return None, f"weights fit with {size(available)} to spare; what a token costs or the context is not known"
    need = cache.blocks_of_request(length, step, a.sliding_window) * cache.page_bytes
    said = f"one request of {length:,} tokens needs {size(need)} of KV, and about {size(available)} are there"
    span = f" ({size(max(0, spread[0]))} to {size(spread[1])})"
    if concurrency >= 1:
        risk = "; the range reaches below it: lower --max-model-len to be safe" if spread[0] < need else ""
        return True, said + span + risk
    return False, said + span


def best(
    a: Architecture, card: Card, count: int, choice: Choice, version: tuple[int, ...], free: bool, fp8_kv: bool
) -> list[Estimate]:
    """Every split that is allowed, the one that holds most requests of full length first.

    Raises:
        UsageError: none is.

    Args:
        free: may tensor, data and decode context parallel be chosen?
        fp8_kv: may the KV cache be quantised?
    """
    found: list[Estimate] = []
    refused: UsageError | None = None
    replace = msgspec.structs.replace
    splits = _splits(a, count) if free else [(choice.tp, choice.dcp)]
    dtypes = [choice.kv_dtype, "fp8"] if fp8_kv and choice.kv_dtype is None else [choice.kv_dtype]
    for tp, dcp in splits:
        for kv_dtype in dtypes:
            tried = replace(choice, tp=tp, dcp=dcp, kv_dtype=kv_dtype)
            try:
                found.append(estimate(a, card, count, tried, version))
            except UsageError as fault:
                refused = fault
    if refused is not None and not found:
        raise refused
    replicas = {id(e): max(1, count // (e.choice.tp * e.choice.pp)) for e in found}
    found.sort(key=lambda e: (bool(e.fits), (e.max_concurrency or 0.0) * replicas[id(e)]), reverse=True)
    return found


def _splits(a: Architecture, count: int) -> list[tuple[int, int]]:
    """(tensor, decode context) parallel over all cards; decode context only where KV would be replicated."""
    found: list[tuple[int, int]] = []
    for tp in (t for t in (1, 2, 4, 8, 16, 32) if t <= count):
        shared = tp if a.is_mla else tp // a.kv_heads if a.kv_heads and tp > a.kv_heads else 1
        found += [(tp, dcp) for dcp in (1, 2, 4, 8, 16, 32) if dcp <= shared and tp % dcp == 0]
    return found
