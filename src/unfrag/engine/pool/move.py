"""The worker's half of a move: copy blocks, replace block tables. Sent to every rank between two steps.

Model Runner V1 (``v1/worker/gpu_model_runner.py``, the CPU's too): tables are rewritten in place, so rows keep their
order. Model Runner V2 (``v1/worker/gpu/model_runner.py``) and CUDA were read, not run: there full tables are staged
again, and the device is waited for first, since a step may be in flight that reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def move(worker: Any, copies: list[tuple[int, int]], tables: dict[str, tuple[list[int], ...]]) -> int:
    """Copy blocks ``(source, target)``, all reads before all writes, then replace the tables; how many were copied.

    Args:
        tables: request -> block ids in each KV group, whole.

    Raises:
        RuntimeError: this runner's tables are not as they are known; nothing was copied.
    """
    from vllm.v1.core.kv_cache_utils import KVCacheBlockCopy
    from vllm.v1.worker.utils import copy_kv_cache_blocks_inplace

    runner = worker.model_runner
    replace = _v1 if hasattr(runner, "input_batch") and hasattr(runner, "requests") else _v2
    if replace is _v2 and not (hasattr(runner, "block_tables") and hasattr(runner, "req_states")):
        raise RuntimeError(f"{type(runner).__name__} keeps its block tables in a way that unfrag does not know")
    if str(worker.device).startswith("cuda"):
        import torch

        torch.cuda.synchronize(worker.device)
    pairs = [KVCacheBlockCopy(*pair) for pair in copies]
    copy_kv_cache_blocks_inplace(runner.kv_caches, runner.kv_cache_config.num_blocks, pairs)
    replace(runner, tables)
    return len(pairs)


def _v1(runner: Any, tables: dict[str, tuple[list[int], ...]]) -> None:
    batch = runner.input_batch
    for request_id, table in tables.items():
        request = runner.requests.get(request_id)
        if request is not None:
            for held, ids in zip(request.block_ids, table, strict=True):
                held[:] = ids[: len(held)]
        row = batch.req_id_to_index.get(request_id)
        if row is not None:
            for group, ids in zip(batch.block_table.block_tables, table, strict=True):
                length = int(group.num_blocks_per_row[row])
                group.block_table.np[row, :length] = np.asarray(ids[:length], dtype=np.int32)


def _v2(runner: Any, tables: dict[str, tuple[list[int], ...]]) -> None:
    """Not run where it was written: needs a GPU."""
    rows = runner.req_states.req_id_to_index
    for request_id, table in tables.items():
        if request_id in rows:
            runner.block_tables.append_block_ids(rows[request_id], table, overwrite=True)
