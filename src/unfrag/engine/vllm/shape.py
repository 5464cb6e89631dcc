"""Does this vLLM's scheduler and block pool keep their state as it is known to be kept? Read in their syntax trees.

Compaction and the contiguous pool change that state. A name that is missing would be an error; a name that is *new* is
worse, since it may hold block ids that nobody would move along. So both are looked for: every attribute that these
classes set on themselves must be one of those that were read in vLLM 0.30 to 0.33, and the needed ones must be there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType


class Known(NamedTuple):
    """``needed``: read or written by unfrag. ``other``: may be there and holds no block's place."""

    where: str
    needed: tuple[str, ...]
    other: tuple[str, ...] = ()


_QUEUE = Known(
    "vllm.v1.core.kv_cache_utils:FreeKVCacheBlockQueue",
    ("fake_free_list_head", "fake_free_list_tail", "num_free_blocks"),
)
KNOWN = (
    _QUEUE,
    Known(
        "vllm.v1.core.kv_cache_utils:KVCacheBlock",
        ("block_id", "ref_cnt", "is_null", "prev_free_block", "next_free_block", "_block_hash"),
        ("pool", "_block_hash_num_tokens"),
    ),
    Known("vllm.v1.core.block_pool:BlockHashToBlockMap", ("_cache",)),
    Known(
        "vllm.v1.core.block_pool:BlockPool",
        (
            *("blocks", "free_block_queue", "cached_block_hash_to_block", "cached_block_hashes_by_block"),
            *("num_gpu_blocks", "metrics_collector", "null_block", "_reuse_watchers"),
        ),
        (
            *("enable_caching", "enable_kv_cache_events", "hash_block_size", "kv_event_queue", "medium"),
            "num_hash_lookahead_tokens",
        ),
    ),
    Known(
        "vllm.v1.core.single_type_kv_cache_manager:SingleTypeKVCacheManager",
        ("req_to_blocks", "block_pool", "block_size"),
        (
            *("_max_admission_blocks_per_request", "max_admission_blocks_per_request", "_null_block", "use_eagle"),
            "retains_longer_hit",
            *("_partial_hit_reqs", "_pending_boundary_state_offloads", "_pending_cow_copies", "_record_new_block_ids"),
            *("cache_hit_alignment_tokens", "dcp_world_size", "pcp_world_size", "enable_caching", "kv_cache_group_id"),
            *("fine_grained_prefix_cache", "kv_cache_spec", "new_block_ids", "num_cached_block"),
            *("scheduler_block_size", "shared_prefix_checkpoint"),
        ),
    ),
    Known("vllm.v1.core.single_type_kv_cache_manager:FullAttentionManager", ()),
    Known(
        "vllm.v1.core.kv_cache_manager:KVCacheManager",
        ("block_pool", "coordinator"),
        (
            *("empty_kv_cache_blocks", "enable_caching", "enable_kv_cache_events", "kv_cache_config", "log_stats"),
            *("kv_cache_event_metadata", "mamba_fine_grained_prefix_cache", "mamba_shared_prefix_checkpoint"),
            *("max_model_len", "metrics_collector", "num_kv_cache_groups", "prefix_cache_stats", "use_eagle"),
            *("retained_hit_group_ids", "watermark_blocks"),
        ),
    ),
)
# The scheduler sets many names that have nothing to do with blocks; one that speaks of blocks must be known.
_SCHEDULER = "vllm.v1.core.sched.scheduler:Scheduler"
_SCHEDULER_NEEDED = ("running", "requests", "kv_cache_manager", "kv_cache_config", "connector", "current_step")
SCHEDULER_BLOCKS = (
    "_re_block_ids",
    "_skip_zero_block_ids",
    "_spec_decode_step_blocks",
    "block_size",
    "defer_block_free",
    "hash_block_size",
    "mamba_has_prefill_checkpoint_blocks",
    "need_mamba_block_aligned_split",
    "use_eagle_block_drop",
)


def unlike() -> str | None:
    """The first difference, in words; None when there is none."""
    try:
        for known in KNOWN:
            found = names(known.where)
            if missing := set(known.needed) - found:
                return f"{known.where} has no {', '.join(sorted(missing))}"
            if new := found - {*known.needed, *known.other}:
                return f"{known.where} also keeps {', '.join(sorted(new))}"
        found = names(_SCHEDULER)
        if missing := set(_SCHEDULER_NEEDED) - found:
            return f"{_SCHEDULER} has no {', '.join(sorted(missing))}"
        if new := {name for name in found if "block" in name} - set(SCHEDULER_BLOCKS):
            return f"{_SCHEDULER} also keeps {', '.join(sorted(new))}"
    except Exception as fault:
        return f"its source cannot be read: {type(fault).__name__}: {fault}"
    return None


def names(where: str) -> set[str]:
    """Attributes that a class sets on its own objects, fields of a dataclass among them.

    Raises:
        Exception: there is no such class, or no source of it.
    """
    module_name, _, class_name = where.partition(":")
    module: ModuleType = importlib.import_module(module_name)
    tree = ast.parse(inspect.getsource(module))
    (node,) = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == class_name]
    fields = {
        one.target.id
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and "ClassVar" not in ast.dump(one)
    }
    return fields | {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and isinstance(one.value, ast.Name)
        and one.value.id == "self"
    }
