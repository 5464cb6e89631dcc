"""vLLM's free queue as a base, and whether a pool is an untouched stock one."""

from __future__ import annotations

from typing import Any

try:
    from vllm.v1.core.kv_cache_utils import FreeKVCacheBlockQueue

    StockQueue: Any = FreeKVCacheBlockQueue
except ImportError:  # a vLLM that has none: the pool stays as it is, by ``features``

    class StockQueue:  # type: ignore[no-redef]
        """Stands in the place of a class that this vLLM does not have; never made."""


def is_stock(pool: Any) -> bool:
    """No subclass of either, so that every method is known."""
    from vllm.v1.core.block_pool import BlockPool

    return type(pool) is BlockPool and type(pool.free_block_queue) is StockQueue
