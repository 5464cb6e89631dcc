"""Spellings that guides teach and vLLM does not know, put right."""

from __future__ import annotations

_KV_CACHE_DTYPE = {"fp16": "float16", "half": "float16", "bf16": "bfloat16"}


def repair_value(flag: str, value: str | None) -> str | None:
    """``--kv-cache-dtype fp16`` -> ``float16``; everything else as it is."""
    return _KV_CACHE_DTYPE.get(value, value) if flag == "--kv-cache-dtype" and value else value


def repair(flags: dict[str, str | None]) -> tuple[dict[str, str | None], list[str]]:
    """The flags as vLLM wants them, and a line for each that was changed."""
    good = {flag: repair_value(flag, value) for flag, value in flags.items()}
    notes = [f"{flag} {flags[flag]} is spelled {good[flag]} in vLLM" for flag in flags if good[flag] != flags[flag]]
    return good, notes


def repair_words(words: list[str]) -> list[str]:
    """The same for the words of a command line, ``--flag value`` and ``--flag=value``."""
    repaired = list(words)
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if equals:
            repaired[i] = f"{name}={repair_value(name.replace('_', '-'), value)}"
        elif i and words[i - 1].startswith("--"):
            repaired[i] = repair_value(words[i - 1].replace("_", "-"), word) or word
    return repaired
