"""A running server, over HTTP: ``/health``, ``/metrics``, ``/v1/models``, ``/version``.

Each question has a time limit as a whole: a server that trickles or redirects for ever does not hold the caller.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import httpx

from unfrag.errors import UsageError
from unfrag.facts.values import NO_ANSWER, NO_SERVER, Unknown
from unfrag.server import health, metrics
from unfrag.system.decode import decoded
from unfrag.system.network import is_here

if TYPE_CHECKING:
    from unfrag.facts.memory_stats import Pool
    from unfrag.facts.snapshot import Metrics

TIMEOUT_SECONDS = 2.0
_LARGEST_BODY = 8 << 20
_REDIRECTS = 3
_LONGEST_URL = 2000
_SAID = re.compile(rf"[\x21-\x7e\xa1-\ud7ff]{{1,{_LONGEST_URL}}}")
_OF_A_ROUTE = re.compile(r"/(?:v1(?:/[a-z_/]{0,60})?|health|metrics)/?$")  # people paste the address of a route


class _Faulty(Exception):
    """Why a question was not answered."""


def client(url: str, key: str | None = None) -> httpx.Client:
    """A client for one server. Proxies of the environment are not used: a server is asked directly.

    Args:
        url: its certificate is verified, but for a server on this machine, whose address no certificate names.
        key: the server's API key.

    Raises:
        UsageError: this is no address of a server.
    """
    parts = address(url)
    return httpx.Client(
        base_url=url,
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        max_redirects=_REDIRECTS,
        verify=parts.scheme == "https" and not is_here(url),
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )


def address(url: str) -> SplitResult:
    """The parts of a server's address. Raises UsageError: it is none, or one of a route."""
    parts = parts_of(url)
    if parts is None:
        raise UsageError(f"--url {url[:200]!r} is no address; write http://HOST:PORT")
    if (wrong := _OF_A_ROUTE.search(parts.path)) is not None:
        raise UsageError(f"--url {url[:200]}: leave {wrong[0]} away; the address of the server itself is wanted")
    return parts


def parts_of(url: str) -> SplitResult | None:
    """Of an http or https URL with a host; None: it is none."""
    try:
        parts = urlsplit(url[:_LONGEST_URL])
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and _SAID.fullmatch(url)
    except ValueError:
        return None
    return parts if good else None


def own_token() -> dict[str, str]:
    """The header that mutating routes want from another machine; nothing where ``UNFRAG_TOKEN`` is not set."""
    token = os.environ.get("UNFRAG_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def read_pool(server: httpx.Client) -> Pool | Unknown:
    """``memory_stats`` of the plugin."""
    try:
        status, body = _ask(server, "/health")
    except _Faulty as fault:
        return Unknown(str(fault))
    return health.parse(body, status)


def read_metrics(server: httpx.Client) -> Metrics | Unknown:
    """The engine's Prometheus metrics: vLLM's or SGLang's."""
    try:
        return metrics.parse(_good(server, "/metrics").decode("utf-8", "replace"))
    except _Faulty as fault:
        return Unknown(str(fault))


def read_model(server: httpx.Client) -> tuple[str | Unknown, int | Unknown]:
    """(served model name, its maximum length) of the first model."""
    try:
        first: Any = decoded(_good(server, "/v1/models"), "it")["data"][0]
        length = first.get("max_model_len")
    except _Faulty as fault:
        return Unknown(str(fault)), Unknown(str(fault))
    except (UsageError, LookupError, TypeError, AttributeError):
        unknown = Unknown("/v1/models does not answer as OpenAI's API does")
        return unknown, unknown
    return str(first.get("id"))[:500], length if isinstance(length, int) else Unknown("/v1/models does not say")


def read_version(server: httpx.Client) -> str | Unknown:
    """The engine's version."""
    try:
        return str(decoded(_good(server, "/version"), "it")["version"])[:200]
    except _Faulty as fault:
        return Unknown(str(fault))
    except (UsageError, LookupError, TypeError):
        return Unknown("/version does not answer as vLLM does")


def _good(server: httpx.Client, path: str) -> bytes:
    status, body = _ask(server, path)
    if status != httpx.codes.OK:
        raise _Faulty(f"{path} answers {status}")
    return body


def _ask(server: httpx.Client, path: str) -> tuple[int, bytes]:
    """(status, body) within the time limit.

    Raises:
        _Faulty: with the reason.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        with server.stream("GET", path, follow_redirects=True) as answer:
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if time.monotonic() > deadline or len(body) > _LARGEST_BODY:
                    raise _Faulty(f"{path} does not come to an end: {NO_ANSWER} within {TIMEOUT_SECONDS:.0f} s")
            return answer.status_code, bytes(body)
    except httpx.TimeoutException:
        raise _Faulty(f"{NO_ANSWER} within {TIMEOUT_SECONDS:.0f} s") from None
    except httpx.ConnectError as fault:
        if "WRONG_VERSION_NUMBER" in str(fault):
            raise _Faulty(f"{NO_SERVER}: it speaks http, not https; write http://… instead") from None
        raise _Faulty(f"{NO_SERVER} ({fault})") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as fault:
        hint = "; does it speak https?" if isinstance(fault, httpx.RemoteProtocolError) else ""
        raise _Faulty(f"{path}: {fault or type(fault).__name__}{hint}") from None
