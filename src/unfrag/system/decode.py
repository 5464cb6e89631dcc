"""JSON and TOML of a stranger: decoded within bounds, and refused in one line."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from unfrag.errors import UsageError
from unfrag.system.files import read_text

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
DEEPEST = 100
"""Levels of nesting. Nothing that is read here has more than ten."""
LARGEST_TOML = 1 << 20
_TOML_TEXTS = re.compile(
    r'"""(?:[^"\\]++|\\[\s\S]|"{1,2}(?!"))*+(?:"{3,5})?'
    r"|'''(?:[^']++|'{1,2}(?!'))*+(?:'{3,5})?"
    r'|"(?:[^"\\\n]++|\\.)*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+"
)
_LONG_KEY = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){20}")


@overload
def decoded(content: bytes | str, name: str) -> Any: ...
@overload
def decoded(content: bytes | str, name: str, kind: type[T]) -> T: ...
def decoded(content: bytes | str, name: str, kind: Any = Any) -> Any:
    """The value in a JSON text.

    Args:
        name: what to call it, as in "NAME is no JSON".
        kind: the type that it must have.

    Raises:
        UsageError: it is no JSON, is of another type, or is nested deeper than anything that makes sense.
    """
    try:
        value = msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise UsageError(f"{name} is nested too deeply") from None
    except msgspec.ValidationError as fault:
        raise UsageError(f"{name} is not as expected: {fault}") from fault
    except (msgspec.DecodeError, ValueError) as fault:
        raise UsageError(f"{name} is no JSON: {fault}") from fault
    must_be_shallow(value, name)
    return value


def toml_file(path: Path) -> dict[str, Any]:
    """What a TOML file of at most a MiB says.

    The reader of the standard library keeps every beginning of a dotted key, so that a long one costs the square of its
    length. Therefore its keys are looked at before it is read.

    Raises:
        UsageError: it cannot be read, is no TOML, or is nested deeper than anything that makes sense.
    """
    text = read_text(path, LARGEST_TOML)
    if _LONG_KEY.search(_TOML_TEXTS.sub(_without, text)) is not None:
        raise UsageError(f"{path}: a key of it has more than 20 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
    except ValueError as fault:
        raise UsageError(f"{path} is no TOML: {fault}") from fault


def _without(found: re.Match[str]) -> str:
    """What stands for a text, which may be a part of a key, or for a comment."""
    return "" if found[0].startswith("#") else "x"


def line_of_json(line: bytes | str) -> Any:
    """The value of one line; also NaN and Infinity, which other programs write. Raises ValueError."""
    try:
        value = json.loads(line)
        must_be_shallow(value, "it")
    except (RecursionError, UsageError):
        raise ValueError("it is nested too deeply") from None
    return value


def must_be_shallow(value: Any, name: str, deepest: int = DEEPEST) -> None:
    """Raises UsageError: lists and objects in it are nested deeper than so many levels."""
    level = [value]
    for _ in range(deepest):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise UsageError(f"{name} is nested too deeply")


def _inside(value: Any) -> list[Any]:
    """The lists and objects right inside one."""
    if not isinstance(value, dict | list | tuple):
        return []
    return [one for one in (value.values() if isinstance(value, dict) else value) if isinstance(one, dict | list)]
