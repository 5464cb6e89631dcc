"""vLLM's classes that get methods of ours, or are wrapped when that is asked for. Imported when they are needed."""

from __future__ import annotations

from typing import Any


def engine_core() -> Any:
    """``EngineCore``, which schedules and steps."""
    from vllm.v1.engine.core import EngineCore

    return EngineCore


def kv_cache_manager() -> Any:
    """``KVCacheManager``, which owns the block pool."""
    from vllm.v1.core.kv_cache_manager import KVCacheManager

    return KVCacheManager
