"""The frames of the traceback that belongs to a message."""

from __future__ import annotations

import re

from unfrag.doctor.probes.log import prefix

BACK_BYTES, _BACK_FRAMES = 49_152, 80
_LINE = 4000
_FRAME = re.compile(r'File "(?:[^"]*/)?([^"/]+/[^"/]+|[^"/]+)", line \d+, in (\S+)')
_SHORT_FRAME = re.compile(r"^\s*(?:\.\.\.|…)\s*(?:in )?(\S.{2,100})|^\s*in ([\w.]+ \([\w./]+\.py.{0,10}\))")


def before(earlier: bytes, chunk: bytes, start: int, rank: str) -> tuple[str, ...]:
    """``file.py:function`` of the traceback that ends here, outermost first."""
    back = chunk[max(0, start - BACK_BYTES) : start]
    if len(back) < BACK_BYTES:
        back = earlier[-(BACK_BYTES - len(back)) :] + back
    frames: list[str] = []
    for line in reversed(back.decode("utf-8", "replace").splitlines()):
        own, text = prefix.split(line[:_LINE])
        if rank and own and own != rank:
            continue
        if "Traceback (most recent call last)" in text:
            break
        if (found := _FRAME.search(text)) is not None:
            frames.append(f"{found[1]}:{found[2]}")
        elif (short := _SHORT_FRAME.match(text)) is not None:  # people shorten tracebacks
            frames.append(f":{short[1] or short[2]}")
        if len(frames) >= _BACK_FRAMES:
            break
    if frames:
        return tuple(reversed(frames))
    return _after(chunk, start, rank)


def _after(chunk: bytes, start: int, rank: str) -> tuple[str, ...]:
    """Some programs print the message first and its traceback behind it."""
    frames: list[str] = []
    for line in chunk[start : start + BACK_BYTES].decode("utf-8", "replace").splitlines()[1:_BACK_FRAMES]:
        own, text = prefix.split(line[:_LINE])
        if (rank and own and own != rank) or not text.strip():
            continue
        if (found := _FRAME.search(text)) is not None:
            frames.append(f"{found[1]}:{found[2]}")
        elif text.startswith(("INFO", "WARNING")) or (frames and "Traceback" in text):
            break
    return tuple(frames)
