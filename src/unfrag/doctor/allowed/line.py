"""One line, word by word: what is known stays, the rest becomes its shape."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from unfrag.doctor.allowed import addresses, digits, numbers, phrases, tokens, vocabulary
from unfrag.redaction import TAKEN

_MARK = re.compile(re.escape(TAKEN) + r"|\[text of \d{1,9} characters\]")
_TOKEN = re.compile(_MARK.pattern + "|" + phrases.SPLIT.pattern)
_GIVES = re.compile(r"[\"'`]?\s{0,4}[:=]\s{0,4}[\"'`\[(]?")
_SPACE = re.compile(r"[ \t(\[#=]{1,3}")
_LETTERS = re.compile(r"[^\W\d_]+")
_PINNED = re.compile(r"(?:[ \t]{0,40}+[=~<>!]=?=?[ \t]{0,40}+|[ \t]{1,80}+)v?\d{1,4}\.\d")
_LONGEST, _SUFFIX = 4_000, 2
_SHORT_NUMBER, _KEYS_NUMBER, _SIZE, _CARD = 4, 6, 16, 2  # digits
_ENDS = ".:*!?"
_COUNTED = frozenset(
    "gpu npu xpu hpu rank pid card node device engine layer line port worker http/1.1 stage block tp pp dp rtx pro".split()
)
_STATUS = re.compile(r"\" ?")


class Allowed(NamedTuple):
    """``whole``: nothing of it was left out."""

    text: str
    whole: bool


def shape(text: str) -> str:
    """What is said of a text that does not stay."""
    return f"[text of {len(text)} characters]"


@lru_cache(1 << 12)
def allow(line: str, plain: bool = False) -> Allowed:
    """A line with only what is known. ``plain``: only programs write here, so that single known words stay as well."""
    rest = ""
    if len(line) > _LONGEST:
        line, rest = line[:_LONGEST], " " + shape(line[_LONGEST:])
    found = list(_TOKEN.finditer(line))
    stays = [_stays(match[0], plain) for match in found]
    _with_their_neighbours(line, found, stays)
    _keys(line, found, stays)
    _numbers(line, found, stays)
    _never(line, found, stays)
    return Allowed(_written(line, found, stays) + rest, None not in stays and not rest)


def _stays(token: str, plain: bool) -> str | None:
    if _MARK.fullmatch(token):
        return token
    told = tokens.kept(token, plain)
    if told is None and token[-1] in _ENDS and (bare := token.rstrip(_ENDS)):
        told = tokens.kept(bare, plain)
        return None if told is None else told + token[len(bare) :]
    return told


def _with_their_neighbours(line: str, found: list[re.Match[str]], stays: list[str | None]) -> None:
    """Words of known messages."""
    words = [(at, word) for at, match in enumerate(found) if (word := phrases.word_of(match[0]))]
    for place in phrases.known_together([word for _, word in words]):
        at = words[place][0]
        stays[at] = stays[at] or (found[at][0] if _is_short(found[at][0]) else None)
    for known in phrases.of_the_doctor(line) if None in stays else ():
        for at, match in enumerate(found):
            if stays[at] is None and known.says(match.start(), match[0]):
                stays[at] = match[0]


def _is_short(token: str) -> bool:
    """No number that is longer than a size in bytes, and none that is rather a word: ``7hunter2``."""
    letters = _LETTERS.findall(token) if token[:1].isdigit() else []
    is_word = len(letters) > 1 or any(len(word) > _SUFFIX and not vocabulary.is_unit(word) for word in letters)
    return not is_word and sum(char.isdigit() for char in token) <= _SIZE


def _keys(line: str, found: list[re.Match[str]], stays: list[str | None]) -> None:
    """Names of arguments: ``model=…``, ``'seed': …``, and of packages: ``xgrammar==0.1.25``."""
    for at, match in enumerate(found):
        behind = line[match.end() : match.end() + 2]
        named = match[0].rstrip(":") in tokens.fields() and (behind[:1] == "=" or behind in ("':", '":'))
        size = len(match[0]) == 1 and behind[:1] == "=" and behind[1:].isdigit()  # E=128,N=768
        if stays[at] is None and (named or size or _is_pinned(line, match)):
            stays[at] = match[0]


def _is_pinned(line: str, found: re.Match[str]) -> bool:
    return vocabulary.is_package(found[0]) and bool(_PINNED.match(line, found.end()))


def _numbers(line: str, found: list[re.Match[str]], stays: list[str | None]) -> None:
    """Numbers beside their name or their unit, and the units."""
    for at, match in enumerate(found):
        bare = match[0].rstrip(_ENDS)
        if not numbers.NUMBER.fullmatch(bare):
            continue
        digits = sum(char.isdigit() for char in bare)
        behind = found[at + 1] if at + 1 < len(found) else None
        near = behind is not None and line[match.end() : behind.start()] in (" ", "  ", "")
        if behind is not None and near and digits <= _SIZE and vocabulary.is_unit(behind[0].rstrip(_ENDS)):
            stays[at], stays[at + 1] = match[0], behind[0]
            continue
        if stays[at] is not None or not at:
            continue
        before, between = found[at - 1], line[found[at - 1].end() : match.start()]
        if _told_by(before[0].rstrip(_ENDS), between, before[0], digits):
            stays[at], stays[at - 1] = match[0], stays[at - 1] or before[0]
        elif between == "," and stays[at - 1] == before[0] and before[0].isdigit() and digits <= _CARD:
            stays[at] = match[0]


def _never(line: str, found: list[re.Match[str]], stays: list[str | None]) -> None:
    """What is one machine's or one person's goes, whatever stands around it."""
    people = digits.of_people(line)
    for at, match in enumerate(found):
        start, end = match.span()
        if addresses.is_others(match[0]) or any(first < end and start < last for first, last in people):
            stays[at] = None


def _told_by(name: str, between: str, raw: str, digits: int) -> bool:
    """Is this word the name of the number behind it?"""
    gives = _GIVES.fullmatch(between) or (raw.endswith(":") and _SPACE.fullmatch(between))
    if tokens.is_flag(name) and (gives or _SPACE.fullmatch(between)) and name.startswith("--"):
        return digits <= _SIZE
    if name == "HTTP/1.1":
        return bool(_STATUS.fullmatch(between)) and digits == 3
    if gives:
        short = vocabulary.is_plain(name) and digits <= _KEYS_NUMBER
        return (tokens.is_key(name) and digits <= _SIZE) or short
    counted = name.lower() in _COUNTED and digits <= _SHORT_NUMBER
    return bool(_SPACE.fullmatch(between)) and (counted or (vocabulary.is_identifier(name) and digits <= _KEYS_NUMBER))


def _written(line: str, found: list[re.Match[str]], stays: list[str | None]) -> str:
    """The line again; what was left out in a row has one shape, with the signs in it."""
    kept, done, at = [], 0, 0
    while at < len(found):
        last = at
        if stays[at] is None:
            while last + 1 < len(found) and stays[last + 1] is None:
                last += 1
            told = shape(line[found[at].start() : found[last].end()])
        else:
            told = stays[at] or ""
        kept += [_signs(line[done : found[at].start()]), told]
        done, at = found[last].end(), last + 1
    return "".join([*kept, _signs(line[done:])])


def _signs(between: str) -> str:
    return "".join(char if char.isascii() else GAP_SIGN for char in between)


GAP_SIGN = "…"
