"""Take out what must not leave the machine: tokens, keys, passwords, and what people asked."""

from __future__ import annotations

import re
from typing import Any

_TAKEN = "[taken out]"
_WORD = (
    r"(?:api[-_]?key|access[-_]?key(?![-_]?id)|secret(?:[-_]?access)?(?:[-_]?key)?|private[-_]?key|auth[-_]?key|token|"
    r"passw(?:or)?d|passphrase|credential|cookie)"
)
_VALUE = r"(?:\[[^\]]*\]|\"[^\"]*\"|'[^']*'|[^\s,;'\"}\])]+)"
_SECRETS = (
    (re.compile(r"(?i)(authorization\s*[:=]\s*(?:bearer|basic)?\s*)[^\s'\",]+"), r"\1" + _TAKEN),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), r"\1" + _TAKEN),
    (re.compile(r"(?i)((?:set-)?cookie\s*:\s*).+"), r"\1" + _TAKEN),
    (re.compile(rf"(?i)([\w-]*{_WORD}s?['\"]?\s*[=:]\s*)(?!None\b|null\b|\d+(?:\s|$|,)){_VALUE}"), r"\1" + _TAKEN),
    # A flag may take several values: all up to the next flag.
    (re.compile(rf"(?i)(--[\w-]*{_WORD}(?:\s+|=))(?!-){_VALUE}(?:\s+(?!-)[^\s'\"]+)*"), r"\1" + _TAKEN),
    (re.compile(r"\b(?:hf_|sk-|ghp_|gho_|glpat-|xox[abp]-|AKIA|ASIA|ms-)[A-Za-z0-9_-]{8,}"), _TAKEN),
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{5,}\.[\w-]*"), _TAKEN),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@"), r"\1" + _TAKEN + "@"),
    (re.compile(r"(?i)(error in (?:pre)?processing (?:prompt|chat|request)[^:]*:\s*).+"), r"\1" + _TAKEN),
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL)
_NAME = re.compile(rf"(?i){_WORD}$|api[-_]?keys$|^--key$")
_USERS = re.compile(
    r"(?i)((?:prompt|messages|content|text|input|output|arguments|generated[ _]text|response|\w*token_ids)"
    r"['\"]?\s*[:=]\s*)"
    r"(?!\s*\d)(?:'(?:[^'\\]|\\.)*(?P<one>'?)|\"(?:[^\"\\]|\\.)*(?P<two>\"?)|\[.*|\{.*)"
)
_NEW_LINE = re.compile(r"^\s*(?:\(|\[|DEBUG|INFO|WARNING|ERROR|CRITICAL|Traceback|\d{4}-|[\w.-]+\s+\| )")


def redact(text: str) -> str:
    """The text without what people asked, tokens, keys and passwords. Sizes and flags stay."""
    kept: list[str] = []
    open_quote = False
    for line in _PEM.sub(_TAKEN, text).split("\n"):
        if open_quote and not _NEW_LINE.match(line):
            continue  # the rest of a prompt of several lines
        clean_line = line
        for pattern, instead in _SECRETS:
            clean_line = pattern.sub(instead, clean_line)
        said = _USERS.search(clean_line)
        open_quote = said is not None and "" in (said["one"], said["two"])
        kept.append(_USERS.sub(r"\1" + _TAKEN, clean_line))
    return "\n".join(kept)


def clean(value: Any) -> Any:
    """The same with every text redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        hidden = {key: _TAKEN for key, inner in value.items() if isinstance(inner, str) and _NAME.search(key)}
        return {key: clean(inner) for key, inner in value.items()} | hidden
    return [clean(inner) for inner in value] if isinstance(value, list | tuple) else value
