"""A server's command line as text: read its flags, change some of its words, leave every other byte alone."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import lru_cache

from unfrag.errors import UsageError

# A bare flag takes no value; the word after it belongs to something else.
_BARE = re.compile(r"^--(no-|enable-|disable-|enforce-|trust-|skip-|use-)")
LONGEST = 128 << 10
"""Bytes: Linux takes no longer word (``MAX_ARG_STRLEN``), and no server is started by as many words."""
_GAP = re.compile(r"(?:[ \t\r\n]|\\\r?\n)++")
_COMMENT = re.compile(r"(?<=[ \t\r\n])[;#][^\n]*")
_BARE_TEXT = re.compile(r"[^ \t\r\n'\"\\]++")
_QUOTED_TEXT = {"'": re.compile(r"[^']*+"), '"': re.compile(r'(?:[^"\\]++|\\(?![\"\\]))*+')}


@dataclass(frozen=True)
class Word:
    """One shell word: where it stands in the text, what it says without quotes, and whether its quotes are closed."""

    start: int
    end: int
    text: str
    closed: bool = True


def split(text: str) -> list[Word]:
    """Shell words with their places. A backslash before a line end is white space; `` ;`` starts a comment (INI).

    An unclosed quote runs to the end of the text.
    """
    return list(_words(text))


@lru_cache(8)
def _words(text: str) -> tuple[Word, ...]:
    words: list[Word] = []
    i = 0
    while i < len(text):
        if (gap := _GAP.match(text, i) or _COMMENT.match(text, i)) is not None:
            i = gap.end()
        else:
            word = _one_word(text, i)
            words.append(word)
            i = word.end
    return tuple(words)


def _one_word(text: str, start: int) -> Word:
    said: list[str] = []
    i, closed = start, True
    while i < len(text) and _GAP.match(text, i) is None:
        char = text[i]
        if char in _QUOTED_TEXT:
            inside, i, closed = _quoted(text, i)
            said.append(inside)
        elif char == "\\":
            said.append(text[i + 1 : i + 2] or char)
            i += 2
        elif (bare := _BARE_TEXT.match(text, i)) is not None:
            said.append(bare[0])
            i = bare.end()
    return Word(start, min(i, len(text)), "".join(said), closed)


def _quoted(text: str, i: int) -> tuple[str, int, bool]:
    """(what stands between the quotes, the place behind them, is there a closing one?)."""
    quote, said = text[i], []
    i += 1
    while True:
        found = _QUOTED_TEXT[quote].match(text, i)
        assert found is not None  # it may be empty
        said.append(found[0])
        i = found.end()
        if text[i : i + 1] != "\\":
            break
        said.append(text[i + 1])
        i += 2
    return "".join(said), i + 1, i < len(text)


def must_be_short(command: str) -> None:
    """Raises UsageError: no server can be started with so long a command."""
    if len(command) > LONGEST:
        raise UsageError(f"the command is longer than {LONGEST >> 10} KiB: nothing can be started with it")


def must_be_startable(command: str) -> None:
    """Raises UsageError: whoever starts this command cannot read it, so that it must not be edited."""
    if "\0" in command:
        raise UsageError("there is a NUL in the command: nothing can be started with it. Nothing was changed")
    if not all(word.closed for word in split(command)):
        raise UsageError("a quote is never closed in the command: close it by hand first. Nothing was changed")


def flag_name(word: str) -> str:
    """``--max_num_seqs=8`` -> ``--max-num-seqs``: vLLM takes both spellings."""
    return word.split("=", 1)[0].replace("_", "-")


@dataclass(frozen=True)
class _Flag:
    name: str
    value: str | None
    first: int
    last: int  # index of its last word


def _flags(words: list[Word]) -> list[_Flag]:
    found: list[_Flag] = []
    i = 0
    while i < len(words):
        text = words[i].text
        if text.startswith("--") and len(text) > 2:
            name = flag_name(text)
            if "=" in text:
                found.append(_Flag(name, text.split("=", 1)[1], i, i))
            elif i + 1 < len(words) and not words[i + 1].text.startswith("--") and not _BARE.match(name):
                found.append(_Flag(name, words[i + 1].text, i, i + 1))
                i += 1
            else:
                found.append(_Flag(name, None, i, i))
        i += 1
    return found


def strays(text: str) -> dict[str, list[str]]:
    """The words behind a flag and its one value: a second value of it, or nobody's. By the flag before them."""
    words = split(text)
    flags = _flags(words)
    ends = [*(flag.first for flag in flags[1:]), len(words)]
    found = {
        flag.name: [word.text for word in words[flag.last + 1 : end]] for flag, end in zip(flags, ends, strict=False)
    }
    return {name: rest for name, rest in found.items() if rest}


def read_flags(text: str) -> dict[str, str | None]:
    """Every ``--flag``, last one wins; the value is None for a bare flag."""
    return {flag.name: flag.value for flag in _flags(split(text))}


def change_flags(text: str, changes: dict[str, str | None], remove: tuple[str, ...] = ()) -> str:
    """The same text with these flags set (None: bare) or removed. New ones go behind the last word.

    Setting a flag also takes its opposite away (``--no-x`` for ``--x``), and any repetition of it.
    Names are compared as vLLM does, ``_`` and ``-`` alike.
    """
    words = split(text)
    edits: list[tuple[int, int, str]] = []
    done: set[str] = set()
    gone = {flag_name(name) for name in remove} | {_opposite(flag_name(name)) for name in changes}
    wanted = {flag_name(name): value for name, value in changes.items()}
    for flag in reversed(_flags(words)):
        first, last = words[flag.first], words[flag.last]
        if flag.name in gone or (flag.name in wanted and flag.name in done):
            edits.append((*_with_space(text, first.start, last.end), ""))
        elif flag.name in wanted:
            done.add(flag.name)
            if flag.value != wanted[flag.name]:
                edits.append((first.start, last.end, _spell(flag.name, wanted[flag.name])))
    new = [_spell(name, value) for name, value in wanted.items() if name not in done]
    if new:
        end = words[-1].end if words else len(text)
        edits.append((end, end, "".join(" " + flag for flag in new)))
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return _ended(text) if edits else text


def _ended(text: str) -> str:
    """Behind its last word a line goes on no more."""
    words = split(text)
    end = words[-1].end if words else 0
    behind = re.sub(r"(?<![ \t])[ \t]*\\(?=\r?\n)", "", text[end:])
    return text[:end] + (behind if behind.strip() else "")


def change_words(text: str, words: dict[str, str]) -> str:
    """The same text with the first of each of these words spelled otherwise; a replacement may be several words."""
    for old, new in words.items():
        found = next((word for word in split(text) if word.text == old), None)
        if found is not None:
            text = text[: found.start] + new + text[found.end :]
    return text


def _opposite(name: str) -> str:
    return "--" + name.removeprefix("--no-") if name.startswith("--no-") else "--no-" + name.removeprefix("--")


def _with_space(text: str, start: int, end: int) -> tuple[int, int]:
    """What goes away with words between these places: the space before them, and their line when they fill it."""
    while start and text[start - 1] in " \t":
        start -= 1
    rest = re.match(r"[ \t]*\\?(?:\r?\n|$)", text[end:])
    if start and text[start - 1] == "\n" and rest is not None:
        end += rest.end()
    return start, end


def _spell(name: str, value: str | None) -> str:
    if value is None:
        return name
    # As a word of its own, such a value would read as the next flag, or as nobody's.
    if value.startswith("-") or _BARE.match(name):
        return shlex.quote(f"{name}={value}")
    return f"{name} {shlex.quote(value)}"
