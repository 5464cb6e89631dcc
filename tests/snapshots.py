"""Snapshots to judge: everything unknown but what a test says."""

from __future__ import annotations

import msgspec

from unfrag.facts.memory_stats import Pool
from unfrag.facts.snapshot import Snapshot
from unfrag.facts.values import Unknown

_UNKNOWN = Unknown("not part of this test")


def a_snapshot(**facts) -> Snapshot:
    names = [name for name in Snapshot.__struct_fields__ if name not in ("target", "silent")]
    return Snapshot(target="test", **{**dict.fromkeys(names, _UNKNOWN), **facts})


def a_pool(**changes) -> Pool:
    """1,000 blocks of 32 tokens and 1 MiB: 400 pinned, 600 free of which 200 are cached, in one run."""
    pool = Pool(
        gpu_cache_usage=0.4,
        free_blocks=600,
        largest_free_block=600,
        block_size_bytes=2**20,
        block_size_tokens=32,
        total_blocks=1000,
        pinned_blocks=400,
        cached_blocks=200,
        fragmentation_ratio=0.0,
        free_runs=1,
        tail_waste_tokens=0,
        steps=1,
        age_seconds=0.0,
    )
    return msgspec.structs.replace(pool, **changes)
