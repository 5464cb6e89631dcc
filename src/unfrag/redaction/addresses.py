"""Logins, signatures and questions in URLs and DSNs."""

from __future__ import annotations

import re

from unfrag.redaction.names import is_of_users, is_secret
from unfrag.redaction.taken import TAKEN

_LOGIN = re.compile(
    r"(?P<scheme>(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?P<login>[^\s'\"<>/@:]{0,300}(?::(?!\d{1,5}/)[^\s'\"<>@]{0,300})?)@"
    r"(?:[^\s'\"<>@/]{0,300}@)*"
)
_DSN = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}:(?P<word>[^\s:@'\"/]{3,128})@(?=(?:tcp|unix)\(|[A-Za-z0-9][\w-]*[.:/\w])")
_PARAMETER = re.compile(
    r"(?P<name>[?&;][\w.\[\]-]{1,64}=)(?P<value>[^&\"<>;#\n]{1,2000}(?= HTTP/\d)|[^\s&'\"<>;#]{1,4000})"
)
_DATA = re.compile(r"(?<=;base64,)[A-Za-z0-9+/=_-]{8,}")
_SHORT = frozenset("q s sig se sp skoid code state key token t k p text".split())
_SIGNED = re.compile(r"(?i)^x-(?:amz|goog|ms|oss|cos)-")
_NUMBER = re.compile(r"\d{1,6}")


def redact(text: str) -> str:
    """Without what gives access, and what was asked by address."""
    if "@" in text:
        text = _LOGIN.sub(lambda found: found["scheme"] + TAKEN + "@", text)
        text = _DSN.sub(lambda found: found[0].replace(found["word"] + "@", TAKEN + "@"), text)
    text = _DATA.sub(TAKEN, text)
    return _PARAMETER.sub(_parameter, text) if "=" in text else text


def _parameter(found: re.Match[str]) -> str:
    name = found["name"][1:-1]
    if found["name"][0] == ";" or _NUMBER.fullmatch(found["value"]):
        return found[0]
    hidden = is_secret(name) or is_of_users(name) or name.lower() in _SHORT or _SIGNED.match(name)
    return found["name"] + TAKEN if hidden else found[0]
