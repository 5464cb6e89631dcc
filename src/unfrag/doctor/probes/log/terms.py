"""Words of a log's lines of trouble: what the weigher of hypotheses goes by where no message is known.

A term is a word, or two neighbours, of a line that tells of trouble or of the few lines behind it; the file and the
function of a frame; a flag; a concept of ``concepts.toml``. Only terms of :func:`vocabulary` are kept, so that nothing of a user's is.
"""

from __future__ import annotations

import re
from functools import cache

from unfrag.doctor.probes.log import prefix
from unfrag.system import resources

# Case matters to the search; a word's first letter is left out.
TRIGGERS = (
    "rror",
    "xception",
    "raceback",
    "ailed",
    "ailure",
    "WARN",
    "arning",
    "RITICAL",
    "atal",
    "bort",
    "illed",
    "imeout",
    "imed out",
    "annot",
    "ould not",
    "nable to",
    "ot support",
    "ot found",
    "nvalid",
    "issing",
    "ismatch",
    "efused",
    "enied",
    "nsufficient",
    "xceed",
    "ut of memory",
    "stuck",
    "hang",
    "reempt",
    "egfault",
    "rashe",
    "leak",
)
AT_MOST = 120
"""Lines of trouble that are read, half of them the last ones."""
_BEHIND = 10
_SMALL = 24_000
_PASTED = 80  # lines: nobody pastes fewer without a reason
_LINE = 600
_ACCESS = re.compile(r'HTTP/1\.[01]"? \d{3}|"(?:GET|POST) /')
_FRAME = re.compile(r'File "(?:[^"]*/)?([\w.-]+)", line \d+, in ([\w<>]+)')
_WORD = re.compile(r"--[a-z][a-z0-9-]+|[A-Za-z_][A-Za-z0-9_]{2,39}|[\u4e00-\u9fff]{2,20}")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]{3,}")
# What is said not to be there.
_DENIED = re.compile(
    r"\b(?:no|without(?: any)?|never(?: an?)?|n[o']t an?)\s+(?:\w{1,12}\s)?(?:oom|errors?|exceptions?|crash(?:es)?|warnings?|leaks?)\b"
    r"(?: at all)?|没有(?:任何)?\S{0,4}(?:报错|错误|异常)|无(?:任何)?报错|未见(?:报错|异常)|日志正常",
    re.IGNORECASE,
)
_TOO_COMMON = frozenset(
    [
        "the",
        "and",
        "for",
        "that",
        "this",
        "with",
        "from",
        "are",
        "was",
        "has",
        "not",
        "you",
        "can",
        "but",
        "have",
        "all",
        "any",
        "its",
        "will",
        "use",
        "which",
        "when",
        "only",
        "been",
        "line",
        "file",
        "info",
        "error",
        "warning",
        "vllm",
        "core",
        "engine",
        "python",
        "lib",
        "site",
        "packages",
        "dist",
        "usr",
        "local",
        "home",
        "root",
        "user",
    ]
)


def terms(text: str) -> set[str]:
    """All terms of a text, of any vocabulary."""
    text = _DENIED.sub(" ", text)
    low_text = text.lower()
    found = {f"about:{name}" for name, pattern in _concepts().items() if pattern.search(low_text)}
    before = ""
    for line in text.splitlines():
        if frame := _FRAME.search(line):
            found |= {f"file:{frame[1]}", f"in:{frame[2]}"}
            continue
        for word in _WORD.findall(line[:_LINE]):
            if word[0] >= "\u4e00":
                found |= {word[i : i + 2] for i in range(len(word) - 1)}
                before = ""
                continue
            low = word.lower()
            if not low.startswith("--"):
                humps = _HUMP.findall(word)
                if len(humps) > 1:
                    found |= {hump.lower() for hump in humps if len(hump) > 2}
            if low in _TOO_COMMON:
                before = ""
                continue
            found.add(low)
            if before:
                found.add(f"{before} {low}")
            before = low
        before = ""
    return found


@cache
def _concepts() -> dict[str, re.Pattern[str]]:
    table = resources.table("unfrag.doctor.probes.log", "concepts.toml")["concepts"]
    return {name: re.compile(pattern) for name, pattern in table.items()}


@cache
def vocabulary() -> frozenset[str]:
    """The terms of which the weigher has learned something."""
    return frozenset(resources.text("unfrag.doctor.probes.log", "terms.txt").splitlines())


class Troubles:
    """Collects the lines that tell of trouble, a bounded number; of a short text without one, all lines."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._last: list[str] = []
        self._whole: list[str] | None = []
        self._length = 0

    def see(self, chunk: bytes) -> None:
        """Keep a short text whole, as long as it may be one."""
        if self._whole is None:
            return
        self._length += len(chunk)
        if self._length > 64 * _SMALL:
            self._whole = None
            return
        kept = [line for line in chunk.decode("utf-8", "replace").splitlines() if not _ACCESS.search(line)]
        self._whole += kept
        if sum(map(len, self._whole)) > _SMALL:
            self._whole = None

    def add(self, chunk: bytes, start: int) -> None:
        """The line at ``start`` and the few behind it."""
        end = start
        for _ in range(_BEHIND):
            at = chunk.find(b"\n", end)
            end = len(chunk) if at < 0 else at + 1
            if at < 0:
                break
        text = chunk[start : min(end, start + _BEHIND * _LINE)].decode("utf-8", "replace")
        if _ACCESS.search(text.split("\n", 1)[0]):
            return
        if len(self._first) < AT_MOST // 2:
            self._first.append(text)
        else:
            self._last = [*self._last[-AT_MOST // 2 + 1 :], text]

    def text(self) -> str:
        """What was kept, without what stands before each line's message."""
        short = self._whole is not None and (not self._first or len(self._whole) < _PASTED)
        texts = self._whole or [] if short else [*self._first, *self._last]
        lines = dict.fromkeys(prefix.split(line)[1][:_LINE] for text in texts for line in text.splitlines())
        kept = "\n".join(lines)
        return kept if len(kept) <= _SMALL else f"{kept[: _SMALL // 2]}\n{kept[-_SMALL // 2 :]}"
