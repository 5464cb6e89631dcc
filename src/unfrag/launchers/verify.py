"""Does the server do what was asked: right flags, alive, a real answer."""

from __future__ import annotations

import shlex

import httpx
import psutil

from unfrag.commandline import read_flags
from unfrag.facts import Metrics
from unfrag.probes import http

_IN_CACHE_CONFIG = {
    "--block-size": "block_size",
    "--kv-cache-dtype": "cache_dtype",
    "--num-gpu-blocks-override": "num_gpu_blocks",
}
_COMPLETION_SECONDS = 60.0


def address(command: str) -> str:
    """The URL that a server started with this command answers on, from this machine."""
    flags = read_flags(command)
    host = flags.get("--host") or "127.0.0.1"
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{flags.get('--port') or 8000}"


def problems(url: str, pid: int, wanted: dict[str, str | None], removed: tuple[str, ...] = ()) -> list[str]:
    """What is not as wanted, one line each; empty when all is well."""
    with http.client(url) as server:
        return [*_flags_not_in_effect(server, pid, wanted, removed), *_no_completion(server)]


def runs_with(pid: int, command: str) -> bool:
    """Does this process run with the flags of a command line?"""
    try:
        return read_flags(shlex.join(psutil.Process(pid).cmdline())) == read_flags(command)
    except psutil.Error:
        return False


def _flags_not_in_effect(
    server: httpx.Client, pid: int, wanted: dict[str, str | None], removed: tuple[str, ...]
) -> list[str]:
    found = []
    try:
        running = read_flags(shlex.join(psutil.Process(pid).cmdline()))
    except psutil.Error as fault:
        return [f"the server's process {pid} cannot be read: {fault}"]
    for flag, value in wanted.items():
        if flag not in running:
            found.append(f"{flag} is not in the running command")
        elif running[flag] != value:
            found.append(f"{flag} is {running[flag]} in the running command, wanted {value}")
    found += [f"{flag} is still in the running command" for flag in removed if flag in running and flag not in wanted]
    metrics = http.read_metrics(server)
    config = metrics.cache_config if isinstance(metrics, Metrics) else {}
    for flag, name in _IN_CACHE_CONFIG.items():
        if wanted.get(flag) is not None and name in config and config[name] != wanted[flag]:
            found.append(f"{flag}: the engine reports {name}={config[name]}, wanted {wanted[flag]}")
    return found


def _no_completion(server: httpx.Client) -> list[str]:
    model, _ = http.read_model(server)
    body = {"model": str(model), "prompt": "1", "max_tokens": 1, "temperature": 0}
    try:
        answer = server.post("/v1/completions", json=body, timeout=_COMPLETION_SECONDS)
        if answer.is_error:
            return [f"a completion was answered with {answer.status_code}: {answer.text[:200]}"]
        return [] if answer.json()["choices"] else ["a completion came back empty"]
    except (httpx.HTTPError, ValueError, LookupError) as fault:
        return [f"a completion failed: {fault or type(fault).__name__}"]
