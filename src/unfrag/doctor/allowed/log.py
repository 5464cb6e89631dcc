"""A whole log: what stands before a message, tracebacks without values, and each message word by word."""

from __future__ import annotations

import re
from typing import NamedTuple

from unfrag.doctor.allowed import vocabulary
from unfrag.doctor.allowed.line import allow, shape
from unfrag.doctor.allowed.paths import GAP
from unfrag.doctor.probes.log import prefix
from unfrag.redaction import TAKEN, redact

_FRAME = re.compile(
    r'^(?P<indent>\s*)File "(?P<path>[^"]{1,400})", line (?P<line>\d{1,6})(?:, in (?P<function>\S{1,100}))?\s*$'
)
_MARKS = re.compile(r"^[\s^~]+$")
_CODE = re.compile(r"^\s\s.*(?:[\w\])]\(|[\w\])] ?=|\breturn\b|\braise\b|self\.|\.\w)")
_TEXTS = re.compile(r"(?P<quote>\"{3}|'{3}|[\"'])(?P<text>.{1,500}?)(?P=quote)")
_OURS = frozenset(
    "vllm torch unfrag transformers triton sglang lmdeploy ray uvicorn fastapi starlette pydantic asyncio multiprocessing".split()
)
_STDLIB = re.compile(r"/lib(?:64)?/python3\.\d{1,2}/")
_PACKAGES = ("/site-packages/", "/dist-packages/")
_DATES = re.compile(
    r"\b\d{4}-\d\d-\d\d(?:T[\d:.,]{5,18}(?:Z|[+-]\d\d:?\d\d)?)?\b|\b\d\d-\d\d(?= \d\d:)|\b[A-Z][a-z]{2}\s+\d{1,2}(?= \d\d:)"
)


class Log(NamedTuple):
    """``known``: lines of which nothing was left out; ``lines``: those that say anything."""

    text: str
    known: int
    lines: int


def allow_log(text: str) -> Log:
    """A log with only what is known, line for line."""
    kept, known, lines, in_known_file = [], 0, 0, False
    for line in redact(text).split("\n"):
        raw = prefix.strip_colour(line)
        _, message = prefix.split(raw)
        before = raw[: len(raw) - len(message)] if message and raw.endswith(message) else ""
        told, whole, in_known_file = _message(message if before else raw, in_known_file)
        head, head_whole = _head(before)
        kept.append(head + told)
        lines += bool(line.strip())
        known += bool(line.strip()) and whole and head_whole
    return Log("\n".join(kept), known, lines)


def _head(before: str) -> tuple[str, bool]:
    """Time, level, process, file and line."""
    told, done, whole = [], 0, True
    for found in _DATES.finditer(before):
        part = allow(before[done : found.start()], plain=True)
        told += [part.text, found[0]]
        done, whole = found.end(), whole and part.whole
    rest = allow(before[done:], plain=True)
    return "".join([*told, rest.text]), whole and rest.whole


def _message(text: str, in_known_file: bool) -> tuple[str, bool, bool]:
    """(what stays, nothing left out?, is the next line the source of a known file?)."""
    frame = _FRAME.match(text)
    if frame is not None:
        return _frame(frame)
    if in_known_file and _MARKS.match(text):
        return text, True, False
    if in_known_file and _CODE.match(text):
        said = allow(_TEXTS.sub(_literal, text), plain=True)
        return said.text, said.whole, True
    said = allow(text)
    return said.text, said.whole, False


def _literal(found: re.Match[str]) -> str:
    stays = found["text"] == TAKEN or vocabulary.is_identifier(found["text"]) or vocabulary.is_word(found["text"])
    return found["quote"] + (found["text"] if stays else shape(found["text"])) + found["quote"]


def _frame(found: re.Match[str]) -> tuple[str, bool, bool]:
    path, ours = _source_path(found["path"])
    function = found["function"]
    if function is not None:
        bare = function.strip("<>")
        known = ours and (vocabulary.is_plain(bare) or bare in ("module", "lambda", "listcomp", "genexpr", "dictcomp"))
        function = function if known else shape(function)
    told = f'{found["indent"]}File "{path}", line {found["line"]}' + (f", in {function}" if function else "")
    return told, ours, ours


def _source_path(path: str) -> tuple[str, bool]:
    """(a source file's path from its package on, is that one of those that are known?)."""
    at = max((path.rfind(folder) for folder in _PACKAGES), default=-1)
    library = _STDLIB.search(path)
    if at >= 0:
        inside, shown = path[at:].split("/", 2)[2], path[at:].split("/", 2)[1]
    elif library is not None:
        inside, shown = path[library.end() :], library[0].strip("/")
    else:
        parts = path.split("/")
        first = next((i for i, part in enumerate(parts) if part in _OURS), None)
        inside, shown = ("/".join(parts[first:]), "") if first is not None else (path, "")
        if first is None and not (len(parts) == 1 and vocabulary.is_plain(path.removesuffix(".py"))):
            return GAP, False
    told = [
        part if part in ("v0", "v1", "v2") or vocabulary.is_plain(part.removesuffix(".py")) else GAP
        for part in inside.split("/")
    ]
    return "/".join([GAP, *filter(None, [shown]), *told]), GAP not in told
