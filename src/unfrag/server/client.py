"""A running server, over HTTP: what it answers, and what it can be asked to do.

Each question has a time limit as a whole: a server that trickles or redirects for ever does not hold the caller.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

import httpx

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.facts.values import NO_ANSWER, NO_SERVER, Unknown
from unfrag.flags.engines import engines
from unfrag.server import health, metrics
from unfrag.system.decode import decoded
from unfrag.system.network import is_here

if TYPE_CHECKING:
    from types import TracebackType

    from unfrag.facts.memory_stats import Pool
    from unfrag.facts.snapshot import Metrics

TIMEOUT_SECONDS = 2.0
_TLS_SECONDS = 1.0
_LARGEST_BODY = 8 << 20
_REDIRECTS = 3
_LONGEST_URL = 2000
_SAID = re.compile(rf"[\x21-\x7e\xa1-\ud7ff]{{1,{_LONGEST_URL}}}")
_OF_A_ROUTE = re.compile(r"/(?:v1(?:/[a-z_/]{0,60})?|health|metrics)/?$")  # people paste the address of a route


class _Faulty(Exception):
    """Why a question was not answered."""


class Server:
    """Asked directly: proxies of the environment are not used. ``with Server(url) as server: server.pool()``.

    A certificate is verified, but for a server on this machine, whose address no certificate names.

    Args:
        url: its address, without a path.
        key: its API key.

    Raises:
        UsageError: this is no address of a server.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = address(url)
        self.url = url
        self._first: dict[str, Any] | None = None
        self._http = httpx.Client(
            base_url=url,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            max_redirects=_REDIRECTS,
            verify=parts.scheme == "https" and not is_here(url),
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def pool(self) -> Pool | Unknown:
        """``memory_stats`` of the plugin."""
        try:
            status, body = self._ask("/health")
        except _Faulty as fault:
            return Unknown(str(fault))
        return health.parse(body, status)

    def status(self) -> int | None:
        """Of ``/health``; None: nobody answers there.

        Raises:
            httpx.ReadTimeout: somebody is there, and does not answer in time.
        """
        try:
            return self._http.get("/health").status_code
        except httpx.ReadTimeout:
            raise
        except httpx.HTTPError:
            return None

    def metrics(self) -> Metrics | Unknown:
        """The engine's Prometheus metrics: vLLM's or SGLang's."""
        try:
            return metrics.parse(self._good("/metrics").decode("utf-8", "replace"))
        except _Faulty as fault:
            return Unknown(str(fault))

    def model(self) -> tuple[str | Unknown, int | Unknown]:
        """(served model name, its maximum length) of the first model."""
        first = self._first_model()
        if isinstance(first, Unknown):
            return first, first
        length = first.get("max_model_len")
        return str(first.get("id"))[:500], length if isinstance(length, int) else Unknown("/v1/models does not say")

    def engine(self) -> str | Unknown:
        """``vllm``, ``sglang``, ``lmdeploy``: by what its list of models says that it is."""
        first = self._first_model()
        if isinstance(first, Unknown):
            return first
        owner = str(first.get("owned_by", "")).lower()
        return owner if owner in engines() else Unknown(f"/v1/models says {owner[:40] or 'nothing'} of who serves")

    def version(self) -> str | Unknown:
        """The engine's version."""
        try:
            return str(decoded(self._good("/version"), "it")["version"])[:200]
        except _Faulty as fault:
            return Unknown(str(fault))
        except (UsageError, LookupError, TypeError):
            return Unknown("/version does not answer as vLLM does")

    def tokens(self, model: str, text: str) -> int:
        """Counted by the server's own tokenizer (vLLM's ``/tokenize``). Raises NotEnoughEvidence."""
        answer = self._post("/tokenize", 30.0, json={"model": model, "prompt": text})
        try:
            return int(answer.json()["count"])
        except (ValueError, LookupError, TypeError):
            raise NotEnoughEvidence(f"{self.url}: /tokenize does not answer as vLLM does") from None

    def flush(self, seconds: float, parts: dict[str, bool] | None = None) -> dict[str, Any]:
        """``POST /flush_cache``; its answer.

        Args:
            parts: ``cached``, ``allocator``, ``compact``; what is left out is the server's own choice.

        Raises:
            NotEnoughEvidence: it does not answer, or not as unfrag's plugin does.
        """
        answer = self._post("/flush_cache", seconds, params=parts or {}, headers=_own_token())
        try:
            done: dict[str, Any] = answer.json()
            done["before"]["free_blocks"], done["after"]["free_blocks"]
        except (ValueError, LookupError, TypeError):
            raise NotEnoughEvidence(f"{self.url}: /flush_cache does not answer as unfrag's plugin does") from None
        return done

    def drain(self, seconds: float) -> None:
        """Admit no new request for so long. Raises NotEnoughEvidence."""
        self._post("/plugins/unfrag/drain", TIMEOUT_SECONDS, params={"seconds": seconds}, headers=_own_token())

    def complete(self, seconds: float) -> httpx.Response | Unknown:
        """One token of the first model: its answer, whatever that is; Unknown: it names no model.

        Raises:
            httpx.TimeoutException: it does not answer in time.
            httpx.HTTPError: it cannot be asked.
        """
        model, _ = self.model()
        if isinstance(model, Unknown):
            return model
        body = {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}
        return self._http.post("/v1/completions", json=body, timeout=seconds)

    def _first_model(self) -> dict[str, Any] | Unknown:
        """Asked until it is known, and then no more."""
        if self._first is not None:
            return self._first
        try:
            first = decoded(self._good("/v1/models"), "it")["data"][0]
        except _Faulty as fault:
            return Unknown(str(fault))
        except (UsageError, LookupError, TypeError):
            first = None
        if not isinstance(first, dict):
            return Unknown("/v1/models does not answer as OpenAI's API does")
        self._first = first
        return first

    def _post(self, path: str, seconds: float, **what: Any) -> httpx.Response:
        try:
            answer = self._http.post(path, timeout=seconds, **what)
        except httpx.HTTPError as fault:
            raise NotEnoughEvidence(f"{self.url}: {path} did not answer ({fault or type(fault).__name__})") from fault
        if answer.is_error:
            raise NotEnoughEvidence(f"{self.url}: {path} answers {answer.status_code}: {answer.text[:200]}")
        return answer

    def _good(self, path: str) -> bytes:
        status, body = self._ask(path)
        if status != httpx.codes.OK:
            raise _Faulty(f"{path} answers {status}")
        return body

    def _ask(self, path: str) -> tuple[int, bytes]:
        """(status, body) within the time limit.

        Raises:
            _Faulty: with the reason.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        try:
            with self._http.stream("GET", path, follow_redirects=True) as answer:
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


def other_scheme(address: str) -> str:
    """What to add to "it does not answer" where a server speaks TLS at an http address; else nothing."""
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname is None:
        return ""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 80), _TLS_SECONDS) as plain,
            context.wrap_socket(plain),
        ):
            return f"; the server speaks https: try https{address.removeprefix('http')}"
    except (OSError, ValueError):
        return ""


def _own_token() -> dict[str, str]:
    """The header that mutating routes want from another machine; nothing where ``UNFRAG_TOKEN`` is not set."""
    token = os.environ.get("UNFRAG_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
