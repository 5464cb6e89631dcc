"""The blocks by id, a slice at a time, for whoever wants to look at them."""

from __future__ import annotations

from typing import Any

from unfrag.engine.free import count_runs
from unfrag.engine.vllm import core


def map_slice(scheduler: Any, start: int, number: int) -> dict[str, Any]:
    """Blocks ``start`` to ``start + number`` as ``[state, how many in a row]`` (null, pinned, cached, empty).

    ``next`` is where to go on; the last slice has None there, and the running requests' tables in ``requests``.
    """
    blocks = scheduler.kv_cache_manager.block_pool.blocks
    end = start + number
    stretches: list[list[Any]] = []
    for block in blocks[start:end]:
        state = "pinned" if block.ref_cnt else "empty" if block.block_hash is None else "cached"
        add_stretch(stretches, "null" if block.is_null else state, 1)
    if end < len(blocks):
        return {"blocks": stretches, "requests": [], "next": end}
    requests = []
    for request in scheduler.running:
        for group in core.managers(scheduler):
            ids = [b.block_id for b in group.req_to_blocks.get(request.request_id, ()) if not b.is_null]
            requests.append({"blocks": len(ids), "runs": count_runs(ids)})
    return {"blocks": stretches, "requests": requests, "next": None}


def add_stretch(stretches: list[list[Any]], state: str, number: int) -> None:
    """Lengthen the last stretch, or begin one."""
    if stretches and stretches[-1][0] == state:
        stretches[-1][1] += number
    else:
        stretches.append([state, number])
