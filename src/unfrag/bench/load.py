"""Load on a server: GuideLLM in a process of its own, driven over its stdin and stdout."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from unfrag.bench.workload import write_jsonl
from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.system.session import Session, undisturbed

if TYPE_CHECKING:
    from types import TracebackType

    from unfrag.bench.workload import Prompt

_SETTINGS = {
    # Nothing is fetched: the tokenizer is the server's.
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    # One worker reaches 1,300 tokens/s and more, and takes least from the server on the same cores.
    "GUIDELLM__MAX_WORKER_PROCESSES": "1",
    "GUIDELLM__MP_CONTEXT_TYPE": "forkserver",
    "GUIDELLM__SCHEDULER_START_DELAY_NON_DISTRIBUTED": "0.2",
    "GUIDELLM__LOGGING__CONSOLE_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}
_GRACE_SECONDS = 5.0


class RequestResult(msgspec.Struct, frozen=True):
    """One request as the client saw it. Times are seconds; None where the request did not get that far."""

    ok: bool
    start: float | None
    end: float | None
    ttft: float | None
    tpot: float | None
    latency: float | None
    prompt_tokens: int
    output_tokens: int
    error: str | None


class LoadGenerator:
    """One GuideLLM process for many runs against one server.

    Args:
        url: of the server.
        model: served name.
        api_key: sent as a bearer token; GuideLLM masks it in its report.
        request_seconds: longest silence within one request before it counts as failed.
    """

    def __init__(self, url: str, model: str, api_key: str | None = None, request_seconds: float = 120.0) -> None:
        if importlib.util.find_spec("guidellm") is None:
            raise UsageError("GuideLLM makes the load and is not installed: pip install 'unfrag[bench]'")
        self._backend = {
            "kind": "openai_http",
            "target": url,
            "model": model,
            "request_format": "/v1/completions",
            "http2": False,
            "timeout": request_seconds,
            "extras": {"body": {"temperature": 0, "seed": 0}},
            **({"api_key": api_key} if api_key else {}),
        }
        self._folder = tempfile.TemporaryDirectory(prefix="unfrag-load-")
        self._session = Session(
            [sys.executable, "-m", "unfrag.bench.guidellm_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_SETTINGS, "HF_DATASETS_CACHE": f"{self._folder.name}/datasets"},
            cwd=self._folder.name,
        )
        self._child = self._session.process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(idle=kind is None)

    def close(self, idle: bool = True) -> None:
        """End GuideLLM and its workers: it ends by itself when idle, by signals when not."""
        assert self._child.stdin is not None
        with undisturbed(), contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._child.stdin.close()
            if idle:
                self._child.wait(_GRACE_SECONDS)
        self._session.end(signal.SIGINT, signal.SIGTERM, grace=_GRACE_SECONDS)
        self._folder.cleanup()

    def run(
        self, prompts: tuple[Prompt, ...], in_flight: int, max_seconds: float, progress: bool
    ) -> list[RequestResult]:
        """Send every prompt once, in order, ``in_flight`` at a time; results in the order they were sent.

        Raises:
            NotEnoughEvidence: GuideLLM could not run at all; requests that fail are results, not errors.
        """
        rows, report = Path(self._folder.name, "rows.jsonl"), Path(self._folder.name, "report.json")
        write_jsonl(prompts, rows)
        report.unlink(missing_ok=True)
        spec = {
            "backend": self._backend,
            "profile": {"kind": "concurrent", "streams": [in_flight]},
            "data": [{"kind": "json_file", "path": str(rows)}],
            "data_column_mapper": {
                "kind": "generative_column_mapper",
                "column_mappings": {"text_column": "prompt", "output_tokens_count_column": "output_tokens_count"},
            },
            "metrics": {"kind": "generative", "sample_size": 0},
            "constraints": [
                {"kind": "max_requests", "count": len(prompts)},
                {"kind": "max_duration", "seconds": max_seconds},
            ],
            "outputs": [{"kind": "json", "path": str(report)}],
        }
        error = self._order({"spec": spec, "progress": progress})
        if error is not None or not report.is_file():
            raise NotEnoughEvidence(f"GuideLLM could not load the server: {error or 'it wrote no report'}")
        return read_report(json.loads(report.read_bytes()))

    def _order(self, order: dict[str, Any]) -> str | None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(order).encode() + b"\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except OSError:
            answer = b""
        if not answer:
            return f"its process ended with exit code {self._child.wait()}"
        error: str | None = json.loads(answer)["error"]
        return error


def read_report(report: dict[str, Any]) -> list[RequestResult]:
    """Every request of GuideLLM's JSON report (0.8), in the order they were queued.

    Its ``inter_token_latency_ms`` is (last - first token) / (tokens - 1): what is called TPOT here.
    """
    (benchmark,) = report["benchmarks"]
    found = [
        (request["info"]["timings"]["queued"], _result(request, ok=kind == "successful"))
        for kind in ("successful", "errored", "incomplete")
        for request in benchmark["requests"][kind]
    ]
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def _result(request: dict[str, Any], ok: bool) -> RequestResult:
    return RequestResult(
        ok=ok,
        start=request.get("request_start_time"),
        end=request.get("request_end_time"),
        ttft=_seconds(request.get("time_to_first_token_ms")),
        tpot=_seconds(request.get("inter_token_latency_ms")),
        latency=request.get("request_latency"),
        prompt_tokens=request.get("prompt_tokens") or 0,
        output_tokens=request.get("output_tokens") or 0,
        error=None if ok else str(request["info"].get("error") or request["info"].get("status")),
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
