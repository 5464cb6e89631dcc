"""unfrag's own flags of `unfrag serve`, and the environment variables by which they reach the engine's process."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from unfrag.errors import UsageError
from unfrag.units import read_size

logger = logging.getLogger("vllm.unfrag")


class Flag(NamedTuple):
    """``values``: what it may be, and the first is what counts when nothing is said.

    ``bare``: its value when it is given without one; another is then given by ``=`` alone. ``kind`` of a flag whose
    values are not counted out: "bytes" or "path".
    """

    variable: str
    values: tuple[str, ...]
    bare: str | None = None
    kind: str | None = None


FLAGS = {
    "--pool": Flag("UNFRAG_POOL", ("stock", "contiguous")),
    "--compaction": Flag("UNFRAG_COMPACTION", ("off", "on")),
    "--enable-expert-cache": Flag("UNFRAG_EXPERT_CACHE", ("off", "on", "verify", "observe"), bare="on"),
    "--expert-cache-bytes": Flag("UNFRAG_EXPERT_CACHE_BYTES", ("256MiB",), kind="bytes"),
    "--expert-cache-file": Flag("UNFRAG_EXPERT_CACHE_FILE", ("",), kind="path"),
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
        name, equals, value = word.partition("=")
        if name not in FLAGS:
            left.append(word)
            continue
        flag = FLAGS[name]
        if not equals:
            value = next(rest, "") if flag.bare is None else flag.bare
        if (wrong := _wrong(flag, value)) is not None:
            raise UsageError(f"{name}: {value or 'nothing'} was given; {wrong}")
        found[flag.variable] = value
    alone = [name for name in FLAGS if name.startswith("--expert-cache-") and FLAGS[name].variable in found]
    if alone and found.get(FLAGS["--enable-expert-cache"].variable, "off") == "off":
        raise UsageError(f"{alone[0]} says nothing without --enable-expert-cache; add it")
    return left, found


def _wrong(flag: Flag, value: str) -> str | None:
    if flag.kind == "bytes":
        return None if _is_size(value) else "give a number of bytes, or one with a unit such as 256MiB"
    if flag.kind == "path":
        return "give a file's path" if not value or value.startswith("-") else None
    return None if value in flag.values else f"choose one of {', '.join(flag.values)}"


def _is_size(value: str) -> bool:
    try:
        return read_size(value) > 0
    except ValueError:
        return False


def chosen(name: str) -> str:
    """A flag's value in this process; what is none of its values is told, and counts as the first."""
    flag = FLAGS[name]
    said = os.environ.get(flag.variable) or flag.values[0]
    if said in flag.values or _wrong(flag, said) is None:
        return said
    logger.warning("unfrag: %s=%s: %s. It counts as %s.", flag.variable, said, _wrong(flag, said), flag.values[0])
    return flag.values[0]
