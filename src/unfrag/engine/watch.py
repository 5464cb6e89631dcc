"""The API server's view of its engines: each one's last account of itself, kept while it is busy or stuck."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from unfrag.engine.engines import Engine
from unfrag.engine.experts.load import summary
from unfrag.engine.pool.map import add_stretch
from unfrag.engine.vllm import client, features
from unfrag.engine.vllm.remote import limit_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable

logger = logging.getLogger("vllm.unfrag")

_COMPACT_SECONDS = 30.0


class EngineDead(Exception):
    """The engine core process is gone."""


class EngineWatch:
    """All engines of this API server."""

    def __init__(self, engine_client: Any) -> None:
        self._client = engine_client
        self._engines = [Engine(engine_client, identity) for identity in client.engines(engine_client)]
        self._flushing = asyncio.Lock()
        self._experts: list[dict[str, Any] | None] = []
        self._asking_experts: asyncio.Task[None] | None = None

    @property
    def unknown(self) -> str | None:
        """Why there are no statistics."""
        return features.why_off("health") or next((engine.unknown for engine in self._engines if engine.unknown), None)

    async def start(self, wait_seconds: float) -> None:
        """Listen to every engine; a first reading is there when the engines are idle and answer within the time."""
        for engine in self._engines:
            engine.listen()
        first = [asyncio.create_task(engine.fresh()) for engine in self._engines]
        first += [task for engine in self._engines if (task := engine.rank_memory.start()) is not None]  # type: ignore[misc]
        await asyncio.wait(first, timeout=wait_seconds)

    async def alive(self) -> bool:
        """False once an engine core has died."""
        return await client.is_alive(self._client)

    async def refresh(self, wait_seconds: float, fresh: bool) -> None:
        """See that memory of ranks is read now and then; with ``fresh`` also ask for readings, and wait for them."""
        for engine in self._engines:
            engine.rank_memory.start()
        if not fresh:
            return
        asked = [task for engine in self._engines if (task := engine.fresh_reading.start()) is not None]
        if asked:
            await asyncio.wait(asked, timeout=wait_seconds)

    def memory_stats(self) -> dict[str, Any] | None:
        """The last readings, with their age now; None before the first. Several engines: see :func:`combine`."""
        each = [stats for engine in self._engines if (stats := engine.stats()) is not None]
        if not each:
            return None
        return each[0] if len(self._engines) == 1 else combine(each)

    async def standstill(self, limit: float | None) -> str | None:
        """Why this server should be restarted; None while its engines step, rest, or take no longer than ``limit``.

        Args:
            limit: seconds; vLLM's own for a step when None, so that a compilation in progress is none.
        """
        if not await self.alive():
            return "the engine is dead"
        limit = limit_seconds() if limit is None else limit
        for engine in self._engines:
            engine.ping.start()
            if (age := engine.age_seconds()) > limit:
                return f"the engine has made no step and taken no call for {age:.0f} s"
            if (age := engine.ping.waiting_seconds()) > limit:
                return f"a rank has not answered for {age:.0f} s"
        return None

    def closed_seconds(self) -> float:
        """For how long no request is admitted, by word of any engine."""
        return max((engine.closed_seconds() for engine in self._engines), default=0.0)

    async def close_for(self, seconds: float) -> None:
        """No API server of these engines lets a request in for so long.

        Raises:
            EngineDead: meanwhile.
        """
        for engine in self._engines:
            await self._call(engine, "unfrag_close", seconds)
            await self._while_alive(engine.fresh())

    async def flush(self, cached: bool, allocator: bool | None, compact: bool) -> dict[str, Any]:
        """Flush every engine, one flush at a time; before, after and seconds, and what compaction did.

        Args:
            allocator: give allocator memory back; None: where that is known to be safe.

        Raises:
            EngineDead: before or during the flush.
        """
        async with self._flushing:
            results = [await self._flush_one(engine, cached, allocator, compact) for engine in self._engines]
        if len(results) == 1:
            return results[0]
        return {
            "before": combine([r["before"] for r in results]),
            "after": combine([r["after"] for r in results]),
            "seconds": sum(r["seconds"] for r in results),
            "compaction": [r["compaction"] for r in results],
            "released": [rank for r in results for rank in r["released"] or ()] or None,
        }

    async def inspect(self) -> list[dict[str, Any]]:
        """The block map of each engine, and what does not hold together.

        Raises:
            EngineDead: meanwhile.
        """
        return [await self._inspect_one(engine) for engine in self._engines]

    async def _inspect_one(self, engine: Engine) -> dict[str, Any]:
        found: dict[str, Any] = {"blocks": [], "requests": [], "violations": []}
        place: int | None = 0
        while place is not None:
            part = await self._call(engine, "unfrag_map", place)
            for state, number in part["blocks"]:
                add_stretch(found["blocks"], state, number)
            found["requests"], place = part["requests"], part["next"]
        place = 0
        while place is not None:
            violations, place = await self._call(engine, "unfrag_check", place)
            found["violations"] += violations
        return found

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

    async def _flush_one(self, engine: Engine, cached: bool, allocator: bool | None, compact: bool) -> dict[str, Any]:
        started = time.monotonic()
        before = await self._while_alive(engine.fresh())
        place: int | None = 0 if cached else None
        while place is not None:
            place = await self._call(engine, "unfrag_evict", place)
        released = None
        if allocator is not False:
            engine.ranks = await self._call(engine, "unfrag_release", bool(allocator))
            released = [{"rank": rank["rank"], "released": rank.pop("released", None)} for rank in engine.ranks]
        compaction, whole = await self._compact(engine) if compact else (None, None)
        fresh = await self._while_alive(engine.fresh())
        after = fresh if whole is None else {**fresh, **whole}
        return {
            "before": before,
            "after": after,
            "seconds": time.monotonic() - started,
            "compaction": compaction,
            "released": released,
        }

    async def _compact(self, engine: Engine) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Pass after pass, the engine's own steps in between, until no move is left: what was done, the pool then."""
        total = {"live": 0, "cached": 0, "evicted": 0}
        started = time.monotonic()
        while True:
            done = await self._call(engine, "unfrag_compact")
            for key in total:
                total[key] += done[key]
            if done["finished"] or time.monotonic() - started > _COMPACT_SECONDS:
                return {**total, "remaining": done["remaining"], "why": done["why"]}, done["after"]

    async def _call(self, engine: Engine, method: str, *args: Any) -> Any:
        """A method of one engine core, as long as that lives.

        Raises:
            EngineDead: before or meanwhile; vLLM never answers a call to an engine that died.
        """
        return await self._while_alive(engine.call(method, *args))

    async def _while_alive(self, question: Awaitable[Any]) -> Any:
        call = asyncio.ensure_future(question)
        while not (await asyncio.wait([call], timeout=0.5))[0]:
            if not await self.alive():
                call.cancel()
                raise EngineDead
        try:
            return call.result()
        except Exception:
            if not await self.alive():
                raise EngineDead from None
            raise


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
        "kv_connector": each[0]["kv_connector"],
        "pool": each[0]["pool"],
        "engines": [{"engine": i, **stats} for i, stats in enumerate(each)],
    }
