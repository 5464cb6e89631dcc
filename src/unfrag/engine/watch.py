"""The API server's view of its engines: the last snapshot of each, kept while an engine is busy or stuck."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from unfrag.engine import interface
from unfrag.engine.experts.load import summary

logger = logging.getLogger("vllm.unfrag")

_COMPACT_SECONDS = 30.0


class EngineDead(Exception):
    """The engine core process is gone."""


class EngineWatch:
    """Asks each engine for its statistics, one question in flight per engine, and remembers the answers.

    An engine answers between two steps. While it is stuck in one, the last answer stands and its age grows.
    """

    def __init__(self, engine_client: Any) -> None:
        self._client = engine_client
        self._engines = interface.engines(engine_client)
        self._last: list[tuple[float, dict[str, Any]] | None] = [None] * len(self._engines)
        self._asking: list[asyncio.Task[None] | None] = [None] * len(self._engines)
        self._flushing = asyncio.Lock()
        self._experts: list[dict[str, Any] | None] = []
        self._asking_experts: asyncio.Task[None] | None = None
        self.unknown: str | None = None

    async def alive(self) -> bool:
        """False once the engine core has died (vLLM's ``EngineDeadError``)."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._client.check_health()
        except EngineDeadError:
            return False
        return True

    async def refresh(self, wait_seconds: float, good_for: float = 0.0) -> None:
        """Ask each engine whose last answer is older than ``good_for`` seconds, and give it ``wait_seconds``.

        One that is being asked already is not asked again, only waited for.
        """
        now = time.monotonic()
        for i, task in enumerate(self._asking):
            last = self._last[i]
            due = last is None or now - last[0] >= good_for
            if due and (task is None or task.done()):
                self._asking[i] = asyncio.create_task(self._ask(i))
        asked = [task for task in self._asking if task is not None and not task.done()]
        if asked:
            await asyncio.wait(asked, timeout=wait_seconds)

    async def _ask(self, i: int) -> None:
        try:
            stats = await interface.call_engine(self._client, self._engines[i], "unfrag_memory_stats")
        except Exception as fault:
            if self.unknown is None:
                logger.warning("unfrag cannot read the engine's memory: %s", fault)
            self.unknown = str(fault)
            return
        self.unknown = None
        self._last[i] = (time.monotonic(), stats)

    def memory_stats(self) -> dict[str, Any] | None:
        """The last snapshot, with its age now; None before the first. Several engines: see :func:`combine`."""
        now = time.monotonic()
        each = [{**stats, "age_seconds": stats["age_seconds"] + now - got} for got, stats in filter(None, self._last)]
        if not each:
            return None
        return each[0] if len(self._engines) == 1 else combine(each)

    async def flush(self, cached: bool, allocator: bool, compact: bool) -> dict[str, Any]:
        """Flush every engine, one flush at a time; before, after and seconds, and what compaction did.

        Raises:
            EngineDead: before or during the flush.
        """
        async with self._flushing:
            results = [await self._flush_one(engine, cached, allocator, compact) for engine in self._engines]
            self._last = [(time.monotonic(), result["after"]) for result in results]
        if len(results) == 1:
            return results[0]
        return {
            "before": combine([r["before"] for r in results]),
            "after": combine([r["after"] for r in results]),
            "seconds": sum(r["seconds"] for r in results),
            "compaction": [r["compaction"] for r in results],
        }

    async def inspect(self) -> list[dict[str, Any]]:
        """The block map of each engine, and what does not hold together.

        Raises:
            EngineDead: meanwhile.
        """
        return [await self._call(engine, "unfrag_inspect") for engine in self._engines]

    async def experts(self) -> list[dict[str, Any] | None]:
        """The expert-route cache of each engine: counts, and how evenly its experts are used; None without one.

        Raises:
            EngineDead: meanwhile.
        """
        counts = [await self._call(engine, "unfrag_experts") for engine in self._engines]
        return [each and {**each, **summary(each)} for each in counts]

    async def recent_experts(self, wait_seconds: float) -> list[dict[str, Any] | None]:
        """As :meth:`experts`, but after ``wait_seconds`` what it last was."""
        if self._asking_experts is None or self._asking_experts.done():
            self._asking_experts = asyncio.create_task(self._refresh_experts())
        await asyncio.wait([self._asking_experts], timeout=wait_seconds)
        return self._experts

    async def _refresh_experts(self) -> None:
        try:
            self._experts = await self.experts()
        except Exception as fault:
            logger.warning("unfrag cannot read the expert-route cache: %r", fault)

    async def expert_share(self, answer: str) -> tuple[int, int] | None:
        """See ``RouteIndex.share``; the expert-route cache runs with one engine alone.

        Raises:
            EngineDead: meanwhile.
        """
        share = await self._call(self._engines[0], "unfrag_expert_share", answer)
        return None if share is None else (share[0], share[1])

    async def _flush_one(self, engine: Any, cached: bool, allocator: bool, compact: bool) -> dict[str, Any]:
        started = time.monotonic()
        result: dict[str, Any] = await self._call(engine, "unfrag_flush", cached, allocator)
        result["compaction"] = None
        if compact:
            result["compaction"], result["after"] = await self._compact(engine)
        result["seconds"] = time.monotonic() - started
        return result

    async def _compact(self, engine: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Pass after pass, the engine's own steps in between, until no move is left."""
        total = {"live": 0, "cached": 0, "evicted": 0}
        started = time.monotonic()
        while True:
            done = await self._call(engine, "unfrag_compact")
            for key in total:
                total[key] += done[key]
            if done["finished"] or time.monotonic() - started > _COMPACT_SECONDS:
                after = done["after"] or await self._call(engine, "unfrag_memory_stats")
                return {**total, "remaining": done["remaining"], "why": done["why"]}, after

    async def _call(self, engine: Any, method: str, *args: Any) -> Any:
        """A method of one engine core, as long as that lives.

        Raises:
            EngineDead: before or meanwhile; vLLM never answers a call to an engine that died.
        """
        if not await self.alive():
            raise EngineDead
        call = asyncio.create_task(interface.call_engine(self._client, engine, method, *args))
        while not (await asyncio.wait([call], timeout=0.5))[0]:
            if not await self.alive():
                call.cancel()
                raise EngineDead
        return call.result()


def combine(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Data-parallel engines as one: counts add up, and what alarms go by is that of the worst engine.

    ``steps`` is the slowest engine's, ``age_seconds`` the oldest, ``largest_free_block`` the smallest,
    ``fragmentation_ratio`` the highest. ``engines`` holds each engine's own snapshot.
    """
    add = ("free_blocks", "total_blocks", "pinned_blocks", "cached_blocks", "free_runs", "tail_waste_tokens")
    totals = {key: sum(stats[key] for stats in each) for key in add}
    return {
        "gpu_cache_usage": totals["pinned_blocks"] / totals["total_blocks"] if totals["total_blocks"] else 0.0,
        "free_blocks": totals["free_blocks"],
        "largest_free_block": min(stats["largest_free_block"] for stats in each),
        "block_size_bytes": each[0]["block_size_bytes"],
        "block_size_tokens": each[0]["block_size_tokens"],
        **totals,
        "fragmentation_ratio": max(stats["fragmentation_ratio"] for stats in each),
        "steps": min(stats["steps"] for stats in each),
        "age_seconds": max(stats["age_seconds"] for stats in each),
        "ranks": [rank for stats in each for rank in stats["ranks"]],
        "pool": each[0]["pool"],
        "engines": [{"engine": i, **stats} for i, stats in enumerate(each)],
    }
