"""Puts the contiguous queue into a live engine, at one point and before its first request; stock on any doubt."""

from __future__ import annotations

import functools
import logging
from typing import Any

from unfrag.engine.pool.queue import GROWTH, ContiguousQueue
from unfrag.engine.vllm.pools import is_stock

logger = logging.getLogger("vllm.unfrag")


def install(kv_cache_manager: Any) -> str | None:
    """Replace the free queue of an unused pool and tell it who asks; why not, when it was left alone."""
    pool = kv_cache_manager.block_pool
    managers = kv_cache_manager.coordinator.single_type_managers
    if not managers:
        return "this model keeps no KV"
    if not is_stock(pool):
        return f"the pool is a {type(pool).__name__} with a {type(pool.free_block_queue).__name__}"
    if pool.get_num_free_blocks() != pool.num_gpu_blocks - 1:
        return "the pool is in use already"
    if any(manager.block_pool is not pool for manager in managers):
        return "a KV group has a pool of its own"
    queue = ContiguousQueue(pool.free_block_queue, pool.blocks)
    pool.free_block_queue = queue
    asker = _Asker(queue)
    kv_cache_manager.allocate_slots = functools.partial(asker.allocate_slots, kv_cache_manager.allocate_slots)
    for manager in managers:
        manager.allocate_new_blocks = functools.partial(asker.allocate_new_blocks, manager, manager.allocate_new_blocks)
    return None


class _Asker:
    """Knows which request an allocation is for, which vLLM's pool is not told."""

    def __init__(self, queue: ContiguousQueue) -> None:
        self._queue = queue
        self._request: Any = None

    def allocate_slots(self, stock: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        self._request = request
        try:
            return stock(request, *args, **kwargs)
        finally:
            self._request = None
            self._queue.ask_for(None, 0)

    def allocate_new_blocks(self, manager: Any, stock: Any, request_id: str, num_tokens: int, *args: Any) -> Any:
        """Before vLLM's own: the request's last block in this group, and what it is likely to need later."""
        request = self._request
        if request is not None:
            held = manager.req_to_blocks.get(request_id)
            size = manager.block_size
            now = -(-num_tokens // size)
            prompt = max(0, -(-request.num_tokens // size) - now)
            to_come = -(-(request.num_prompt_tokens + (request.max_tokens or 0)) // size) - now
            self._queue.ask_for(held[-1].block_id if held else None, max(0, min(prompt + GROWTH, to_come)))
        return stock(request_id, num_tokens, *args)


def around_kv_cache_manager(manager_class: Any) -> None:
    """Make every manager of this process install the queue once it is built. A fault leaves the stock pool.

    vLLM loads plugins from within ``EngineCore.__init__``, so it is the manager, built later in there, that is wrapped.
    """
    built = manager_class.__init__
    if getattr(built, "unfrag_pool", False):  # vLLM calls general plugins more than once
        return

    @functools.wraps(built)
    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        built(self, *args, **kwargs)
        try:
            why = install(self)
        except Exception:
            logger.exception("unfrag could not change the KV pool: the stock pool is used")
            return
        if why is None:
            logger.info("unfrag: the KV pool keeps each request's blocks adjacent (--pool contiguous)")
        else:
            logger.warning("unfrag leaves the stock KV pool in place: %s", why)

    build.unfrag_pool = True  # type: ignore[attr-defined]
    manager_class.__init__ = build
