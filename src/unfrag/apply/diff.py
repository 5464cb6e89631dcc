"""A unified diff of two configurations in which no secret is shown, also not one that changed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from unfrag.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_AROUND = 3


def diff(before: bytes, after: bytes, name: str) -> str:
    """Compared as they are, and shown without keys, looked for in the whole text: one may have its own line."""
    return "\n".join(_lines(_text(before), _text(after), name))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n")


def _lines(before: str, after: str, name: str) -> Iterator[str]:
    old, new = _split(before), _split(after)
    shown_old, shown_new = _split(redact(before)), _split(redact(after))
    if old != new:
        yield from (f"--- {name}", f"+++ {name}")
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(_AROUND):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for what, i, j, k, m in group:
            if what == "equal":
                yield from (f" {line}" for line in shown_old[i:j])
            else:
                yield from (f"-{line}" for line in shown_old[i:j])
                yield from (f"+{line}" for line in shown_new[k:m])
                if shown_old[i:j] == shown_new[k:m]:
                    yield "\\ They differ in a key, which is not shown"


def _split(text: str) -> list[str]:
    return text.split("\n") if text else []


def _range(start: int, end: int) -> str:
    """As in a unified diff: counted from 1, and an empty range begins one line earlier."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"
