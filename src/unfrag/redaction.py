"""Take out what must not leave the machine: tokens, keys, passwords, and what people asked."""

from __future__ import annotations

import re
from typing import Any

_TAKEN = "[taken out]"
_WORD = r"(?:api[-_]?key|token|secret|password|passwd|credential)"
_VALUE = r"(?:\[[^\]]*\]|\"[^\"]*\"|'[^']*'|[^\s,;'\"}\])]+)"
_SECRETS = (
    (re.compile(r"(?i)(authorization\s*[:=]\s*(?:bearer|basic)?\s*)[^\s'\",]+"), r"\1" + _TAKEN),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), r"\1" + _TAKEN),
    (re.compile(rf"(?i)([\w-]*{_WORD}s?['\"]?\s*[=:]\s*)(?!None\b|null\b|\d+(?:\s|$|,)){_VALUE}"), r"\1" + _TAKEN),
    (re.compile(rf"(?i)(--[\w-]*{_WORD}\s+)(?!-){_VALUE}"), r"\1" + _TAKEN),
    (re.compile(r"\b(?:hf_|sk-|ghp_|gho_|glpat-|xox[abp]-|AKIA|ms-)[A-Za-z0-9_-]{8,}"), _TAKEN),
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{5,}\.[\w-]*"), _TAKEN),
    (re.compile(r"(?i)(https?://)[^\s/@:]+:[^\s/@]+@"), r"\1" + _TAKEN + "@"),
)
_NAME = re.compile(r"(?i)api[-_]?key|token$|secret|passw|credential")
_USERS = re.compile(
    r"(?i)((?:prompt|messages|content|text|input|output|generated[ _]text|response)['\"]?\s*[:=]\s*)"
    r"(?!\s*\d)(?:'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|\[.*|\{.*)"
)


def redact(text: str) -> str:
    """The text without what people asked, tokens, keys and passwords. Line by line; sizes and flags stay."""
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    for pattern, instead in _SECRETS:
        line = pattern.sub(instead, line)
    return _USERS.sub(r"\1" + _TAKEN, line)


def clean(value: Any) -> Any:
    """The same with every text redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        hidden = {key: _TAKEN for key, inner in value.items() if isinstance(inner, str) and _NAME.search(key)}
        return {key: clean(inner) for key, inner in value.items()} | hidden
    return [clean(inner) for inner in value] if isinstance(value, list | tuple) else value
