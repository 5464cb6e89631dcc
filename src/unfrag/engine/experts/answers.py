"""Tells the caller of a completion what share of its prompt's routes was served: in a header, and in the body.

The answer's bytes stay vLLM's own; the field is put before its last brace.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from unfrag.engine.watch import EngineWatch

logger = logging.getLogger("vllm.unfrag")

HEADER, FIELD = b"x-expert-cache-hit-rate", b"expert_cache_hit_rate"
_PATHS = ("/v1/chat/completions", "/v1/completions")
_ASK_SECONDS = 2.0  # an answer is not held up longer for this


class _Asked(msgspec.Struct):
    logprobs: bool | int | None = None
    stream: bool | None = None


class _Answer(msgspec.Struct):
    id: str


class _Chunk(msgspec.Struct):
    id: str
    choices: list[msgspec.Raw]
    usage: dict[str, Any] | None = None


class ExpertAnswers:
    """ASGI middleware; only completions that were asked with ``logprobs`` are looked into."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(_PATHS):
            await self._app(scope, receive, send)
            return
        body, receive = await _read(receive)
        asked = _asked(body)
        watch: EngineWatch | None = getattr(scope["app"].state, "unfrag_watch", None)
        if watch is None or asked is None or asked.logprobs is None or asked.logprobs is False:
            await self._app(scope, receive, send)
        elif asked.stream:
            await self._app(scope, receive, _in_last_chunk(send, watch))
        else:
            await self._app(scope, receive, _in_whole(send, watch))


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The request's body, and a ``receive`` that gives the same messages again and then goes on."""
    messages: list[Message] = []
    while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again


def _asked(body: bytes) -> _Asked | None:
    try:
        return msgspec.json.decode(body, type=_Asked)
    except (msgspec.MsgspecError, RecursionError):  # vLLM will say what is wrong with it
        return None


def _in_whole(send: Send, watch: EngineWatch) -> Send:
    """Holds the answer back until it is whole, then sends it with header and field."""
    start: Message = {}
    parts: list[bytes] = []

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        if message["type"] != "http.response.body":
            await send(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = b"".join(parts)
        rate = await _rate(body, _Answer, watch) if start["status"] == 200 else None
        if rate is not None:
            body = _with_field(body, rate)
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            start["headers"] = [*headers, (b"content-length", b"%d" % len(body)), (HEADER, rate)]
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return sending


def _in_last_chunk(send: Send, watch: EngineWatch) -> Send:
    """Adds the field to the event that closes a stream with its usage (``stream_options: {include_usage: true}``)."""

    async def sending(message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] == "http.response.body" and b'"choices":[]' in body and body.endswith(b"\n\n"):
            events = body.split(b"\n\n")
            for i, event in enumerate(events):
                if event.startswith(b"data: {") and (rate := await _rate(event[6:], _Chunk, watch)) is not None:
                    events[i] = _with_field(event, rate)
            message = {**message, "body": b"\n\n".join(events)}
        await send(message)

    return sending


async def _rate(body: bytes, kind: Any, watch: EngineWatch) -> bytes | None:
    try:
        answer = msgspec.json.decode(body, type=kind)
        if isinstance(answer, _Chunk) and (answer.choices or answer.usage is None):
            return None
        share = await asyncio.wait_for(watch.expert_share(answer.id), _ASK_SECONDS)
    except msgspec.MsgspecError:
        return None
    except Exception as fault:  # whatever it is, the answer itself must go out
        logger.warning("unfrag could not tell an expert cache hit rate: %r", fault)
        return None
    return None if share is None else b"%.4f" % (share[0] / share[1])


def _with_field(body: bytes, rate: bytes) -> bytes:
    end = body.rindex(b"}")
    return body[:end] + b',"' + FIELD + b'":' + rate + body[end:]
