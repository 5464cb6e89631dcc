"""Where the value of a name ends: quoted, in brackets, a block of YAML, several words of a flag, or one word."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONGEST_TEXT, _LONGEST_KEY, _LONGEST_LINE = 16_000, 4_000, 64_000
_QUOTE = re.compile(r"(?:[bBrRuUfF]{1,2}(?=[\"']))?(\\{0,8})(\"\"\"|'''|[\"'`])")
_BARE = re.compile(r"(?:\\[ ](?=[^\s\-])|[^\s\"'`])+")
_JOINED = re.compile(
    r"(?:\\[\"'](?=[\"'\w])|'(?![,\s\]})])[^'\n]{0,2000}'|\"(?![,\s\]})])[^\"\n]{0,2000}\"|(?<=[\"'])\w{1,200})+"
)
_HEADER = re.compile(r"(?:=\\{0,8}\"[^\"\n]{0,2000}\"|[^\"'\n])*")
_BLOCK = re.compile(r"[|>][+-]?\d?[ \t]*\n")
_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|digest|apikey|negotiate|aws4-hmac-sha256|[\w.-]{1,60}:)[ \t]+")
_BEGINS = re.compile(r"\n(?=\S{0,60}[ \t]?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b[: ]{1,6}\d\d|\d{4}-\d\d-\d\d)")
_TRAILING = ",;)]}."
_UNCLOSED_TRIES = 200


@dataclass
class Reader:
    """Of one text. Brackets that never close are searched for a few times only, so that the work stays linear."""

    text: str
    tries: int = _UNCLOSED_TRIES

    def quoted(self, at: int, several_lines: bool) -> tuple[int, int] | None:
        """(start, end) inside the quotes that begin here; None when none do."""
        found = _QUOTE.match(self.text, at)
        if found is None:
            return None
        limit = min(len(self.text), found.end() + (_LONGEST_TEXT if several_lines else _LONGEST_KEY))
        if not several_lines:
            limit = min(limit, self.end_of_line(found.end()))
        end = self._closing(found.end(), limit, found[1], found[2])
        if end >= 0:
            return found.end(), end
        return found.end(), self._unclosed(found.end()) if several_lines else limit

    def joined(self, end: int) -> int:
        """The end of a shell's word of which one quoted part ends here: ``'it'\\''s'``."""
        found = _JOINED.match(self.text, end + 1)
        if found is None or self.text[end : end + 1] not in ("'", '"'):
            return end
        return found.end() - (found[0][-1] in "\"'")

    def enclosing(self, name_at: int, at: int) -> int | None:
        """Where the quotes end that begin right before this name; None when none do."""
        quote, before = self.text[name_at - 1 : name_at], name_at - 1
        if not name_at or quote not in ("'", '"', "`"):
            return None
        while before and self.text[before - 1] == "\\":
            before -= 1
        end = self._closing(at, self.end_of_line(at), self.text[before : name_at - 1], quote)
        return end if end >= 0 else None

    def header(self, at: int) -> int:
        """The end of a header's value, which may hold quoted parts."""
        found = _HEADER.match(self.text, at, self.end_of_line(at))
        return found.end() if found is not None else at

    def _closing(self, at: int, limit: int, slashes: str, quote: str) -> int:
        """Where this quote stands again, behind as many backslashes."""
        while (at := self.text.find(quote, at, limit)) >= 0:
            before = at
            while before and self.text[before - 1] == "\\":
                before -= 1
            if at - before == len(slashes) and not self._in_a_word(before, at + len(quote)):
                return before
            at += len(quote)
        return -1

    def _in_a_word(self, before: int, after: int) -> bool:
        """Is this an apostrophe?"""
        return self.text[before - 1 : before].isalpha() and self.text[after : after + 1].isalpha()

    def _unclosed(self, at: int) -> int:
        """A text whose end is not to be found: up to the next line that a logger began."""
        found = _BEGINS.search(self.text, at, at + _LONGEST_TEXT)
        return found.start() if found is not None else self.end_of_line(at)

    def bracketed(self, at: int, several_lines: bool) -> int:
        """The end of what is in these brackets, or of the line when they never close."""
        if self.tries > 0:
            depth, end = 0, min(len(self.text), at + _LONGEST_TEXT)
            for found in _BRACKETS.finditer(self.text, at, end if several_lines else self.end_of_line(at)):
                depth += 1 if found[0] in "[{(" else -1 if found[0] in "]})" else 0
                if depth == 0:
                    return found.end()
            self.tries -= 1
        return self.end_of_line(at)

    def block(self, at: int, name_at: int) -> int | None:
        """The end of YAML's ``|`` or ``>`` text that begins here: the lines that are indented deeper than its name."""
        found = _BLOCK.match(self.text, at)
        if found is None:
            return None
        line = self.text[self.text.rfind("\n", 0, name_at) + 1 : name_at]
        depth, end = len(line) - len(line.lstrip(" +-")), found.end()
        while end < len(self.text):
            next_line = self.text[end : (stop := self.end_of_line(end))]
            if next_line.strip() and len(next_line) - len(next_line.lstrip(" +-")) <= depth:
                break
            end = stop + 1
        return min(end, len(self.text)) - (1 if end <= len(self.text) and self.text[end - 1 : end] == "\n" else 0)

    def bare(self, at: int) -> int:
        """One word; a name for how one logs in (Bearer), or of what it is (``token: K``), belongs to it."""
        scheme = _SCHEME.match(self.text, at)
        found = _BARE.match(self.text, scheme.end() if scheme else at)
        if found is None:
            return at
        return found.end() - (len(found[0]) - len(found[0].rstrip(_TRAILING)))

    def end_of_line(self, at: int) -> int:
        """Of the line that this place is in; a line that never ends is cut, so that the work stays linear."""
        limit = min(len(self.text), at + _LONGEST_LINE)
        end = self.text.find("\n", at, limit)
        return limit if end < 0 else end


_BRACKETS = re.compile(r"\"(?:[^\"\\\n]|\\.){0,4000}\"|'(?:[^'\\\n]|\\.){0,4000}'|[\[\]{}()]")
