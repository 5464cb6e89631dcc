"""The body of ``/health``: the plugin's ``memory_stats``, or the article's bare keys."""

from __future__ import annotations

from typing import Any

import msgspec

from unfrag.errors import UsageError
from unfrag.facts.memory_stats import Pool
from unfrag.facts.values import Unknown
from unfrag.system.decode import decoded

NO_PLUGIN = (
    "/health answers without memory_stats: unfrag's plugin is not enabled in this server. Start it with "
    "`unfrag serve …` instead of `vllm serve …`, or add unfrag to VLLM_PLUGINS"
)


def parse(body: bytes, status: int = 200) -> Pool | Unknown:
    """The body of ``/health``; the article's bare ``{"gpu_cache_usage": …}`` is taken too."""
    if status == 503:
        return Unknown("/health says 503: the engine is dead")
    if status != 200:
        return Unknown(f"/health answers {status}")
    try:
        raw: Any = decoded(body, "it") if body.strip() else {}
        return _pool(raw) if isinstance(raw, dict) else Unknown("/health does not answer with a JSON object")
    except (UsageError, msgspec.ValidationError) as fault:
        return Unknown(f"/health is not as expected: {fault}")


def _pool(raw: dict[str, Any]) -> Pool | Unknown:
    stats = raw.get("memory_stats", raw if "free_blocks" in raw else None)
    if stats is None:
        return Unknown(f"no memory statistics yet: {raw['unknown']}" if raw.get("unknown") else NO_PLUGIN)
    pool = msgspec.convert(stats, Pool)
    if pool.largest_free_block > pool.free_blocks or pool.free_blocks > (pool.total_blocks or pool.free_blocks):
        return Unknown("/health contradicts itself: more blocks free than there are")
    return pool
