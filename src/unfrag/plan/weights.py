"""Bytes of weights on one rank, counted from the shape: a closed formula, within a few percent of what vLLM loads.

A linear layer is divided by the tensor-parallel ranks, except what every rank needs whole: norms, routers, MLA's down
projections, the sparse indexer. Experts are divided by the same ranks whether expert parallel is on or not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unfrag.plan import architecture

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture
    from unfrag.plan.estimate import Choice

_DTYPE_BYTES = {"float32": 4.0, "float": 4.0, "float16": 2.0, "half": 2.0, "bfloat16": 2.0, "auto": 2.0}
_FP8, _INT4, _FP4, _MXFP4 = 1.0, 0.5 + 2.5 / 128, 0.5 + 1 / 16, 0.5 + 1 / 32
_INT4_GROUP_32 = 0.5 + 2 / 32
_VOCAB_PADDING = 64
_MXFP4_PADDING = 256
_PLAUSIBLE = (0.8, 1.25)
# Parameters of the vision part, where the config says that there is one and not how large.
_VISION = {
    "mistral3": 0.44e9,
    "pixtral": 0.43e9,
    "gemma3": 0.43e9,
    "llama4": 0.86e9,
    "qwen2_vl": 0.67e9,
    "qwen2_5_vl": 0.68e9,
    "qwen3_vl": 0.58e9,
    "qwen3_vl_moe": 0.58e9,
    "kimi_vl": 0.43e9,
    "glm4v": 0.6e9,
    "glm4v_moe": 0.6e9,
}


def scheme(a: Architecture, asked: str | None) -> str:
    """none, fp8, int4, nvfp4, mxfp4 or int4-experts: from the flag, else from the checkpoint."""
    text = f"{asked or ''} {a.quantization or ''}".lower()
    if "mxfp4" in text or (a.model_type == "gpt_oss" and not asked):
        return "mxfp4"
    if "nvfp4" in text or "fp4" in text:
        return "nvfp4"
    if "int4" in text or "w4a16" in text:
        return "int4-experts" if a.experts and "compressed" in text else "int4"
    if "compressed" in text and a.model_type.startswith("kimi"):
        return "int4-experts"  # as Moonshot publishes it
    if any(word in text for word in ("awq", "gptq", "bitsandbytes", "4bit", "autoround", "nf4")):
        return "fp8" if "8bit" in text else "int4"
    if any(word in text for word in ("fp8", "int8", "w8a", "8bit", "compressed", "modelopt", "smoothquant", "fbgemm")):
        return "fp8"
    return "none"


class _Bytes:
    """Bytes of a parameter, by what it belongs to."""

    def __init__(self, a: Architecture, how: str, dtype: str | None) -> None:
        full = _DTYPE_BYTES.get(dtype or a.dtype, 2.0)
        self.embedding = self.router = self.norm = full
        self.attention = self.mlp = self.expert = self.linear = full
        if how == "fp8":
            self.attention = self.mlp = self.expert = self.linear = _FP8
            if "linear" in a.layers:
                self.linear = full  # published FP8 checkpoints leave gated delta nets as they are
            if a.unknown_layout:
                self.expert = _MXFP4  # DeepSeek V4 keeps its experts in four bits
        elif how == "int4":
            self.attention = self.mlp = self.expert = self.linear = _INT4
        elif how == "int4-experts":
            self.expert = _INT4_GROUP_32
        elif how == "mxfp4":
            self.expert = _MXFP4
        elif how == "nvfp4":
            self.mlp = self.expert = _FP4
            self.attention = full if a.is_mla else _FP4


def per_rank(
    a: Architecture,
    tp: int,
    pp: int = 1,
    quantization: str | None = None,
    dtype: str | None = None,
    dp: int = 1,
) -> int | None:
    """Bytes on the fullest rank; None when the config lacks a size that is needed.

    Args:
        dp: data-parallel ranks of one deployment: each keeps attention whole, experts are divided among all of them
            (``vllm/model_executor/layers/fused_moe/config.py``, ``FusedMoEParallelConfig``).
    """
    if a.hidden is None or a.vocab is None or a.heads is None or a.head_dim is None or a.kv_heads is None:
        return None
    each = _Bytes(a, scheme(a, quantization), dtype)
    total = 0.0
    for kind, count in a.layers.items():
        layers = math.ceil(count / pp)
        if kind == "mlp":
            continue
        if kind == "linear":
            total += layers * _linear_attention(a) / tp * each.linear
        elif kind == "mamba":
            total += layers * _mamba(a) / tp * each.linear
        else:
            total += layers * _attention(a, each, tp)
    total += _feed_forward(a, each, tp, pp, dp) + a.extra_parameters * each.embedding
    padded = math.ceil(a.vocab / _VOCAB_PADDING) * _VOCAB_PADDING
    embedding = padded / tp * a.hidden * each.embedding
    # The first stage has the embedding, the last one the head; on one stage a tied model has them once.
    total += embedding if pp > 1 or a.tied else 2 * embedding
    vision = 0.0 if a.text_only else _VISION.get(a.model_type, 0.0)
    total += vision / (tp if a.model_type == "llama4" else 1) * each.embedding
    return int(total)


def _attention(a: Architecture, each: _Bytes, tp: int) -> float:
    assert a.hidden is not None
    assert a.heads is not None
    assert a.head_dim is not None
    assert a.kv_heads is not None
    if not a.is_mla:
        queries = a.heads * a.head_dim * (2 if a.q_gate else 1) / tp
        keys = 2 * max(a.kv_heads / tp, 1) * a.head_dim
        return (a.hidden * (queries + keys) + a.heads * a.head_dim / tp * a.hidden) * each.attention
    latent, head = a.kv_lora or 0, a.nope + a.rope
    shared = a.hidden * (latent + a.rope)
    if a.q_lora:
        shared += a.hidden * a.q_lora
        divided = a.q_lora * a.heads * head
    else:
        divided = a.hidden * a.heads * head
    up = latent * a.heads * (a.nope + a.v_dim)
    divided += up + a.heads * a.v_dim * a.hidden
    # vLLM keeps the absorbed up-projections beside kv_b_proj, in the model's own dtype.
    absorbed = up / tp * each.embedding
    total = shared * each.attention + divided / tp * each.attention + absorbed
    if a.is_sparse_mla and a.q_lora:
        index = a.q_lora * a.index_heads * (a.index_head_dim or 128) + a.hidden * (
            (a.index_head_dim or 128) + a.index_heads
        )
        total += index * each.attention * a.index_layers / a.depth
    return total


def _linear_attention(a: Architecture) -> float:
    """Gated delta net: projections to q, k, v, z, b, a and back (``vllm/model_executor/models/qwen3_next.py``)."""
    s = a.state
    keys = s.get("linear_num_key_heads", 16) * s.get("linear_key_head_dim", 128)
    values = s.get("linear_num_value_heads", 32) * s.get("linear_value_head_dim", 128)
    return (a.hidden or 0) * (2 * keys + 2 * values + 2 * s.get("linear_num_value_heads", 32)) + values * (
        a.hidden or 0
    )


def _mamba(a: Architecture) -> float:
    """Mamba 2: one projection in, one out."""
    s = a.state
    inner = s.get("mamba_num_heads", 64) * s.get("mamba_head_dim", 64)
    into = 2 * inner + 2 * s.get("n_groups", 8) * s.get("ssm_state_size", 128) + s.get("mamba_num_heads", 64)
    return (a.hidden or 0) * into + inner * (a.hidden or 0)


def _feed_forward(a: Architecture, each: _Bytes, tp: int, pp: int, dp: int) -> float:
    hidden = a.hidden or 0
    width = 3 if a.gated else 2
    blocks = a.layers.get("mlp", a.depth)
    if not a.experts:
        return math.ceil(blocks / pp) * width * hidden * (a.intermediate or 0) / tp * each.mlp
    dense = min(a.dense_layers, blocks)
    inner = a.moe_intermediate or 0
    if each.expert == _MXFP4 and a.model_type == "gpt_oss":
        inner = math.ceil(inner / _MXFP4_PADDING) * _MXFP4_PADDING
    expert = a.experts * width * hidden * inner / (tp * dp) * each.expert
    shared = width * hidden * a.shared_intermediate / tp * each.mlp
    router = hidden * a.experts * each.router
    layers = math.ceil((blocks - dense) / pp)
    return (
        layers * (expert + shared + router)
        + math.ceil(dense / pp) * width * hidden * (a.dense_intermediate or 0) / tp * each.mlp
    )


def expert_bytes(a: Architecture, choice: Choice) -> float:
    """Of one rank: what the routed experts take."""
    if not a.experts:
        return 0.0
    each = _Bytes(a, scheme(a, choice.quantization), choice.dtype)
    layers = math.ceil(max(0, a.layers.get("mlp", a.depth) - a.dense_layers) / choice.pp)
    width = 3 if a.gated else 2
    one = width * (a.hidden or 0) * (a.moe_intermediate or 0) * each.expert
    return layers * a.experts * one / (choice.tp * choice.dp)


def measured(a: Architecture, choice: Choice, total: int | None) -> int | None:
    """Bytes on one rank of a checkpoint of ``total`` bytes, divided as the formula divides its own.

    None without a total, or where the formula is so far off that the checkpoint must hold something else.
    """
    if total is None:
        return None
    whole = architecture.with_draft(a) if a.draft_layers else a  # a checkpoint brings its MTP layers along
    one = per_rank(whole, 1, 1, choice.quantization, choice.dtype)
    rank = per_rank(a, choice.tp, choice.pp, choice.quantization, choice.dtype, choice.dp)
    if one is None or rank is None or not _PLAUSIBLE[0] < total / one < _PLAUSIBLE[1]:
        return None
    return int(rank * total / one)
