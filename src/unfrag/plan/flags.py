"""The flags of a plan: value, what it saves, what it costs, when to leave it; and the line that starts the server."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import msgspec

from unfrag.errors import UsageError
from unfrag.plan.estimate import estimate
from unfrag.system import resources
from unfrag.units import size

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.estimate import Choice
    from unfrag.plan.search import Ask, Plan

_LEVERS = "levers.toml"


class Flag(msgspec.Struct, frozen=True):
    """``value`` is None for a bare flag; ``saving``: requests at once with and without it, where it changes them."""

    flag: str
    value: str | None
    why: str
    saving: str = ""
    cost: str = ""
    not_when: str = ""


class _Lever(msgspec.Struct, frozen=True):
    """``value`` None: the lever is not used. ``without``: the choice with the lever left alone."""

    name: str
    value: str | None
    why: str
    without: dict[str, object] = {}
    bare: bool = False


def flags(a: Architecture, plan: Plan, ask: Ask) -> tuple[Flag, ...]:
    """Everything the plan sets, in the order of a command line."""
    found = []
    for lever in (*_division(plan), *_sizes(plan, ask), *_model(plan)):
        if lever.value is None:
            continue
        text = resources.table("unfrag.plan", _LEVERS)[lever.name]
        saving = _saving(a, plan, msgspec.structs.replace(plan.estimate.choice, **lever.without), ask)
        value = None if lever.bare else lever.value
        found.append(Flag(f"--{lever.name}", value, lever.why, saving, text["cost"], text["not_when"]))
    return tuple(found)


def _said(value: object, unset: object = None) -> str | None:
    return None if value is None or value == unset else str(value)


def _division(plan: Plan) -> tuple[_Lever, ...]:
    """Over the cards."""
    c, held = plan.estimate.choice, plan.estimate.per_rank.weights_bytes
    experts = "" if c.expert_parallel else None
    return (
        _Lever("tensor-parallel-size", _said(c.tp, 1), f"{size(held or 0)} of weights on each card"),
        _Lever("pipeline-parallel-size", _said(c.pp, 1), "layers are divided"),
        _Lever("data-parallel-size", _said(c.dp, 1), "each card keeps only the KV of its own requests", {"dp": 1}),
        _Lever("enable-expert-parallel", experts, "whole experts are divided, not slices of each", bare=True),
        _Lever(
            "decode-context-parallel-size",
            _said(c.dcp, 1),
            f"each card keeps 1/{c.dcp} of the tokens instead of all",
            {"dcp": 1},
        ),
    )


def _sizes(plan: Plan, ask: Ask) -> tuple[_Lever, ...]:
    """Of the cache, the batch and the step."""
    c, load = plan.estimate.choice, ask.workload
    length = "the longest request of the workload" if load.longest else "the context that is planned for"
    fp8 = (c.kv_dtype or "").startswith("fp8")
    return (
        _Lever("max-model-len", _said(plan.estimate.max_model_len), length),
        _Lever(
            "kv-cache-dtype",
            c.kv_dtype,
            "half the bytes of a token" if fp8 else "as asked",
            {"kv_dtype": None} if fp8 else {},
        ),
        _Lever(
            "gpu-memory-utilization",
            None if c.utilization is None else f"{c.utilization:g}",
            "the share of each card that vLLM takes",
            {"utilization": None},
        ),
        _Lever("max-num-seqs", _said(c.max_num_seqs), "the requests that are planned for", {"max_num_seqs": None}),
        _Lever("max-num-batched-tokens", _said(c.step_tokens), "tokens of a step", {"step_tokens": None}),
        _Lever("block-size", _said(c.block_tokens), "as asked; in tokens"),
    )


def _model(plan: Plan) -> tuple[_Lever, ...]:
    """Of how the model is run."""
    c = plan.estimate.choice
    draft = None
    if c.draft_tokens:
        draft = json.dumps({"method": "mtp", "num_speculative_tokens": c.draft_tokens})
    return (
        _Lever("dtype", c.dtype, "as asked"),
        _Lever("quantization", c.quantization, "as asked"),
        _Lever("enforce-eager", "" if c.eager else None, "no CUDA graphs are kept", {"eager": False}, bare=True),
        _Lever("speculative-config", draft, "drafts with the model's own MTP layer"),
    )


def considered(a: Architecture, found: tuple[Flag, ...]) -> tuple[Flag, ...]:
    """Levers that the plan leaves alone, each with the reason; ``why`` says it."""
    used = {flag.flag for flag in found}
    left: list[Flag] = []
    for name, text in resources.table("unfrag.plan", _LEVERS).items():
        if f"--{name}" in used or "instead" not in text:
            continue
        if (name == "enable-expert-parallel" and not a.experts) or (
            name == "speculative-config" and not a.draft_layers
        ):
            continue
        left.append(Flag(f"--{name}", None, text["instead"], "", text["cost"], text["not_when"]))
    return tuple(left)


def command(model: str, found: tuple[Flag, ...]) -> list[str]:
    """The words of ``vllm serve MODEL …``."""
    words = ["vllm", "serve", model]
    for flag in found:
        words += [flag.flag] if flag.value is None else [flag.flag, flag.value]
    return words


def line(words: list[str]) -> str:
    """The same for a shell."""
    return shlex.join(words)


def _saving(a: Architecture, plan: Plan, without: Choice, ask: Ask) -> str:
    """Requests of full length at once, with the lever and without."""
    if without == plan.estimate.choice:
        return ""
    try:
        before = estimate(a, ask.card, ask.count, without, ask.version)
    except UsageError:
        return ""
    length, now = plan.estimate.max_model_len, plan.estimate.kv_tokens
    if before.fits is False and plan.estimate.fits:
        return "without it nothing fits"
    if not length or now is None or before.kv_tokens is None:
        return ""
    replicas = max(1, ask.count // (without.tp * without.pp))
    after, was = now * plan.replicas / length, before.kv_tokens * replicas / length
    return "" if abs(after - was) < 0.005 * after else f"{after:.1f} requests of {length:,} tokens instead of {was:.1f}"
