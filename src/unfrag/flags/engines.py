"""Other engines' spellings of vLLM's flags, from ``engines.toml``, read in both directions."""

from __future__ import annotations

from functools import cache

import msgspec

from unfrag.system import resources


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``flags``: by vLLM's name the spellings here, the usual one first. ``values``: of flags that differ with it."""

    name: str
    serve: str
    flags: dict[str, tuple[str, ...]] = {}
    values: dict[str, str] = {}


@cache
def engines() -> dict[str, Engine]:
    """By the name that an engine has in a command line: ``vllm``, ``sglang``, ``lmdeploy``."""
    return msgspec.convert(resources.table("unfrag.flags", "engines.toml"), dict[str, Engine])


def spelled_by(engine: str) -> dict[str, str]:
    """vLLM's words, and this engine's in their place; values come before the bare flag."""
    its = engines()[engine]
    flags = {ours: theirs[0] for ours, theirs in its.flags.items()}
    return {**its.values, **flags, engines()["vllm"].serve: its.serve}


@cache
def in_vllm() -> dict[str, str]:
    """vLLM's flag, by every other spelling."""
    return {theirs: ours for its in engines().values() for ours, spellings in its.flags.items() for theirs in spellings}


@cache
def foreign() -> dict[str, str]:
    """What is wrong with another engine's flag in a vLLM line; the first that has it names it."""
    found: dict[str, str] = {}
    for key, its in engines().items():
        for ours, spellings in its.flags.items() if key != "vllm" else ():
            for theirs in spellings:
                found.setdefault(theirs, f"{its.name}'s spelling; vLLM's is {ours}")
    return found
