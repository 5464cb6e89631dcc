"""The plugin's routes in vLLM's API server; ``GET /health`` stands in ``health``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unfrag.engine import access, drain
from unfrag.engine.experts.answers import ExpertAnswers
from unfrag.engine.experts.metrics import FreshMetrics
from unfrag.engine.health import Health
from unfrag.engine.vllm import features
from unfrag.engine.watch import EngineDead, EngineWatch
from unfrag.flags import ours

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.datastructures import State

logger = logging.getLogger("vllm.unfrag")
router = APIRouter()


class UnfragEndpoints:
    """vLLM's ``EndpointPlugin`` protocol (``vllm/plugins/endpoint_plugins/interface.py``)."""

    name = "unfrag"
    required_tasks = None

    def attach_router(self, app: FastAPI) -> None:
        """Adds the routes, and ``/health`` before vLLM's own. A fault leaves vLLM's API as it is."""
        try:
            if features.disabled():
                return
            app.include_router(router)
            app.add_middleware(Health)
            app.add_middleware(drain.Gate)
            if ours.chosen("--enable-expert-cache") != "off" and features.is_on("expert_cache"):
                app.add_middleware(ExpertAnswers)
                app.add_middleware(FreshMetrics)
        except Exception:
            logger.exception("unfrag's routes could not be added: the server runs with vLLM's own")

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Listens to the engines, and waits a moment for a first reading, so that ``/health`` has one at once."""
        if features.disabled():
            return
        state.unfrag_watch = None
        try:
            if engine_client is not None:
                state.unfrag_watch = EngineWatch(engine_client)
                await state.unfrag_watch.start(wait_seconds=5.0)
        except Exception:
            logger.exception("unfrag has no memory statistics yet")


@router.get("/plugins/unfrag/live")
async def live(request: Request, seconds: float | None = None) -> JSONResponse:
    """For a probe: 200 while the engine steps, rests, or is busy; 503 when it is dead or has not moved for ``seconds``.

    ``seconds`` is vLLM's own limit for a step unless given.
    """
    if seconds is not None and not 0 <= seconds <= drain.LONGEST_SECONDS:
        return _no_time()
    watch: EngineWatch | None = request.app.state.unfrag_watch
    why = None if watch is None else await watch.standstill(seconds)
    if why is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "stuck", "why": why}, status_code=503)


@router.post("/flush_cache")
async def flush_cache(
    request: Request, cached: bool = True, allocator: bool | None = None, compact: bool = True
) -> JSONResponse:
    """Drop evictable blocks (``?cached=``), release allocator memory (``?allocator=``), move the blocks in use together
    (``?compact=``); all of it unless told otherwise, but on a card allocator memory only when it is asked for.

    403 to a caller that is neither on this machine nor holds the token, 503 when the engine is dead.
    """
    return await _of_engine(request, "flush", lambda watch: watch.flush(cached, allocator, compact))


@router.post("/plugins/unfrag/drain")
async def drain_for(request: Request, seconds: str = "60") -> JSONResponse:
    """Admit no new request for so long, a day at most, and leave those that run alone; 0 admits them again.

    403 to a caller that is neither on this machine nor holds the token, 400 for a time that is none; nothing changes.
    """
    if (refused := _refused(request)) is not None:
        return refused
    try:
        wanted = drain.seconds_of(seconds)
    except ValueError:
        return _no_time()
    return await _of_engine(request, "drain", lambda watch: _drained(watch, wanted))


async def _drained(watch: EngineWatch, seconds: float) -> dict[str, float]:
    await watch.close_for(seconds)
    return {"seconds": seconds}


@router.get("/plugins/unfrag/experts")
async def experts(request: Request) -> JSONResponse:
    """Each engine's expert-route cache: hits, misses, flips, bytes, evictions, and how evenly experts are used.

    Null for an engine that runs without one.
    """
    return await _of_engine(request, "read the expert-route cache", lambda watch: watch.experts())


@router.get("/plugins/unfrag/map.json")
async def block_map(request: Request) -> JSONResponse:
    """Each engine's blocks as ``[state, how many in a row]``, its requests' runs, and violations of the bookkeeping."""
    return await _of_engine(request, "read the block map", lambda watch: watch.inspect())


def _no_time() -> JSONResponse:
    said = f"seconds: a number from 0 to {drain.LONGEST_SECONDS:.0f} is wanted"
    return JSONResponse({"error": said}, status_code=400)


def _refused(request: Request) -> JSONResponse | None:
    refusal = access.refusal(request)
    return None if refusal is None else JSONResponse({"error": refusal}, status_code=403)


async def _of_engine(request: Request, what: str, ask: Callable[[EngineWatch], Awaitable[Any]]) -> JSONResponse:
    if (refused := _refused(request)) is not None:
        return refused
    watch: EngineWatch | None = request.app.state.unfrag_watch
    if watch is None:
        return JSONResponse({"error": "this server has no engine"}, status_code=503)
    try:
        return JSONResponse(await ask(watch))
    except EngineDead:
        return JSONResponse({"error": "the engine is dead: restart the server"}, status_code=503)
    except Exception as fault:
        logger.exception("unfrag could not %s", what)
        return JSONResponse({"error": f"could not {what}: {fault}"}, status_code=500)
