"""``GET /health`` in the place of vLLM's own, whose status it keeps: a middleware, since not every vLLM lets a plugin
replace a route. When it cannot answer, vLLM's own does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi.responses import JSONResponse

from unfrag.engine.vllm import features

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from unfrag.engine.watch import EngineWatch

logger = logging.getLogger("vllm.unfrag")

# Who asks for a fresh reading waits for the step in flight, but not for ever.
_FRESH_SECONDS = 1.0


class Health:
    """200 while the engine lives, 503 when it is dead; the body holds ``memory_stats``. ``?fresh=true`` asks anew."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http" and scope["path"] == "/health" and scope["method"] == "GET":
            try:
                answer = await self._answer(scope)
            except Exception as fault:
                features.failed("health", fault)
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope) -> JSONResponse | None:
        if features.why_off("health") is not None or not hasattr(scope["app"].state, "unfrag_watch"):
            return None
        watch: EngineWatch | None = scope["app"].state.unfrag_watch
        if watch is None:  # a render-only server has no engine and is always healthy
            return JSONResponse({"status": "ok", "memory_stats": None})
        alive = await watch.alive()
        if alive:
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("fresh", ["false"])[-1]
            await watch.refresh(_FRESH_SECONDS, fresh=asked.lower() in ("true", "1"))
        return JSONResponse(
            {"status": "ok" if alive else "dead", "memory_stats": watch.memory_stats(), "unknown": watch.unknown},
            status_code=200 if alive else 503,
        )
