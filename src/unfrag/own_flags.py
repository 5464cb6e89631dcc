"""unfrag's own flags of `unfrag serve`, and the environment variables by which they reach the engine's process."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from unfrag.errors import UsageError

logger = logging.getLogger("vllm.unfrag")


class Flag(NamedTuple):
    """``values``: the first is what counts when nothing is said."""

    variable: str
    values: tuple[str, ...]


FLAGS = {
    "--pool": Flag("UNFRAG_POOL", ("stock", "contiguous")),
    "--compaction": Flag("UNFRAG_COMPACTION", ("off", "on")),
}


def split(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """vLLM's words, and unfrag's own flags among them as environment.

    Raises:
        UsageError: a flag of ours without a value that it knows.
    """
    left: list[str] = []
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, _, value = word.partition("=")
        if name not in FLAGS:
            left.append(word)
            continue
        flag, value = FLAGS[name], value or next(rest, "")
        if value not in flag.values:
            raise UsageError(f"{name}: {value or 'nothing'} was given; choose one of {', '.join(flag.values)}")
        found[flag.variable] = value
    return left, found


def chosen(name: str) -> str:
    """A flag's value in this process; what is none of its values is told, and counts as the first."""
    flag = FLAGS[name]
    said = os.environ.get(flag.variable) or flag.values[0]
    if said in flag.values:
        return said
    logger.warning(
        "unfrag: %s=%s is none of %s: %s is used", flag.variable, said, ", ".join(flag.values), flag.values[0]
    )
    return flag.values[0]
