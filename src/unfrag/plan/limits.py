"""What a card and vLLM refuse, before either is asked: by compute capability, in vLLM's own terms.

Read in vLLM 0.32: ``vllm/platforms/cuda.py`` (order of back-ends), ``v1/attention/backends``, the quantisation methods'
``get_min_capability``, ``config/model.py`` (splits). Rules for CUDA only; of other makes nothing is claimed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unfrag.plan import weights

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.cards import Card
    from unfrag.plan.estimate import Choice

_OLDEST = 7.0
_CUDA_BLOCK = 16
_AMPERE, _ADA, _HOPPER, _BLACKWELL, _CONSUMER_BLACKWELL = 8.0, 8.9, 9, 10, 12
_LEAST_CAPABILITY = {"fp8": 7.5, "int4": 7.5, "int4-experts": 7.5, "mxfp4": 8.0, "nvfp4": 7.5}
_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
_KV_DTYPES = ("auto", "float16", "bfloat16", "fp8", "int8", "nvfp4", "turboquant")  # and what begins like them


def flags(a: Architecture, choice: Choice) -> str | None:
    """Why vLLM refuses these values whatever the card, with what to do; None when it does not."""
    if choice.dtype and choice.dtype.removeprefix("torch.") not in _DTYPES:
        return f"--dtype {choice.dtype[:40]}: choose one of {', '.join(_DTYPES)}"
    if choice.kv_dtype and not choice.kv_dtype.startswith(_KV_DTYPES):
        return f"--kv-cache-dtype {choice.kv_dtype[:40]}: choose auto, bfloat16, fp8, fp8_e4m3, fp8_e5m2 or nvfp4"
    if choice.expert_parallel and not a.experts:
        return "--ep divides experts, and this model has none; leave it away"
    if choice.step_tokens and choice.max_num_seqs and choice.step_tokens < choice.max_num_seqs:
        return (
            f"max_num_batched_tokens ({choice.step_tokens}) must be greater than or equal to "
            f"max_num_seqs ({choice.max_num_seqs}); raise the one or lower the other"
        )
    return None


def splits(a: Architecture, choice: Choice, count: int) -> str | None:
    """Why vLLM refuses the split, with what to do; None when it does not."""
    wanted = choice.tp * choice.pp * choice.dp
    if wanted > count:
        return (
            f"tensor {choice.tp} x pipeline {choice.pp} x data {choice.dp} needs {wanted} cards, not {count}; "
            "raise --gpu-count or lower one of them"
        )
    if a.heads and a.heads % choice.tp:
        nearest = next(t for t in range(choice.tp, 0, -1) if a.heads % t == 0)
        return (
            f"Total number of attention heads ({a.heads}) must be divisible by tensor parallel size ({choice.tp}); "
            f"try --tp {nearest}"
        )
    if choice.pp > a.depth:
        return f"{a.depth} layers cannot be split into {choice.pp} pipeline stages; lower --pp"
    if choice.tp % choice.dcp:
        return f"--dcp {choice.dcp} must divide --tp {choice.tp}"
    if choice.dcp > 1 and not a.is_mla and a.kv_heads:
        if choice.tp <= a.kv_heads:
            return (
                f"decode context parallel wants more ranks than KV heads ({a.kv_heads}), "
                f"and --tp is {choice.tp}; leave --dcp away"
            )
        if choice.dcp > choice.tp // a.kv_heads:
            return f"--dcp {choice.dcp} is more than --tp {choice.tp} over {a.kv_heads} KV heads allows; lower it"
        if a.heads and a.heads // a.kv_heads % choice.dcp:
            return f"{a.heads // a.kv_heads} query heads to a KV head cannot be divided by --dcp {choice.dcp}; lower it"
    return None


def card(a: Architecture, card: Card, choice: Choice) -> str | None:
    """Why this card cannot do it; None when it can, or when nothing is known of the card."""
    has = card.capability
    if not card.is_cuda or not has:
        return None
    if has < _OLDEST:
        return f"vLLM has no kernels for {card.name} (compute capability {has:g}; {_OLDEST:g} is the oldest)"
    if choice.block_tokens and choice.block_tokens % _CUDA_BLOCK:
        return f"--block-size {choice.block_tokens}: on CUDA a block holds a multiple of {_CUDA_BLOCK} tokens"
    if choice.dtype == "bfloat16" and has < _AMPERE:
        return f"Bfloat16 wants compute capability {_AMPERE}, {card.name} has {has:g}; use --dtype half"
    how = weights.scheme(a, choice.quantization)
    if has < _LEAST_CAPABILITY.get(how, 0.0):
        return f"{how} weights want compute capability {_LEAST_CAPABILITY[how]}, {card.name} has {has:g}"
    if a.is_sparse_mla and int(has) not in (_HOPPER, _BLACKWELL, _CONSUMER_BLACKWELL):
        return f"sparse attention of {a.model_type} has kernels for Hopper and Blackwell, not for {card.name}"
    if (choice.kv_dtype or "").startswith("fp8"):
        if a.is_mla and has < _ADA:
            return f"FP8 KV of MLA wants compute capability {_ADA} (Triton MLA), {card.name} has {has:g}"
        if has < _AMPERE:
            return f"FP8 KV wants compute capability {_AMPERE}, {card.name} has {has:g}"
    return None


def backend(a: Architecture, card: Card) -> str | None:
    """The attention back-end that vLLM 0.32 tries first on the card; None where it is not known."""
    if not card.is_cuda or not card.capability:
        return None
    major = int(card.capability)
    if a.is_sparse_mla:
        names = {_HOPPER: "FLASH_ATTN_MLA_SPARSE", _BLACKWELL: "FLASHINFER_MLA_SPARSE"}
        return names.get(major, "FLASHINFER_MLA_SPARSE_SM120" if major == _CONSUMER_BLACKWELL else None)
    if a.is_mla:
        return {_HOPPER: "FLASH_ATTN_MLA", _BLACKWELL: "FLASHINFER_MLA"}.get(major, "TRITON_MLA")
    if card.capability < _AMPERE:
        return "TRITON_ATTN"
    return "FLASHINFER" if major == _BLACKWELL else "FLASH_ATTN"


def notes(a: Architecture, card: Card, choice: Choice) -> list[str]:
    """What works otherwise than its name says on this card."""
    found: list[str] = []
    has = card.capability
    if choice.max_model_len and a.longest and choice.max_model_len > a.longest:
        found.append(
            f"{choice.max_model_len:,} tokens are more than the model's {a.longest:,}: vLLM refuses that unless the "
            "config scales RoPE"
        )
    if not card.is_cuda or not has:
        return found
    if (first := backend(a, card)) is not None:
        found.append(f"attention on {card.name}: {first} comes first in vLLM 0.32's order")
    if weights.scheme(a, choice.quantization) == "fp8" and has < _ADA:
        found.append(f"{card.name} computes no FP8: FP8 weights are unpacked to 16 bits in each layer (Marlin)")
    if weights.scheme(a, choice.quantization) in ("nvfp4", "mxfp4") and int(has) < _BLACKWELL:
        found.append(f"{card.name} computes no FP4: the weights stay packed and are unpacked in each layer (Marlin)")
    if (choice.kv_dtype or "").startswith("fp8") and not a.is_mla and has < _ADA:
        found.append(f"FP8 KV on {card.name} runs through FlashInfer only: it must be installed")
    if re.search(r"bfloat16|auto", a.dtype) and choice.dtype is None and has < _AMPERE:
        found.append(f"{card.name} has no bfloat16: vLLM loads the model in float16; watch for overflow")
    return found
