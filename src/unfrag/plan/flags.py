"""The flags of a plan, each with its reason, and the line that starts the server."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import msgspec

from unfrag.reports import size

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.cards import Card
    from unfrag.plan.estimate import Estimate


class Flag(msgspec.Struct, frozen=True):
    """``value`` is None for a bare flag; ``cost``: what it costs; ``not_when``: when to leave it."""

    flag: str
    value: str | None
    why: str
    cost: str = ""
    not_when: str = ""


def flags(plan: Estimate, a: Architecture, card: Card, plain: Estimate) -> tuple[Flag, ...]:
    """``plain``: the same without what was chosen freely, to say what it saves."""
    chosen, found = plan.choice, []
    if chosen.tp > 1:
        held = size(plan.per_rank.weights_bytes or 0)
        found.append(
            Flag(
                "--tensor-parallel-size",
                str(chosen.tp),
                f"{held} of weights on each card",
                "every layer waits for all cards",
            )
        )
    if chosen.pp > 1:
        found.append(
            Flag(
                "--pipeline-parallel-size", str(chosen.pp), "layers are divided", "a request passes all stages in turn"
            )
        )
    if chosen.dp > 1:
        found.append(
            Flag(
                "--data-parallel-size",
                str(chosen.dp),
                "each replica serves its own requests",
                "attention weights are kept on each",
            )
        )
    if chosen.expert_parallel:
        found.append(
            Flag(
                "--enable-expert-parallel",
                None,
                "whole experts are divided instead of slices of each",
                "uneven routing loads cards unevenly",
            )
        )
    if chosen.dcp > 1:
        before = plain.max_concurrency or 0
        found.append(
            Flag(
                "--decode-context-parallel-size",
                str(chosen.dcp),
                f"each card keeps 1/{chosen.dcp} of the tokens instead of all: "
                f"{plan.max_concurrency or 0:.1f} requests of full length instead of {before:.1f}",
                "one more exchange between the cards in each decoding step",
                "contexts are short, or cards are joined by a slow bus: measure TPOT",
            )
        )
    if plan.max_model_len:
        found.append(
            Flag(
                "--max-model-len",
                str(plan.max_model_len),
                "the context that is planned for",
                "longer prompts are refused",
            )
        )
    if chosen.kv_dtype:
        found.append(
            Flag(
                "--kv-cache-dtype",
                chosen.kv_dtype,
                "half the bytes of a token" if chosen.kv_dtype.startswith("fp8") else "as asked",
                "keys and values are rounded: answers change; measure the quality"
                if chosen.kv_dtype.startswith("fp8")
                else "",
                "answers must equal those of the full cache" if chosen.kv_dtype.startswith("fp8") else "",
            )
        )
    if chosen.utilization:
        found.append(Flag("--gpu-memory-utilization", f"{chosen.utilization:g}", "as asked"))
    seats = _seats(plan)
    if seats is not None:
        found.append(
            Flag(
                "--max-num-seqs",
                str(seats),
                "what the cache holds at a quarter of the full length each; a smaller sampler peak as well",
                "more requests than that wait",
                "requests are much shorter than that",
            )
        )
    if chosen.block_tokens:
        found.append(Flag("--block-size", str(chosen.block_tokens), "as asked; in tokens"))
    if chosen.quantization:
        found.append(Flag("--quantization", chosen.quantization, "as asked", "quality: measure"))
    return tuple(found)


def _seats(plan: Estimate) -> int | None:
    if plan.choice.max_num_seqs:
        return plan.choice.max_num_seqs
    if not plan.max_concurrency or plan.max_concurrency < 1:
        return None
    return max(4, min(1024, int(plan.max_concurrency * 4)))


def command(model: str, found: tuple[Flag, ...]) -> str:
    """``vllm serve MODEL …``."""
    words = ["vllm", "serve", model]
    for flag in found:
        words += [flag.flag] if flag.value is None else [flag.flag, flag.value]
    return shlex.join(words)
