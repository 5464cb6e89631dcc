"""A model's shape from its ``config.json``, partial ones too: what is missing is filled in by model type, and said.

Names follow ``transformers``; summaries are taken too (``layer_types`` as counts, ``quantization_config`` as a word).
"""

from __future__ import annotations

from typing import Any

import msgspec

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.system import resources

_ALIASES = {
    "n_routed_experts": ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "num_attention_heads": ("num_attention_heads", "n_head"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads", "multi_query_group_num"),
    "intermediate_size": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "max_position_embeddings": ("max_position_embeddings", "seq_length", "n_positions", "max_sequence_length"),
    "shared_expert_intermediate_size": ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"),
    "torch_dtype": ("torch_dtype", "dtype"),
    "sliding_window": ("sliding_window", "sliding_window_size"),
    "linear_num_value_heads": ("linear_num_value_heads", "gdn_num_value_heads"),
}
_SPARSE_MLA = ("deepseek_v32", "glm_moe_dsa", "deepseek_v3_2")
_UNKNOWN_LAYOUT = ("deepseek_v4", "deepseek_v4_1")
_ENCODERS = ("bert", "roberta", "xlm-roberta", "modernbert", "distilbert", "deberta-v2", "electra", "vit", "clip")
_LONGEST_WORD = 60
_NOT_GATED = ("nemotron_h", "nemotron", "gpt2", "opt", "falcon", "phi", "gpt_neox", "starcoder2")


class Architecture(msgspec.Struct, frozen=True):
    """Sizes in elements. ``layers``: how many of each kind (full, sliding, linear, mamba, chunked, mlp)."""

    model_type: str
    layers: dict[str, int]
    depth: int
    hidden: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    vocab: int | None
    tied: bool
    intermediate: int | None
    experts: int = 0
    experts_per_token: int = 0
    moe_intermediate: int | None = None
    shared_intermediate: int = 0
    dense_layers: int = 0
    """Layers with an ordinary MLP in a model of experts."""
    dense_intermediate: int | None = None
    gated: bool = True
    q_gate: bool = False
    kv_lora: int | None = None
    q_lora: int | None = None
    nope: int = 0
    rope: int = 0
    v_dim: int = 0
    index_head_dim: int | None = None
    index_layers: int = 0
    index_heads: int = 64
    sliding_window: int | None = None
    longest: int | None = None
    dtype: str = "bfloat16"
    quantization: str | None = None
    state: dict[str, int] = {}
    """Of recurrent layers: the sizes that make a state."""
    state_dtype: str = "auto"
    kv_quantised: bool = False
    draft_layers: int = 0
    """Layers for multi-token prediction that the checkpoint brings along (MTP)."""
    extra_parameters: int = 0
    text_only: bool = False
    """The part of a family's vision models that reads text, published by itself."""
    assumed: tuple[str, ...] = ()

    @property
    def is_mla(self) -> bool:
        return self.kv_lora is not None

    @property
    def is_sparse_mla(self) -> bool:
        return self.is_mla and self.index_head_dim is not None

    @property
    def unknown_layout(self) -> bool:
        """A model type whose cache is laid out in a way that no formula here describes."""
        return self.model_type in _UNKNOWN_LAYOUT


def read(raw: Any) -> Architecture:
    """The shape of a config.

    Raises:
        NotEnoughEvidence: this is no model's configuration.
    """
    if not isinstance(raw, dict):
        raise NotEnoughEvidence("the configuration is no JSON object")
    parts = (raw.get(key) for key in ("text_config", "llm_config", "language_config"))
    inner: dict[str, Any] = next((part for part in parts if isinstance(part, dict)), {})
    config = {k: v for k, v in {**raw, **inner}.items() if v is not None}
    outer = str(raw.get("model_type") or config.get("model_type") or "").lower()
    model_type = outer.removesuffix("_text")[:_LONGEST_WORD]
    if model_type in _ENCODERS:
        raise NotEnoughEvidence(f"{model_type} is an encoder: it keeps no KV cache, so there is nothing to plan")
    assumed: list[str] = []
    for key, value in resources.table("unfrag.plan", "model_defaults.toml").get(model_type, {}).items():
        if not any(alias in config for alias in _ALIASES.get(key, (key,))):
            config[key] = value
            assumed.append(f"{key}={value} (default of {model_type})")
    get = _Reader(config)
    depth = get.count("num_hidden_layers")
    if depth is None:
        raise NotEnoughEvidence("the configuration has no num_hidden_layers: this is no model's config.json")
    _must_make_sense(config)
    heads, hidden = get.count("num_attention_heads"), get.count("hidden_size")
    head_dim = get.count("head_dim") or (hidden // heads if hidden and heads else None)
    kv_heads = get.count("num_key_value_heads") or heads
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        kv_heads = 1
    experts = get.count("n_routed_experts") or 0
    layers = _layers(config, depth)
    mla = get.count("kv_lora_rank") if get.count("qk_rope_head_dim") else None
    quantization, kv_quantised = _quantization(config.get("quantization_config"))
    shared = get.count("shared_expert_intermediate_size") or 0
    moe_size = get.count("moe_intermediate_size") or (get.count("intermediate_size") if experts else None)
    if not shared and experts and moe_size:
        shared = (get.count("n_shared_experts") or 0) * moe_size
    dense = min(depth, get.count("first_k_dense_replace") or 0) if experts else 0
    step = get.count("interleave_moe_layer_step") or 1
    if experts and step > 1:
        dense = depth - depth // step
        shared = shared or (get.count("intermediate_size") or 0)
    if not config.get("torch_dtype") and not config.get("dtype"):
        assumed.append("dtype=bfloat16")
    if "tie_word_embeddings" not in config:
        assumed.append("tie_word_embeddings=false")
    return Architecture(
        model_type=model_type or "unknown",
        layers=layers,
        depth=depth,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=get.count("vocab_size"),
        tied=bool(config.get("tie_word_embeddings", False)),
        intermediate=get.count("intermediate_size"),
        experts=experts,
        experts_per_token=min(experts, get.count("num_experts_per_tok") or 0),
        moe_intermediate=moe_size,
        shared_intermediate=shared,
        dense_layers=dense,
        dense_intermediate=get.count("intermediate_size_mlp") or get.count("intermediate_size"),
        gated=model_type not in _NOT_GATED,
        q_gate=bool(config.get("attn_output_gate", model_type == "qwen3_next")),
        kv_lora=mla,
        q_lora=get.count("q_lora_rank"),
        nope=get.count("qk_nope_head_dim") or 0,
        rope=get.count("qk_rope_head_dim") or 0,
        v_dim=get.count("v_head_dim") or 0,
        index_head_dim=(get.count("index_head_dim") or (128 if model_type in _SPARSE_MLA else None)) if mla else None,
        index_layers=min(depth, get.count("indexer_full_layers") or depth),
        index_heads=get.count("index_n_heads") or (32 if model_type == "glm_moe_dsa" else 64),
        sliding_window=get.count("sliding_window"),
        longest=get.count("max_position_embeddings"),
        dtype=str(config.get("torch_dtype") or config.get("dtype") or "bfloat16").removeprefix("torch.")[
            :_LONGEST_WORD
        ],
        quantization=quantization,
        state=_state(get),
        state_dtype=str(config.get("mamba_ssm_cache_dtype", config.get("mamba_ssm_dtype", "auto")))[:_LONGEST_WORD],
        kv_quantised=kv_quantised,
        text_only=outer.endswith("_text") and not inner,
        draft_layers=get.count("num_nextn_predict_layers") or get.count("mtp_num_hidden_layers") or 0,
        assumed=tuple(assumed),
    )


def with_draft(a: Architecture) -> Architecture:
    """The same with its first MTP layer loaded, as ``--speculative-config`` with method mtp does.

    One more layer of attention and experts, one more layer of KV, and a projection of two hidden states to one.

    Raises:
        UsageError: the checkpoint has no such layer.
    """
    if not a.draft_layers:
        raise UsageError("--speculative-tokens: this model's config names no MTP layers (num_nextn_predict_layers)")
    layers = {**a.layers, "full": a.layers.get("full", 0) + 1}
    extra = 2 * (a.hidden or 0) ** 2
    return msgspec.structs.replace(a, layers=layers, depth=a.depth + 1, extra_parameters=extra)


def _must_make_sense(config: dict[str, Any]) -> None:
    """Raises NotEnoughEvidence: a size of the KV cache is given, and is none."""
    for name in (*_ALIASES["num_key_value_heads"], "kv_lora_rank"):
        if config.get(name) == 0 and config.get("use_mla") is not False:
            raise NotEnoughEvidence(f"the configuration has {name}=0: no model has that")


# Several times the largest that any published model has. A larger one is a mistake, and counts as not given.
_LARGEST = {
    "num_hidden_layers": 4096,
    "vocab_size": 2**24,
    "max_position_embeddings": 2**32,
    "sliding_window": 2**32,
    "hidden_size": 2**18,
    "intermediate_size": 2**22,
    "intermediate_size_mlp": 2**22,
    "moe_intermediate_size": 2**22,
    "shared_expert_intermediate_size": 2**22,
}
_LARGEST_OTHER = 2**14


class _Reader:
    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def count(self, name: str) -> int | None:
        """A positive whole number under any of its names; None for anything else."""
        for alias in _ALIASES.get(name, (name,)):
            value = self._config.get(alias)
            if isinstance(value, list) and value and all(isinstance(v, int) for v in value):
                value = max(value)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if 1 <= value <= _LARGEST.get(name, _LARGEST_OTHER):
                return int(value)
        return None


def _layers(config: dict[str, Any], depth: int) -> dict[str, int]:
    """Layers by kind, from ``layer_types``, an interval or a pattern; all full attention otherwise."""
    said = config.get("layer_types") or config.get("layers_block_type")
    kinds: dict[str, int] = {}
    if isinstance(said, dict):
        kinds = {_kind(str(k)): int(v) for k, v in said.items() if isinstance(v, int) and 0 < v <= depth}
    elif isinstance(said, list) and said:
        spare = len(said) - depth - (_Reader(config).count("num_nextn_predict_layers") or 0)
        if spare > 0:
            raise NotEnoughEvidence(f"the configuration names {len(said)} layer_types for {depth} layers")
        for name in said[:depth]:  # behind them stand those for multi-token prediction
            kinds[_kind(str(name))] = kinds.get(_kind(str(name)), 0) + 1
    elif isinstance(pattern := config.get("hybrid_override_pattern"), str):
        for mark in pattern[:4096]:
            kind = {"*": "full", "M": "mamba"}.get(mark, "mlp")
            kinds[kind] = kinds.get(kind, 0) + 1
    elif isinstance(every := config.get("full_attention_interval"), int) and every > 1:
        kinds = {"full": depth // every, "linear": depth - depth // every}
    elif isinstance(every := config.get("sliding_window_pattern"), int) and every > 1 and config.get("sliding_window"):
        kinds = {"full": depth // every, "sliding": depth - depth // every}
    return {kind: count for kind, count in kinds.items() if count} or {"full": depth}


def _kind(name: str) -> str:
    for word, kind in (
        ("sliding", "sliding"),
        ("chunked", "chunked"),
        ("linear", "linear"),
        ("gdn", "linear"),
        ("mamba", "mamba"),
        ("mlp", "mlp"),
        ("moe", "mlp"),
    ):
        if word in name:
            return kind
    return "full"


def _state(get: _Reader) -> dict[str, int]:
    names = (
        *("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"),
        *("linear_conv_kernel_dim", "mamba_num_heads", "mamba_head_dim", "ssm_state_size", "n_groups", "conv_kernel"),
    )
    return {name: value for name in names if (value := get.count(name)) is not None}


def _quantization(said: Any) -> tuple[str | None, bool]:
    """(method in one word with its bits, does the checkpoint switch an FP8 KV cache on)."""
    if isinstance(said, str):
        return said.lower()[:_LONGEST_WORD], False
    if not isinstance(said, dict):
        return None, False
    method = str(said.get("quant_method") or said.get("quant_algo") or "").lower()[:_LONGEST_WORD]
    bits = said.get("bits") or said.get("w_bit")
    text = str(said).lower()
    if method == "compressed-tensors":
        four = "'num_bits': 4" in text
        method += " nvfp4" if four and "'type': 'float'" in text else " int4" if four else " fp8"
    elif method == "modelopt":
        method += " nvfp4" if "fp4" in text else " fp8"
    elif isinstance(bits, int):
        method += f" {bits}bit"
    kv = said.get("kv_cache_scheme") is not None or "'kv_cache_quant_algo': 'fp8'" in text
    return method or None, kv
