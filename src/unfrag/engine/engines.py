"""One engine core as an API server sees it: its last account of itself, and questions to it in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from unfrag.engine.vllm import client, features

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("vllm.unfrag")

_RANKS_EVERY_SECONDS = 5.0
_PING_EVERY_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0
_INTERNAL = ("idle", "closed_seconds")


class OneAtATime:
    """A question that is asked in the background, never twice at once, and no more often than every few seconds."""

    def __init__(self, ask: Callable[[], Awaitable[None]], every_seconds: float) -> None:
        self._ask, self._every = ask, every_seconds
        self._task: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")

    def start(self) -> asyncio.Task[None] | None:
        """Ask when it is time to; the question that is in flight, if there is one."""
        if (self._task is None or self._task.done()) and time.monotonic() - self._asked_at >= self._every:
            self._asked_at = time.monotonic()
            self._task = asyncio.create_task(self._run())
        return None if self._task is None or self._task.done() else self._task

    def waiting_seconds(self) -> float:
        """For how long it has been without an answer; 0 when it has one."""
        return 0.0 if self._task is None or self._task.done() else time.monotonic() - self._asked_at

    async def _run(self) -> None:
        try:
            await self._ask()
        except Exception as fault:
            logger.debug("unfrag: a question to the engine failed: %r", fault)


class Engine:
    """One engine core behind this API server."""

    def __init__(self, engine_client: Any, identity: Any) -> None:
        self._client, self._identity = engine_client, identity
        self._reading: dict[str, Any] | None = None
        self._got_at = 0.0
        self._listening: asyncio.Task[None] | None = None
        self.ranks: list[dict[str, Any]] = []
        self.rank_memory = OneAtATime(self._read_ranks, _RANKS_EVERY_SECONDS)
        self.ping = OneAtATime(self._ping, _PING_EVERY_SECONDS)
        self.fresh_reading = OneAtATime(self._read_fresh, 0.0)
        self.unknown: str | None = None

    def listen(self) -> None:
        """Keep one question waiting at the engine; it is answered with each new reading."""
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        seen, pause = 0, 0.0
        while features.is_on("health"):
            try:
                seen, reading = await self.call("unfrag_next", seen, False)
            except Exception as fault:
                self.unknown = str(fault)
                if not await client.is_alive(self._client):
                    return
                features.failed("health", fault)
                pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause or 0.5)
                await asyncio.sleep(pause)
                continue
            pause, self.unknown = 0.0, None
            self._keep(reading)

    def _keep(self, reading: dict[str, Any]) -> None:
        self._reading, self._got_at = reading, time.monotonic()

    async def fresh(self) -> dict[str, Any]:
        """A reading that was begun after this call."""
        _, reading = await self.call("unfrag_next", 0, True)
        self._keep(reading)
        return self.stats() or {}

    async def _read_fresh(self) -> None:
        await self.fresh()

    async def _read_ranks(self) -> None:
        if features.is_on("ranks"):
            self.ranks = await self.call("unfrag_ranks")

    async def _ping(self) -> None:
        await self.call("unfrag_ping")

    async def call(self, method: str, *args: Any) -> Any:
        """A method of the engine core; for ever without an answer when it dies meanwhile."""
        return await client.call_engine(self._client, self._identity, method, *args)

    def stats(self) -> dict[str, Any] | None:
        """``memory_stats`` of now; None before the first reading."""
        if self._reading is None:
            return None
        known = {key: value for key, value in self._reading.items() if key not in _INTERNAL}
        return {**known, "age_seconds": self.age_seconds(), "ranks": self.ranks}

    def age_seconds(self) -> float:
        """Since when it has made no step although it had work, or has taken no call; 0 before the first reading."""
        if self._reading is None:
            return 0.0
        return float(self._reading["age_seconds"]) + time.monotonic() - self._got_at

    def closed_seconds(self) -> float:
        """For how long it lets no request in."""
        if self._reading is None:
            return 0.0
        return max(0.0, float(self._reading["closed_seconds"]) - (time.monotonic() - self._got_at))
