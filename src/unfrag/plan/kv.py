"""The KV cache of a model on one rank: bytes of a token, vLLM's grouping of unlike layers, blocks, concurrency.

Read in ``vllm/v1/core/kv_cache_utils.py`` (``_get_kv_cache_groups_uniform_page_size``,
``get_max_concurrency_for_kv_cache_config``) and the specs of 0.32; differences of older versions are named.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from unfrag.plan.architecture import Architecture

_FP8_SPARSE_PAGE = 656  # fp8_ds_mla: 512 of FP8, 16 of scales, 128 of bfloat16 rope
_INDEXER_SCALE = 4
_NVFP4 = 0.5 + 1 / 16  # a scale of one byte for 16 numbers
_MAMBA_ALIGN = 16
_DECIDED_BY_CONCURRENCY = (0, 21)  # from here on the printed tokens are concurrency times length
_GLM_FLASH_IS_MLA = (0, 14)


class Group(msgspec.Struct, frozen=True):
    """Layers that share a block table: ``kind`` is full, sliding or state."""

    kind: str


class Cache(msgspec.Struct, frozen=True):
    """The cache on one rank. ``layer_token_bytes``: of one layer and token; ``slots``: layers of a group."""

    layer_token_bytes: int
    slots: int
    groups: tuple[Group, ...]
    block_tokens: int
    extra_token_bytes: int = 0
    """Of all layers together, beside the pages (sparse indexers)."""
    divided: int = 1
    """By decode context parallelism: each rank keeps this part of the tokens."""
    notes: tuple[str, ...] = ()

    @property
    def page_bytes(self) -> int:
        """One block of one group, all its layers."""
        return self.layer_token_bytes * self.slots * self.block_tokens + self.extra_token_bytes * self.block_tokens

    @property
    def token_bytes(self) -> float:
        """What one token costs a rank when every group keeps it: what vLLM's printed tokens divide by."""
        return self.page_bytes * len(self.groups) / self.block_tokens / self.divided

    def blocks(self, available: float) -> int:
        """Blocks that fit into so many bytes."""
        return max(0, int(available // self.page_bytes)) if self.page_bytes else 0

    def blocks_of_request(self, length: int, chunk: int, window: int | None) -> int:
        """Blocks that one request of full length holds, over all groups."""
        total = 0
        for group in self.groups:
            if group.kind == "state":
                total += 1
            elif group.kind == "sliding" and window is not None:
                held = min(window - 1 + chunk, length)
                total += math.ceil(held / self.block_tokens) + 1
            else:
                total += math.ceil(length / (self.block_tokens * self.divided))
        return total

    def tokens(self, blocks: int, length: int, concurrency: float, version: tuple[int, ...]) -> int:
        """What vLLM of that version prints as the size of its cache."""
        if version >= _DECIDED_BY_CONCURRENCY:
            return int(concurrency * length)
        return blocks // len(self.groups) * self.block_tokens * self.divided


def version_of(said: str | None) -> tuple[int, ...]:
    """``"v0.18.0+rhai"`` as (0, 18, 0); the newest when nothing is said."""
    found = re.search(r"(?<!\d)(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", (said or "")[:200])
    return tuple(int(part or 0) for part in found.groups()) if found else (99,)


def cache(
    architecture: Architecture,
    tp: int,
    pp: int = 1,
    dcp: int = 1,
    kv_dtype: str | None = None,
    block_tokens: int | None = None,
    version: tuple[int, ...] = (99,),
    card: str = "",
) -> Cache | None:
    """The cache of one rank; None when the config lacks a size or the layout is unknown."""
    a = architecture
    if a.unknown_layout:
        return None
    notes: list[str] = []
    bytes_each, fp8 = _element(a, kv_dtype)
    extra = 0
    on_xpu = re.search(r"intel|xpu|\barc\b", card, re.IGNORECASE) is not None
    flash = a.model_type == "glm4_moe_lite" and (version < _GLM_FLASH_IS_MLA or on_xpu)
    if a.is_mla and not flash:
        per_layer = _latent(a, fp8, version, card, notes)
        if a.is_sparse_mla:
            extra = ((a.index_head_dim or 128) + _INDEXER_SCALE) * math.ceil(a.index_layers / pp)
    else:
        if flash:
            notes.append("before vLLM 0.14, and on XPU, GLM-4.7-Flash is not recognised as MLA: 17.8 times the KV")
        heads, head_dim = a.kv_heads, (a.nope + a.rope) if flash else a.head_dim
        if heads is None or head_dim is None:
            return None
        if tp > heads:
            notes.append(f"{heads} KV heads on {tp} ranks: each rank keeps a whole one")
        per_layer = int(2 * max(1, math.ceil(heads / tp)) * head_dim * bytes_each)
        dcp = 1 if tp <= heads else min(dcp, tp // heads)
    if a.is_mla and tp > 1 and dcp == 1:
        notes.append(f"MLA's latent is not divided by tensor parallel: {tp} ranks keep the same bytes")
    kinds = {kind: math.ceil(count / pp) for kind, count in a.layers.items() if kind != "mlp"}
    merged = {"full": kinds.get("full", 0) + kinds.get("chunked", 0)}  # local attention by chunks is kept whole
    merged |= {"sliding": kinds.get("sliding", 0), "state": kinds.get("linear", 0) + kinds.get("mamba", 0)}
    merged = {kind: count for kind, count in merged.items() if count}
    if not merged:
        return None
    slots, groups = _groups(merged)
    tokens = block_tokens or (64 if a.is_sparse_mla else 16)
    if "state" in merged:
        tokens = max(tokens, _aligned(a, tp, per_layer))
        notes.append(f"a block holds {tokens} tokens, so that its page is as large as a recurrent layer's state")
    return Cache(per_layer, slots, groups, tokens, extra, max(1, dcp), tuple(notes))


def _element(a: Architecture, kv_dtype: str | None) -> tuple[float, bool]:
    """(bytes of one number, is it FP8)."""
    said = (kv_dtype or "auto").lower()
    if said.startswith("nvfp4"):
        return _NVFP4, False
    if said.startswith("fp8") or said == "int8" or (said == "auto" and a.kv_quantised):
        return 1, True
    return (4 if a.dtype in ("float32", "float") and said == "auto" else 2), False


def _latent(a: Architecture, fp8: bool, version: tuple[int, ...], card: str, notes: list[str]) -> int:
    """Bytes of MLA's latent for one layer and token."""
    width = (a.kv_lora or 0) + a.rope
    if not fp8:
        if version[:2] == (0, 7):
            width = math.ceil(width / 128) * 128
            notes.append(f"vLLM 0.7 pads the latent to {width}")
        return width * 2
    if a.is_sparse_mla and not re.search(r"B200|B300|GB200|GB300", card, re.IGNORECASE):
        notes.append("FP8 of sparse MLA has its own layout, 656 B a token and layer; on B200 it is 576")
        return _FP8_SPARSE_PAGE
    return width


def _groups(kinds: dict[str, int]) -> tuple[int, tuple[Group, ...]]:
    """vLLM's grouping: groups of equal size, the smallest kind's, or the largest's when they are nearly equal."""
    if len(kinds) == 1:
        kind, count = next(iter(kinds.items()))
        return count, (Group("full" if kind == "sliding" else kind),)
    least, most = min(kinds.values()), max(kinds.values())
    size = most if most < least * 1.5 else least
    groups = [Group(kind) for kind, count in kinds.items() for _ in range(math.ceil(count / size))]
    return size, tuple(groups)


def _aligned(a: Architecture, tp: int, layer_token_bytes: int) -> int:
    """Tokens of a block whose page holds one recurrent layer's state (``Setting attention block size to N``)."""
    return math.ceil(_state_bytes(a, tp) / layer_token_bytes / _MAMBA_ALIGN) * _MAMBA_ALIGN


def _state_bytes(a: Architecture, tp: int) -> int:
    """Convolution and recurrent state of one layer on one rank."""
    s, wide = a.state, 4 if a.state_dtype == "float32" else 2
    if "mamba" in a.layers:
        inner = s.get("mamba_num_heads", 64) * s.get("mamba_head_dim", 64)
        channels = inner + 2 * s.get("n_groups", 8) * s.get("ssm_state_size", 128)
        convolution = channels // tp * (s.get("conv_kernel", 4) - 1) * 2
        return convolution + inner // tp * s.get("ssm_state_size", 128) * wide
    keys = s.get("linear_num_key_heads", 16) * s.get("linear_key_head_dim", 128)
    values = s.get("linear_num_value_heads", 32) * s.get("linear_value_head_dim", 128)
    convolution = (2 * keys + values) // tp * (s.get("linear_conv_kernel_dim", 4) - 1) * 2
    heads = s.get("linear_num_value_heads", 32) // tp
    return convolution + heads * s.get("linear_key_head_dim", 128) * s.get("linear_value_head_dim", 128) * wide
