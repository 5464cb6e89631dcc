"""Asks vLLM in a process of its own, which prints its answer as JSON and is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_PLUGINS": ""}


class NoAnswer(Exception):
    """``stderr`` says why."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


def ask(module: str, request: dict[str, object], seconds: float) -> str:
    """The last line that ``python -m MODULE REQUEST`` prints.

    Raises:
        NoAnswer: it failed, or printed nothing.
        TimeoutError: it took longer than that, and was killed.
    """
    command = [sys.executable, "-m", module, json.dumps(request)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False, env=os.environ | _QUIET)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode != 0 or not lines:
        raise NoAnswer(done.stderr.decode("utf-8", "replace"))
    return lines[-1]
