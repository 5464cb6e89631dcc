"""Does the server do what was asked: right flags, alive, a real answer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx

from unfrag.facts.snapshot import Metrics
from unfrag.facts.values import Unknown
from unfrag.flags.line import read_flags
from unfrag.redaction.names import is_secret
from unfrag.server.client import Server

if TYPE_CHECKING:
    from unfrag.launchers import Edit

_IN_CACHE_CONFIG = {
    "--block-size": "block_size",
    "--kv-cache-dtype": "cache_dtype",
    "--num-gpu-blocks-override": "num_gpu_blocks",
}
_COMPLETION_SECONDS = 60.0


def problems(url: str, running: str, edit: Edit) -> list[str]:
    """What is not as wanted, one line each; empty when all is well. ``running``: the server's command line."""
    flags = read_flags(running)
    key = flags.get("--api-key") or os.environ.get("VLLM_API_KEY") or os.environ.get("OPENAI_API_KEY")
    with Server(url, key) as server:
        return [*not_in_effect(flags, edit), *_not_in_the_engine(server, edit), *_no_completion(server)]


def answers(url: str) -> bool:
    """``GET /health``: 200, or no answer in time, which is what a server that is very busy gives."""
    with Server(url) as server:
        try:
            return server.status() == httpx.codes.OK
        except httpx.ReadTimeout:
            return True


def not_in_effect(running: dict[str, str | None], edit: Edit) -> list[str]:
    """What of an edit a running command line lacks, one line each."""
    found = []
    for flag, value in edit.flags.items():
        if flag not in running:
            found.append(f"{flag} is not in the running command")
        elif running[flag] != value and is_secret(flag):
            found.append(f"{flag} has another value in the running command")
        elif running[flag] != value:
            found.append(f"{flag} is {running[flag]} in the running command, wanted {value}")
    gone = [flag for flag in edit.removed if flag not in edit.flags]
    return found + [f"{flag} is still in the running command" for flag in gone if flag in running]


def _not_in_the_engine(server: Server, edit: Edit) -> list[str]:
    found = []
    metrics = server.metrics()
    config = metrics.cache_config if isinstance(metrics, Metrics) else {}
    for flag, name in _IN_CACHE_CONFIG.items():
        if edit.flags.get(flag) is not None and name in config and config[name] != edit.flags[flag]:
            found.append(f"{flag}: the engine reports {name}={config[name]}, wanted {edit.flags[flag]}")
    return found


def _no_completion(server: Server) -> list[str]:
    try:
        answer = server.complete(_COMPLETION_SECONDS)
        if isinstance(answer, Unknown):  # also of who wants a key that nobody gave: it answers, and says no more
            return (
                [] if answer.why.endswith(str(httpx.codes.UNAUTHORIZED.value)) else [f"it names no model: {answer.why}"]
            )
        if answer.is_error:
            return [f"a completion was answered with {answer.status_code}: {answer.text[:200]}"]
        return [] if answer.json()["choices"] else ["a completion came back empty"]
    except (httpx.HTTPError, ValueError, LookupError) as fault:
        return [f"a completion failed: {fault or type(fault).__name__}"]
