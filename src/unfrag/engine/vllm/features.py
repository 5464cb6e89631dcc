"""What this vLLM has, feature by feature: a feature that misses a name switches itself off alone and says so once.

Nothing is decided by a version's number. A name is looked for where it is used; ``shape`` then asks whether the pool
keeps its state as it is known to. A feature that failed ten times is switched off for good.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
from collections import Counter

# A child of vLLM's logger, so that vLLM's own format and level apply.
logger = logging.getLogger("vllm.unfrag")

DISABLE_VARIABLE = "UNFRAG_DISABLE"
_MOST_FAILURES = 10

_POOL = "vllm.v1.core.block_pool:BlockPool"
_QUEUE = "vllm.v1.core.kv_cache_utils:FreeKVCacheBlockQueue"
_CORE = "vllm.v1.engine.core:EngineCore"
_CLIENT = (
    "vllm.v1.engine.async_llm:AsyncLLM.check_health",
    "vllm.v1.engine.core_client:AsyncMPClient._call_utility_async",
    "vllm.v1.engine.exceptions:EngineDeadError",
)
_RPC = ("vllm.v1.executor.abstract:Executor.collective_rpc",)

FEATURES: dict[str, tuple[str, ...]] = {
    "health": (
        f"{_POOL}.get_num_free_blocks",
        "vllm.v1.core.sched.scheduler:Scheduler.schedule",
        "vllm.v1.engine.core:EngineCoreProc._invoke_utility_method",
        *_CLIENT,
    ),
    "ranks": (*_RPC, *_CLIENT),
    "flush": (f"{_POOL}.evict_blocks", *_CLIENT),
    "drain": _CLIENT,
    "compaction": (
        f"{_POOL}.move_block_hashes",
        f"{_POOL}.evict_blocks",
        f"{_QUEUE}.iter_blocks_after",
        "vllm.v1.core.kv_cache_utils:KVCacheBlockCopy",
        "vllm.v1.core.single_type_kv_cache_manager:FullAttentionManager",
        "vllm.v1.worker.utils:copy_kv_cache_blocks_inplace",
        f"{_CORE}.step",
        f"{_CORE}.step_with_batch_queue",
        *_RPC,
    ),
    "pool": (
        f"{_QUEUE}.popleft_n",
        f"{_QUEUE}.prepend_n",
        f"{_QUEUE}.get_all_free_blocks",
        "vllm.v1.core.kv_cache_manager:KVCacheManager.allocate_slots",
        "vllm.v1.core.single_type_kv_cache_manager:SingleTypeKVCacheManager.allocate_new_blocks",
    ),
    "expert_cache": (
        f"{_CORE}._initialize_kv_caches",
        f"{_CORE}.preprocess_add_request",
        f"{_CORE}.reset_prefix_cache",
        f"{_CORE}.collective_rpc",
        "vllm.model_executor.layers.fused_moe.layer:MoERunner",
        "vllm.model_executor.layers.fused_moe.router.base_router:BaseRouter._compute_routing",
        "vllm.v1.core.kv_cache_utils:resolve_kv_cache_block_sizes",
        "vllm.v1.core.kv_cache_utils:get_request_block_hasher",
        "vllm.v1.core.kv_cache_utils:resolve_none_hash_seed",
        "vllm.utils.hashing:get_hash_fn_by_name",
    ),
    "expert_cache_file": ("vllm.v1.worker.gpu_worker:Worker.compute_weight_checksums",),
}
"""Feature -> ``module:Class.attribute`` of what it cannot do without."""

_SHAPED = ("compaction", "pool")

_off: dict[str, str] = {}
_failures: Counter[str] = Counter()


def disabled() -> bool:
    """``UNFRAG_DISABLE=1``: the plugin does nothing in this process."""
    return os.environ.get(DISABLE_VARIABLE, "") not in ("", "0")


def why_off(feature: str) -> str | None:
    """Why a feature is off in this process; None when it is on."""
    return _off.get(feature) or _lacks(feature)


def is_on(feature: str) -> bool:
    """Is it? When it is not, that is said once, for whoever reads the log."""
    why = why_off(feature)
    if why is not None:
        turn_off(feature, why)
    return why is None


def turn_off(feature: str, why: str) -> None:
    """For good, in this process; said once, and the server goes on."""
    if feature not in _off:
        _off[feature] = why
        logger.warning("unfrag: %s is off, the server runs without it: %s", feature.replace("_", " "), why)


def failed(feature: str, fault: object) -> None:
    """A fault of ours in it. The first is said, the tenth turns it off."""
    _failures[feature] += 1
    if _failures[feature] == 1:
        logger.warning("unfrag: %s failed, the server goes on: %s", feature.replace("_", " "), fault)
    if _failures[feature] >= _MOST_FAILURES:
        turn_off(feature, f"it failed {_MOST_FAILURES} times, the last time with {fault}")


def forget() -> None:
    """All that was switched off is looked at anew; for tests."""
    _off.clear()
    _failures.clear()
    _lacks.cache_clear()


@functools.cache
def _lacks(feature: str) -> str | None:
    missing = [name for name in FEATURES[feature] if not _is_there(name)]
    if missing:
        return f"vLLM {version()} has no {', '.join(missing)}"
    if feature in _SHAPED:
        from unfrag.engine.vllm import shape

        unlike = shape.unlike()
        if unlike is not None:
            return f"vLLM {version()} keeps its block pool in a way that is not known: {unlike}"
    return None


def _is_there(name: str) -> bool:
    module, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception:  # a module that cannot be imported here, for whatever reason, is not there
        return False
    return True


def version() -> str:
    """The running vLLM's."""
    try:
        from vllm.version import __version__
    except Exception:
        return "of an unknown version"
    return str(__version__)


if __name__ == "__main__":  # for `unfrag --version`
    print(json.dumps({feature: _lacks(feature) for feature in FEATURES}))  # noqa: T201
