"""A gate before vLLM's API: closed, it sends new requests elsewhere while those that run come to their end.

The engine keeps for how long it is closed and tells every API server, so that all of them close. It opens again by
itself, should whoever closed it die.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from unfrag.engine.watch import EngineWatch

LONGEST_SECONDS = 86_400.0
_OPEN_PATHS = ("/plugins/unfrag/", "/flush_cache")


def seconds_of(said: str) -> float:
    """For how long, in seconds. Raises ValueError: no number, below zero, without end, or above a day."""
    seconds = float(said)
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError("no time that makes sense")
    return seconds


class Gate:
    """ASGI middleware: POST is answered with 503 and ``Retry-After`` while closed, all else goes through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith(_OPEN_PATHS):
            watch: EngineWatch | None = getattr(scope["app"].state, "unfrag_watch", None)
            if watch is not None and (left := watch.closed_seconds()) > 0:
                refusal = JSONResponse(
                    {"error": {"message": "this server is being drained; ask another one", "code": 503}},
                    status_code=503,
                    headers={"Retry-After": str(math.ceil(left))},
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
