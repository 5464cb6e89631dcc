"""Values by the name before them, in any notation: ``api_key: K``, ``--api-key K``, ``["--api-key", "K"]``."""

from __future__ import annotations

import re

from unfrag.redaction.names import is_header, is_of_users, is_secret, is_weak
from unfrag.redaction.taken import instead
from unfrag.redaction.values import Reader

_NAME = re.compile(r"(?<![\w])(?P<name>-{0,2}[A-Za-z_][\w.-]{0,79})(?P<quote>\\{0,8}[\"'`]?)")
_GIVES = re.compile(
    r"\]?[ \t]{0,8}(?::=|=>|->|<<<|==?|:(?!:)|：)(?:[ \t]{0,8}\r?\n[+-]?[ \t]{1,64}(?=[\"'\[{]|[^\s:#\-][^\s:]{3,200}[ \t]{0,8}(?:\n|$))|[ \t]{0,8})"
)
_TUPLE = re.compile(r",[ \t]{0,4}(?=b?\\{0,8}[\"'])")
_OPENS = re.compile(r"[ \t]{1,4}(?=[{\[])")
_FLAG_GIVES = re.compile(
    r"(?:[ \t]*\\\r?\n[+\- ]?[ \t]*|,?(?:[ \t]{1,32}#[^\n]{0,200})?\s{1,64}(?:[+-]?[ \t]{0,32}-[ \t]+)?|,)(?![-#])"
)
_PAIR = re.compile(
    r"(?i:\b(?:name|key))\\{0,4}[\"']?\s{0,4}:\s{0,4}\\{0,4}[\"']?(?P<name>[\w.-]{1,80})\\{0,4}[\"']?\s{0,4},?\s{0,80}[+-]?\s{0,40}"
    r"\\{0,4}[\"']?(?i:value)\\{0,4}[\"']?\s{0,4}:[ \t]{0,8}"
)
_ELEMENT = re.compile(r">(?=[^<\n]{1,400}</)")
_SETS = re.compile(
    r"\b(?:setenv|setx|ENV|ARG|set(?:[ \t]{1,8}-{1,2}[\w-]{1,20}){1,4}"
    r"|config(?:ure)?(?:[ \t]{1,8}(?:set|add|-{1,2}[\w-]{1,20})){1,4})[ \t]{1,32}(?:\S{1,60}[:/.])?$"
)
_SET_WITHIN = 160
_SPACE = re.compile(r"[ \t]{1,32}")
_INSIDE = re.compile(r"[A-Za-z_][\w.]{0,60}(?=\([\"'])")
_CALL = re.compile(r"(?=\([\"'])")
_ATTRIBUTES = re.compile(
    r"(?i:\b(?:key|name))\s{0,4}=\s{0,4}[\"'](?P<name>[\w.-]{1,80})[\"']\s{1,80}(?i:value)\s{0,4}=\s{0,4}"
)
_NOTHING = re.compile(
    r"(?i)(?:none|null|nil|true|false|undefined|\"\"(?!\")|''(?!'))(?![\w-])|\[\]|\{\}|\$\{?\w+\}?(?![\w$])|\[taken out\]|$"
)
_NUMBER = re.compile(r"-?\d[\d.,_]*(?:[kKmMgGtT]?i?[bB]?|%|s|ms)?(?![\w-])")
_MORE = re.compile(r"[ \t]+(?![-\s#;&|<>\\])(?![A-Za-z_]\w*=)|,[ \t]*(?=[\"'](?!-))")
_ONE_WORD_LINE = re.compile(r"[ \t]+[^\s:=,;]+(?=[ \t]|$)", re.MULTILINE)
_OPENING = re.compile(r"\$?[bBrRuUfF]{0,2}\\{0,8}(?:\"\"\"|'''|[\"'`])")
_SMALL = re.compile(r"\d{1,3}(?=[\s,;)}\]]|$)")
_LONG_NUMBER, _RANDOM = 7, 8


def redact(text: str) -> str:
    """Without the values of secret names and of what users wrote."""
    reader, kept, done, at = Reader(text), [], 0, 0
    while (found := _next(text, at)) is not None:
        name, name_at, value_at, is_flag = found
        end = _end_of_secret(reader, name, name_at, value_at, is_flag) if is_secret(name) else None
        if end is None and is_of_users(name):
            end = _end_of_text(reader, name_at, value_at)
        if end is None or end <= value_at:
            at = name_at + max(1, len(name))
            continue
        start = _inside(text, value_at, end)
        kept += [text[done:start], instead(text[start:end])]
        done = at = end
    return "".join([*kept, text[done:]])


def _next(text: str, at: int) -> tuple[str, int, int, bool] | None:
    """(name, its place, its value's place, is it a flag with its value behind white space or a comma?)."""
    while (found := _NAME.search(text, at)) is not None:
        name, start = found["name"], found.start()
        if name.lower() in ("name", "key"):
            pair = _PAIR.match(text, start) or _ATTRIBUTES.match(text, start)
            if pair is not None and is_secret(pair["name"]):
                return pair["name"], start, pair.end(), False
        if is_secret(name) or is_of_users(name):
            if gives := _GIVES.match(text, found.end()):
                return name, start, gives.end(), False
            opened = text[start - 1 : start] in ("'", '"') and text[max(0, start - 3) : start - 1].rstrip("b").endswith(
                ("(", "[")
            )
            if opened and (gives := _TUPLE.match(text, found.end())):
                return name, start, gives.end(), False
            if is_secret(name) and (gives := _ELEMENT.match(text, found.end()) or _CALL.match(text, found.end())):
                return name, start, gives.end(), False
            if (
                is_secret(name)
                and _SETS.search(text[max(0, start - _SET_WITHIN) : start])
                and (gives := _SPACE.match(text, found.end()))
            ):
                return name, start, gives.end(), False
            if is_of_users(name) and (gives := _OPENS.match(text, found.end()) or _ELEMENT.match(text, found.end())):
                return name, start, gives.end(), False
            if name.startswith("--") and (gives := _FLAG_GIVES.match(text, found.end())):
                return name, start, gives.end(), True
        at = start + len(name)
    return None


def _end_of_secret(reader: Reader, name: str, name_at: int, at: int, is_flag: bool) -> int | None:
    text = reader.text
    if _NOTHING.match(text, at) or _SMALL.match(text, at) or (is_weak(name) and _is_harmless(name, text, at)):
        return None
    if (whole := _end_of_structure(reader, name_at, at)) is not None:
        return whole
    if text[at : at + 2] == "- ":
        return reader.end_of_line(at)
    if (call := _INSIDE.match(text, at)) is not None:  # SecretStr('…')
        return reader.bracketed(call.end(), several_lines=True)
    if text[at : at + 2] in ("$(", "<("):
        return reader.bracketed(at + 1, several_lines=False)
    if text[at : at + 2] in ("$'", '$"'):
        at += 1
    if (quoted := reader.quoted(at, several_lines=False)) is not None:
        return _more(reader, quoted[1]) if is_flag else reader.joined(quoted[1])
    if is_header(name) and ":" in text[max(0, at - 9) : at]:
        return reader.enclosing(name_at, at) or reader.header(at)
    opened = text[name_at - 1 : name_at] if name_at else ""
    end = reader.bare(at)
    if opened in ("'", '"', "`") and not is_flag:  # -e "KEY=some words"
        closing = text.find(opened, at, reader.end_of_line(at))
        return max(end, closing) if closing >= 0 and text[at - 1] == "=" else end
    if is_flag:
        return _more(reader, end)
    if text[at - 1] in " \t" and ":" in text[max(0, at - 9) : at]:
        while (word := _ONE_WORD_LINE.match(text, end)) is not None:
            end = word.end()
    return end


def _end_of_structure(reader: Reader, name_at: int, at: int) -> int | None:
    """Of a YAML block, of brackets, or of an XML element, if one begins here."""
    if (block := reader.block(at, name_at)) is not None:
        return block
    text = reader.text
    if text[at : at + 1] in ("[", "{", "("):
        return reader.bracketed(at, several_lines=True)
    element = text.find("</", at, reader.end_of_line(at)) if text[at - 1 : at] == ">" else -1
    return element if element >= 0 else None


def _is_harmless(name: str, text: str, at: int) -> bool:
    """A count of tokens, or a key of a table: a short number, or a plain word."""
    number = _NUMBER.match(text, at + (text[at : at + 1] in ("'", '"')))
    if number is not None and sum(char.isdigit() for char in number[0]) < _LONG_NUMBER:
        return True
    if name.strip("-").lower() != "key" or name.startswith("--"):
        return False
    word = re.match(r"[\"']?([^\s\"',;)}\]]*)", text[at : at + 200])
    return word is None or len(word[1]) < _RANDOM or not re.search(r"\d|[a-z][A-Z].*[a-z][A-Z]", word[1])


def _more(reader: Reader, end: int) -> int:
    """A flag may take several values: all up to the next flag, on its line."""
    text, closed = reader.text, end
    while True:
        after = closed + 1 if text[closed : closed + 1] in ("'", '"', "`") else closed
        found = _MORE.match(text, after)
        if found is None:
            return closed
        quoted = reader.quoted(found.end(), several_lines=False)
        closed = quoted[1] if quoted is not None else reader.bare(found.end())
        if closed <= found.end() and quoted is None:
            return after if closed < after else closed


def _end_of_text(reader: Reader, name_at: int, at: int) -> int | None:
    text = reader.text
    if _NOTHING.match(text, at) or _NUMBER.match(text, at):
        return None
    if (whole := _end_of_structure(reader, name_at, at)) is not None:
        return whole
    if (quoted := reader.quoted(at, several_lines=True)) is not None:
        # A text that runs over lines was not escaped: its quotes may be its own.
        return reader.end_of_line(quoted[1]) if "\n" in text[at : quoted[1]] else quoted[1]
    opened = text[name_at - 1 : name_at] if name_at else ""
    end = reader.end_of_line(at)
    closing = text.find(opened, at, end) if opened in ("'", '"') else -1
    return closing if closing >= 0 else end


def _inside(text: str, start: int, end: int) -> int:
    """The place behind the opening quote, so that the text stays well formed."""
    found = _OPENING.match(text, start, end)
    return found.end() if found is not None else start
