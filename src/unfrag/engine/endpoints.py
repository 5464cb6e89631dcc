"""``GET /health`` and ``POST /flush_cache``, in vLLM's API server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unfrag import own_flags
from unfrag.engine import access, drain, interface
from unfrag.engine.experts.answers import ExpertAnswers
from unfrag.engine.experts.metrics import FreshMetrics
from unfrag.engine.watch import EngineDead, EngineWatch

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.datastructures import State

logger = logging.getLogger("vllm.unfrag")
router = APIRouter()

# A snapshot this young answers the next caller as well: who polls at 10 Hz wakes the engine at 5.
_GOOD_FOR_SECONDS = 0.15


class UnfragEndpoints:
    """vLLM's ``EndpointPlugin`` protocol (``vllm/plugins/endpoint_plugins/interface.py``)."""

    name = "unfrag"
    required_tasks = None

    def attach_router(self, app: FastAPI) -> None:
        """Adds the routes; vLLM lets ours replace its own ``/health``. On an unknown version, adds none."""
        if interface.unsupported_version() is not None:
            return
        app.include_router(router)
        app.add_middleware(drain.Gate)
        if own_flags.chosen("--enable-expert-cache") != "off":
            app.add_middleware(ExpertAnswers)
            app.add_middleware(FreshMetrics)

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """Takes a first snapshot while the engine is idle, so that ``/health`` has one from the start."""
        state.unfrag_watch = EngineWatch(engine_client) if engine_client is not None else None
        if state.unfrag_watch is not None:
            try:
                await state.unfrag_watch.refresh(wait_seconds=5.0)
            except Exception:
                logger.exception("unfrag has no memory statistics yet")


@router.get("/health")
async def health(request: Request, fresh: bool = False) -> JSONResponse:
    """200 while the engine lives, 503 when it is dead, as in stock vLLM; the body holds ``memory_stats``.

    ``?fresh=true`` asks the engine in any case.
    """
    watch: EngineWatch | None = request.app.state.unfrag_watch
    if watch is None:  # a render-only server has no engine and is always healthy
        return JSONResponse({"status": "ok", "memory_stats": None})
    alive = await watch.alive()
    if alive:
        await watch.refresh(wait_seconds=0.02, good_for=0.0 if fresh else _GOOD_FOR_SECONDS)
    return JSONResponse(
        {"status": "ok" if alive else "dead", "memory_stats": watch.memory_stats(), "unknown": watch.unknown},
        status_code=200 if alive else 503,
    )


@router.post("/flush_cache")
async def flush_cache(
    request: Request, cached: bool = True, allocator: bool = True, compact: bool = True
) -> JSONResponse:
    """Drop evictable blocks (``?cached=``), release allocator memory (``?allocator=``), move the blocks in use together
    (``?compact=``); all of it unless told otherwise.

    403 to a caller that is neither on this machine nor holds the token, 503 when the engine is dead.
    """
    return await _of_engine(request, "flush", lambda watch: watch.flush(cached, allocator, compact))


@router.post("/plugins/unfrag/drain")
async def drain_for(request: Request, seconds: float = 60.0) -> JSONResponse:
    """Let in no new request for so long, and leave those that run alone; 0 lets them in again.

    403 to a caller that is neither on this machine nor holds the token.
    """
    if (refused := _refused(request)) is not None:
        return refused
    drain.close_for(request.app, seconds)
    return JSONResponse({"seconds": seconds})


@router.get("/plugins/unfrag/experts")
async def experts(request: Request) -> JSONResponse:
    """Each engine's expert-route cache: hits, misses, flips, bytes, evictions, and how evenly experts are used.

    Null for an engine that runs without one.
    """
    return await _of_engine(request, "read the expert-route cache", lambda watch: watch.experts())


@router.get("/plugins/unfrag/map.json")
async def block_map(request: Request) -> JSONResponse:
    """Each engine's blocks as ``[state, how many in a row]``, its requests' runs, and violations of the books."""
    return await _of_engine(request, "read the block map", lambda watch: watch.inspect())


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
