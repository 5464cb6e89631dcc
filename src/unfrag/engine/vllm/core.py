"""vLLM's engine core: its scheduler, its block pool, and how it ends.

Read in vLLM 0.30 to 0.33 (``v1/engine/core.py``, ``v1/core/sched/scheduler.py``, ``v1/core/block_pool.py``). All
functions take vLLM's live objects and raise ``AttributeError`` when the shape is not the one known.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ref_count = attrgetter("ref_cnt")
block_id = attrgetter("block_id")
block_hash = attrgetter("_block_hash")


def block_pool(engine_core: Any) -> Any:
    """vLLM's BlockPool (``v1/core/block_pool.py``)."""
    return engine_core.scheduler.kv_cache_manager.block_pool


def managers(scheduler: Any) -> list[Any]:
    """One per KV cache group; none where a model keeps no KV."""
    return list(scheduler.kv_cache_manager.coordinator.single_type_managers)


def kv_connector(engine_core: Any) -> str | None:
    """The class that moves KV blocks in or out of this engine (offloading, transfer), None where there is none."""
    connector = getattr(engine_core.scheduler, "connector", None)
    return None if connector is None else type(connector).__name__


def full_attention(scheduler: Any) -> list[Any]:
    """Managers whose tables are lists of blocks and nothing else."""
    from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager

    return [manager for manager in managers(scheduler) if type(manager) is FullAttentionManager]


def steps(engine_core: Any) -> int:
    """Calls of ``Scheduler.schedule`` since start: a heartbeat that also counts steps without tokens."""
    return int(engine_core.scheduler.current_step)


def is_idle(engine_core: Any) -> bool:
    """Has it nothing to do, or was it told to rest? Then it makes no step, and that is right."""
    scheduler = engine_core.scheduler
    batches = getattr(engine_core, "batch_queue", None)
    if batches:
        return False
    paused = getattr(scheduler, "pause_state", None)
    resting = paused is not None and getattr(paused, "name", "UNPAUSED") == "PAUSED_ALL"
    return bool(resting) or not scheduler.has_requests()


def block_tokens(engine_core: Any) -> int:
    """Tokens in one block, as the scheduler counts them."""
    return int(engine_core.scheduler.block_size)


def block_bytes(engine_core: Any) -> int:
    """Bytes of one block on one rank, all layers (``KVCacheConfig.kv_cache_tensors``)."""
    config = engine_core.scheduler.kv_cache_config
    return int(sum(tensor.size for tensor in config.kv_cache_tensors) // max(1, config.num_blocks))


def held_slots(engine_core: Any) -> Iterator[tuple[int, int]]:
    """For each running request: (token slots of its blocks, tokens computed into them), first KV group."""
    scheduler = engine_core.scheduler
    for manager in managers(scheduler)[:1]:
        for request in list(scheduler.running):
            blocks = manager.req_to_blocks.get(request.request_id, ())
            yield len(blocks) * manager.block_size, request.num_computed_tokens


def table_ids(some: Iterable[Any]) -> Iterator[int]:
    """Ids in all tables of these managers, the null block's among them; a block of two requests comes twice."""
    tables = (table for manager in some for table in manager.req_to_blocks.values())
    return map(block_id, chain.from_iterable(tables))


def world_size(engine_core: Any) -> int:
    """Ranks behind this engine core."""
    return int(engine_core.vllm_config.parallel_config.world_size)


def is_asleep(engine_core: Any) -> bool:
    """Sleep mode: memory of the workers is unmapped."""
    return bool(getattr(engine_core.model_executor, "is_sleeping", False))


def end_engine(engine_core: Any, why: BaseException) -> None:
    """The engine ends as vLLM ends one whose executor failed: no further step, clients told, processes gone.

    For what may never go on: workers and scheduler apart, or a worker that does not answer within vLLM's own limit.
    """

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"unfrag ends this engine: {why}") from why

    engine_core.step_fn = refuse
    told = getattr(engine_core.model_executor, "failure_callback", None)
    if told is not None:
        engine_core.model_executor.failure_callback = None
        told()
        return
    queue = getattr(engine_core, "input_queue", None)
    if queue is not None:  # an idle engine makes no step: it has to be told
        from vllm.v1.engine import EngineCoreRequestType

        queue.put_nowait((EngineCoreRequestType.EXECUTOR_FAILED, b""))
