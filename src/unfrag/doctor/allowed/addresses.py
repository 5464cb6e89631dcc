"""Addresses of machines and their parts: IPv4, IPv6, MAC, GUID. Only those that every machine has for itself stay."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

# Four numbers or more with dots are an address or a version; nothing tells which.
_NUMBERS = re.compile(r"(?<!\d)\d{1,3}(?:\.\d{1,3}){3,}(?!\d)|(?<!\d)\d{1,3}(?:-\d{1,3}){3}(?!\d)")
_MAC = re.compile(
    r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4,18}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})"
    r"(?![0-9A-Fa-f])"
)
_GUID = re.compile(r"0x(?!f{4})[0-9A-Fa-f]{13}|(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{4}:){3}[0-9A-Fa-f]{4}(?![0-9A-Fa-f:])")
_COLONS = re.compile(r"(?<![0-9A-Za-z_])(?:[0-9A-Fa-f]{0,4}:){2,8}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_])")
_LOCAL = r"127(?:\.\d{1,3}){3}|0\.0\.0\.0|localhost|::1?"
_OWN = re.compile(_LOCAL)
_ALONE = re.compile(rf"(?:(?:https?|tcp|udp|grpc|zmq|wss?|redis)://)?\[?(?:{_LOCAL})\]?(?::\d{{1,5}})?(?:/\d{{0,2}})?")


def is_own(word: str) -> bool:
    """Is it the address that every machine has for itself, with or without a port: ``http://127.0.0.1:8000``?"""
    return bool(_ALONE.fullmatch(word))


def is_others(word: str) -> bool:
    """Is there an address in it that is one machine's or one card's?"""
    if _MAC.search(word) or _GUID.search(word):
        return True
    if any(not _OWN.fullmatch(found[0]) for found in _NUMBERS.finditer(word)):
        return True
    return any(_is_v6(found[0]) for found in _COLONS.finditer(word))


def _is_v6(text: str) -> bool:
    text = text.removesuffix(":") if not text.endswith("::") else text
    try:
        return not _OWN.fullmatch(text) and bool(IPv6Address(text))
    except AddressValueError:
        return text.count("::") == 1 and len(text) > len("::")  # with a port, or cut off
