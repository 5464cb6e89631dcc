"""Flags for a running server, at the same KV bytes it has now: each with its reason and its price."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import NotEnoughEvidence

if TYPE_CHECKING:
    from unfrag.facts.memory_stats import Pool

# vLLM's CPU kernels want multiples of 32; on GPUs 16 and 32 are both common.
_BLOCK_TOKENS = 32
BYTES_OF_DTYPE = {"auto": 2, "float16": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


class Advice(msgspec.Struct, frozen=True):
    """One flag. ``value`` is None for a bare flag."""

    flag: str
    value: str | None
    why: str
    costs: str


def advise(
    pool: Pool,
    flags: dict[str, str | None],
    request_tokens: int,
    allow_kv_quantization: bool,
    held: int | None = None,
) -> tuple[Advice, ...]:
    """Flags that make the same KV bytes hold more requests.

    Args:
        pool: the server's pool now; its bytes are the budget.
        flags: the server's command line now.
        request_tokens: prompt and output of a typical request.
        allow_kv_quantization: FP8 KV changes the model's numbers; it is only advised when asked for.
        held: requests at a time that a bench saw this server hold without preemption; None when not measured.

    Raises:
        NotEnoughEvidence: the pool does not say its size.
    """
    budget = pool.capacity_bytes
    if budget is None or not pool.block_size_bytes or not pool.block_size_tokens:
        raise NotEnoughEvidence("the server does not report its pool; start it with `unfrag serve`")
    dtype = flags.get("--kv-cache-dtype") or "auto"
    token_bytes = pool.block_size_bytes / pool.block_size_tokens
    advice = []
    quantize = allow_kv_quantization and BYTES_OF_DTYPE.get(dtype) == 2
    if quantize:
        token_bytes /= 2
        advice.append(
            Advice(
                "--kv-cache-dtype",
                "fp8",
                "one byte instead of two for each KV number: twice the tokens in the same memory",
                "keys and values are rounded to 8 bits: answers change; measure your own quality before production",
            )
        )
    block = min(_BLOCK_TOKENS, pool.block_size_tokens)
    if block != pool.block_size_tokens:
        waste = (pool.block_size_tokens - block) / 2
        advice.append(
            Advice(
                "--block-size",
                str(block),
                f"a request's last block is half empty on average: {waste:.0f} tokens less waste per request",
                "more blocks to keep account of",
            )
        )
    blocks = int(budget // (token_bytes * block))
    if flags.get("--num-gpu-blocks-override"):
        advice.append(
            Advice(
                "--num-gpu-blocks-override",
                str(blocks),
                f"the same {budget / 2**20:.0f} MiB of KV cache, in blocks of {token_bytes * block / 1024:.0f} KiB",
                "none: it only keeps the budget",
            )
        )
    tokens = (blocks - 1) * block
    advice.append(_max_num_seqs(tokens, tokens / (pool.capacity_tokens or tokens), request_tokens, held))
    return tuple(advice)


def _max_num_seqs(tokens: int, growth: float, request_tokens: int, held: int | None) -> Advice:
    """``--max-num-seqs``: from what a bench saw, else from requests that share nothing."""
    if held is not None:
        max_num_seqs = max(1, int(held * growth))
        why = f"{held} at a time ran without preemption, and the pool holds {growth:.2f} times the tokens now"
        costs = "requests beyond that wait; measured with this workload, so measure again for another"
    else:
        max_num_seqs = max(1, tokens // request_tokens)
        why = f"{tokens:,} tokens hold {max_num_seqs} requests of {request_tokens:,}; more would preempt one another"
        costs = "requests beyond that wait; with prompts that share long prefixes it may be set higher"
    return Advice("--max-num-seqs", str(max_num_seqs), why, costs)
