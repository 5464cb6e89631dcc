"""A pickle of plain data, read within bounds: its opcodes are looked through before anything is built.

Nothing in it is executed. Only opcodes that make numbers, texts, lists and dictionaries pass; a memo index beyond what
was kept so far, a text that is longer than any in a snapshot, and more opcodes than a large snapshot has are refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

_MOST_OPCODES = 4_000_000
_LONGEST = 1 << 20  # of one text or number, in bytes
_PLAIN = frozenset(
    [
        "PROTO",
        "FRAME",
        "STOP",
        "MARK",
        "POP",
        "POP_MARK",
        "DUP",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "SHORT_BINBYTES",
        "BINBYTES",
        "EMPTY_LIST",
        "APPEND",
        "APPENDS",
        "LIST",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "EMPTY_DICT",
        "DICT",
        "SETITEM",
        "SETITEMS",
        "GET",
        "BINGET",
        "LONG_BINGET",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "MEMOIZE",
    ]
)
_NAMES_CODE = ("GLOBAL", "STACK_GLOBAL", "INST")
_KEEPS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")


class Refused(Exception):
    """Why it was not read."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise Refused(f"it asks for {module}.{name}, which an allocator snapshot never does")

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("it refers to data outside the file")


class _Careful(io.BytesIO):
    """Hands out no more at a time than one text of a snapshot may have."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LONGEST:
            raise Refused("it holds a text or a number without end")
        return super().read(size)

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(_LONGEST)
        if len(line) == _LONGEST:
            raise Refused("it holds a text or a number without end")
        return line


def load(content: bytes) -> Any:
    """The data.

    Raises:
        Refused: it is more than plain data, or more of it than a snapshot has.
        Exception: whatever Python raises for bytes that are no pickle.
    """
    _look_through(content)
    return _Plain(io.BytesIO(content)).load()


def _look_through(content: bytes) -> None:
    kept = 0
    for number, (opcode, argument, _) in enumerate(pickletools.genops(_Careful(content)), 1):
        if number > _MOST_OPCODES:
            raise Refused("it holds more than a snapshot does; take it with max_entries=0")
        if opcode.name in _NAMES_CODE:
            return  # reading ends there, with the name of what is asked for
        if opcode.name not in _PLAIN:
            raise Refused(f"it does more than hold data ({opcode.name})")
        if opcode.name in _KEEPS:
            kept += 1
            if argument is not None and int(argument) > 2 * kept + 1000:
                raise Refused("it counts its parts wrongly")
