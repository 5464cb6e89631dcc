"""Every name of vLLM's inside that the plugin relies on, read from vLLM 0.32.0.

When one of these moves, ``tests/engine/test_interface.py`` fails here and nowhere else. All functions take
vLLM's live objects and raise ``AttributeError`` when the shape is not the one known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPPORTED = ("0.32",)


def unsupported_version() -> str | None:
    """The running vLLM's version when it is not one that these names were read from, else None."""
    from vllm.version import __version__

    known = any(__version__ == v or __version__.startswith(v + ".") for v in SUPPORTED)
    return None if known else str(__version__)


# In the engine core: v1/engine/core.py, v1/core/sched/scheduler.py, v1/core/block_pool.py


def block_pool(engine_core: Any) -> Any:
    """vLLM's BlockPool (``v1/core/block_pool.py``)."""
    return engine_core.scheduler.kv_cache_manager.block_pool


def steps(engine_core: Any) -> int:
    """Calls of ``Scheduler.schedule`` since start: a heartbeat that also counts steps without tokens."""
    return int(engine_core.scheduler.current_step)


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
    managers = scheduler.kv_cache_manager.coordinator.single_type_managers
    if not managers:  # an encoder keeps no KV
        return
    manager = managers[0]
    for request in scheduler.running:
        blocks = manager.req_to_blocks.get(request.request_id, ())
        yield len(blocks) * manager.block_size, request.num_computed_tokens


def on_every_rank(engine_core: Any, function: Any) -> list[Any]:
    """Call ``function(worker)`` on each worker; blocks until all have answered, between two steps."""
    return list(engine_core.model_executor.collective_rpc(function))


# In a worker: v1/worker/gpu_worker.py, v1/worker/cpu_worker.py


def weights_bytes(worker: Any) -> int:
    """Bytes of the model's parameters on this rank, as they lie in memory (repacked ones included)."""
    return int(sum(p.numel() * p.element_size() for p in worker.model_runner.model.parameters()))


# In the API server: v1/engine/async_llm.py, v1/engine/core_client.py


def engines(engine_client: Any) -> list[Any]:
    """Identities of the engines behind this API server: one, or one per data-parallel rank."""
    return list(engine_client.engine_core.core_engines)


async def call_engine(engine_client: Any, engine: Any, method: str, *args: Any) -> Any:
    """Call ``EngineCore.<method>(*args)`` between two steps of that engine. Waits as long as its step takes."""
    return await engine_client.engine_core._call_utility_async(method, *args, engine=engine)
