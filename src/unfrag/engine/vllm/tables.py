"""The worker's half of a move: copy blocks, replace block tables. Sent to every rank between two steps.

Model Runner V1 (``v1/worker/gpu_model_runner.py``, the CPU's too): tables are rewritten in place, so rows keep their
order. Model Runner V2 (``v1/worker/gpu/model_runner.py``): whole tables are staged and applied at once. On CUDA, which
was read and not run, the device is waited for before, since a step may be in flight that reads them, and after, since
staged writes share pinned buffers with those of the steps to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unfrag.engine.pool.compaction import Tables


def move(worker: Any, copies: list[tuple[int, int]], tables: Tables) -> str | None:
    """Copy blocks ``(source, target)``, all reads before all writes, then replace the tables; None, or what went wrong.

    It never raises: a rank that does leaves the answers of the others in vLLM's queues. What can be wrong is looked at
    first, so that an answer other than None means: tables as they were, or as they are sent next.
    """
    try:
        runner = worker.model_runner
        replace = _known(worker, runner, max(map(len, tables.values()), default=0))
        _wait_for_the_device(worker)
        if copies:
            from vllm.v1.core.kv_cache_utils import KVCacheBlockCopy
            from vllm.v1.worker.utils import copy_kv_cache_blocks_inplace

            pairs = [KVCacheBlockCopy(*pair) for pair in copies]
            copy_kv_cache_blocks_inplace(runner.kv_caches, runner.kv_cache_config.num_blocks, pairs)
        replace(runner, tables)
        _wait_for_the_device(worker)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return None


def refusal(worker: Any, groups: int) -> str | None:
    """Why this rank's tables of ``groups`` KV groups cannot be replaced; None when they can. Changes nothing."""
    try:
        _known(worker, worker.model_runner, groups)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return None


def _wait_for_the_device(worker: Any) -> None:
    """So that no step that was issued before still runs, and no staged write is still to be read.

    Model Runner V2 stages its writes in as many pinned buffers as steps can be in flight
    (``v1/worker/gpu/buffer_utils.py``); a move is one write more than it counts on.
    """
    if str(worker.device).startswith("cuda"):
        import torch

        torch.cuda.synchronize(worker.device)


def _known(worker: Any, runner: Any, groups: int) -> Any:
    """How this runner's tables are replaced.

    Raises:
        RuntimeError: in no way that is known.
    """
    if not str(worker.device).startswith(("cpu", "cuda")):
        raise RuntimeError(f"moving blocks on {worker.device} was not looked at")
    if hasattr(runner, "input_batch") and hasattr(runner, "requests"):
        rows = runner.input_batch.block_table.block_tables
        if len(rows) < groups:
            raise RuntimeError("the worker knows fewer KV groups than the scheduler")
        if any(getattr(one, "blocks_per_kv_block", 1) != 1 for one in rows):
            raise RuntimeError("its tables hold the kernel's smaller blocks instead of the scheduler's")
        return _v1
    if hasattr(runner, "block_tables") and hasattr(runner, "req_states") and groups <= 1:
        return _v2
    raise RuntimeError(f"{type(runner).__name__} keeps its block tables in a way that unfrag does not know")


def _v1(runner: Any, tables: Tables) -> None:
    batch = runner.input_batch
    for request_id, table in tables.items():
        request = runner.requests.get(request_id)
        row = batch.req_id_to_index.get(request_id)
        for group, ids in enumerate(table):
            if ids is None:
                continue
            if request is not None:
                held = request.block_ids[group]
                held[:] = ids[: len(held)].tolist()
            if row is not None:
                rows = batch.block_table.block_tables[group]
                length = int(rows.num_blocks_per_row[row])
                rows.block_table.np[row, :length] = ids[:length]


def _v2(runner: Any, tables: Tables) -> None:
    """Staged writes of a row have no order, so they are applied at once."""
    rows = runner.req_states.req_id_to_index
    for request_id, table in tables.items():
        if request_id in rows:
            ids = tuple([] if group is None else group.tolist() for group in table)
            runner.block_tables.append_block_ids(rows[request_id], ids, overwrite=True)
    runner.block_tables.apply_staged_writes()
