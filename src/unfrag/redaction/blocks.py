"""Secrets of several lines: private keys, also with a logger's prefix before each line, and Kubernetes' Secrets."""

from __future__ import annotations

import re

from unfrag.redaction.taken import TAKEN, instead

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}(?:KEY|CERTIFICATE|MESSAGE)[A-Z ]{0,20}-----")
_END = "-----END "
_LONGEST = 16_000
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{24,}\s*$")
_SECRET = re.compile(r"(?m)^[ +-]?[ \t]*[\"']?kind[\"']?:[ \t]*[\"']?Secret\b")
_DATA = re.compile(r"^(?P<sign>[ +-]?)(?P<indent>[ \t]*)[\"']?(?:data|stringData)[\"']?:[ \t]*(?:\{)?[ \t]*$")
_ENTRY = re.compile(r"^(?P<name>[ +-]?[ \t]+[\"']?[\w.-]{1,100}[\"']?:[ \t]*)(?P<value>\S.*)$")


def redact(text: str) -> str:
    """Without private keys and the entries of Secrets."""
    if "-----BEGIN " in text:
        text = _without_keys(text)
    return _without_secrets(text) if _SECRET.search(text) else text


def _without_keys(text: str) -> str:
    kept, done = [], 0
    while (found := _BEGIN.search(text, done)) is not None:
        limit = min(len(text), found.end() + _LONGEST)
        end = text.find(_END, found.end(), limit)
        if end >= 0:
            closing = text.find("-----", end + len(_END), limit)
            end = closing + len("-----") if closing >= 0 else end
        else:
            end = _last_of_base64(text, found.end(), limit)
        kept += [text[done : found.start()], instead(text[found.start() : end])]
        done = end
    return "".join([*kept, text[done:]])


def _last_of_base64(text: str, at: int, limit: int) -> int:
    """A key whose end was cut off: up to the last line in a row that ends in base64, the key's own line in any case."""
    end = text.find("\n", at, limit)
    while 0 <= end < limit:
        next_end = text.find("\n", end + 1, limit)
        next_end = limit if next_end < 0 else next_end
        if next_end <= end or not _BASE64.search(text[max(end + 1, next_end - 200) : next_end]):
            return end
        end = next_end
    return limit


def _without_secrets(text: str) -> str:
    """What stands under ``data:`` and ``stringData:`` of a text that holds a Secret."""
    kept: list[str] = []
    depth: int | None = None
    for line in text.split("\n"):
        bare = line[1:] if line[:1] in "+-" and line[1:2] in " \t" else line
        indent = len(bare) - len(bare.lstrip())
        if depth is not None and bare.strip() and indent <= depth:
            depth = None
        if depth is not None and bare.strip():
            entry = _ENTRY.match(line)
            kept.append(entry["name"] + TAKEN if entry else line[: len(line) - len(line.lstrip(" +-"))] + TAKEN)
            continue
        if _DATA.match(line):
            depth = indent
        kept.append(line)
    return "\n".join(kept)
