"""Spellings that guides teach and vLLM does not know, put right."""

from __future__ import annotations

import itertools

from unfrag.flags.line import read_flags, split
from unfrag.flags.ours import FLAGS

_KV_CACHE_DTYPE = {"fp16": "float16", "half": "float16", "bf16": "bfloat16"}
_DEMO, _OPENAI = "vllm.entrypoints.api_server", "vllm.entrypoints.openai.api_server"


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


def repair_entry(command: str, flags: dict[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """What the line must start instead, for it to serve with these flags: words and their replacements; and why."""
    words = [word.text for word in split(command)]
    own = [flag for flag in flags if flag in FLAGS]
    notes = []
    if _DEMO in words:
        notes.append(f"{_DEMO} was a demonstration without /v1 routes, and vLLM 0.32 has it no more: {_OPENAI} serves")
    if not own:
        return {word: _OPENAI for word in words if word == _DEMO}, notes
    vllm = [word for word, then in itertools.pairwise(words) if then == "serve" and _is_vllm(word)]
    starts = {word: "unfrag serve" for word in words if word in (_DEMO, _OPENAI)}
    starts |= {word: word.removesuffix("vllm") + "unfrag" for word in vllm[:1]}
    if starts:
        notes.append(f"{own[0]} is a flag of unfrag's plugin: the line starts `unfrag serve`, which is vLLM with it")
    return starts, notes


def _is_vllm(word: str) -> bool:
    return word == "vllm" or word.endswith("/vllm")


def repair_line(command: str, wanted: dict[str, str | None]) -> tuple[dict[str, str | None], dict[str, str], list[str]]:
    """A whole line that shall get these flags: the flags to set, words to replace, and a line for each repair.

    Misspelled values that stand in the line already are put right with the rest.
    """
    standing = {flag: value for flag, value in read_flags(command).items() if flag not in wanted}
    repaired, notes = repair({**standing, **wanted})
    words, why = repair_entry(command, repaired)
    changed = {flag: value for flag, value in repaired.items() if flag in wanted or value != standing.get(flag)}
    return changed, words, notes + why
