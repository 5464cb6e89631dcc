"""``vllm serve`` with the plugin enabled next to whatever plugins were, in the foreground."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

from unfrag.errors import UsageError
from unfrag.flags import ours
from unfrag.flags.repair import repair_words
from unfrag.server.vllm_plugins import VARIABLE, from_environment


def serve(words: list[str]) -> NoReturn:
    """Become ``vllm serve WORDS``: same process, so signals and exit codes are vLLM's own.

    Raises:
        UsageError: vLLM is not installed.
    """
    must_have_vllm()
    if not words:
        raise UsageError("which model? unfrag serve MODEL [flags], or unfrag serve --rig")
    if words[0].startswith(("/", "./", "../")) and not os.path.isdir(words[0]):
        raise UsageError(f"{words[0]}: no such model folder")
    words, own = ours.split(words)
    os.execve(sys.executable, command(words), {**os.environ, VARIABLE: from_environment(), **own})


def must_have_vllm() -> None:
    """Raises UsageError: there is none here."""
    if importlib.util.find_spec("vllm") is None:
        raise UsageError(
            "vLLM is not installed here: pip install 'unfrag[cuda]', or 'unfrag[cpu]' for a machine without a GPU"
        )


def command(words: list[str]) -> list[str]:
    """What starts it; ``words``: what follows ``vllm serve``."""
    return [sys.executable, "-m", "unfrag.engine.vllm.serve", *repair_words(words)]
