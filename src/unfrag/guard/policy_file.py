"""A policy as it was written down: each error is a line that says where, what stands there, and what is wanted."""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from unfrag.errors import UsageError
from unfrag.guard.policy import Policy, contradiction
from unfrag.system import resources
from unfrag.system.decode import toml_file

_OURS = ("article",)
_LONGEST = 40  # of a mistyped word that is looked up


def read(name: str | None, interval: float | None) -> Policy:
    """The defaults, a file over them, the command line over that.

    Args:
        name: a file, or ``article``.

    Raises:
        UsageError: it cannot be read, says something that it may not, or contradicts itself.
    """
    said = _checked(_said(name), f"{name}: ")
    if interval is not None:
        said |= _checked({"interval": interval}, "--")
    policy = Policy(**said)
    if (wrong := contradiction(policy)) is not None:
        raise UsageError(f"{'' if name is None else f'{name}: '}{wrong}; see docs/guard.md")
    return policy


def _said(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    if name in _OURS:
        return resources.table("unfrag.guard", f"policies/{name}.toml")
    near = difflib.get_close_matches(name.lower()[:_LONGEST], _OURS, n=1)
    if near and not Path(name).exists():
        raise UsageError(f"--policy {name}: there is no such file; did you mean {near[0]}?")
    return toml_file(Path(name))


def _checked(said: dict[str, Any], where: str) -> dict[str, Any]:
    """The same as the types that they are to have. Raises UsageError: of the first that is wrong."""
    types = get_type_hints(Policy, include_extras=True)
    found = {}
    for name, value in said.items():
        if name not in types:
            near = difflib.get_close_matches(name[:_LONGEST], types, n=1)
            hint = f"did you mean {near[0]}?" if near else "docs/guard.md names all"
            raise UsageError(f"{where}{name[:_LONGEST]!r} is no threshold; {hint}")
        try:
            found[name] = msgspec.convert(value, types[name], strict=False)
        except (ValueError, RecursionError) as fault:
            raise UsageError(f"{where}{name} is {_shown(value)}: it must be {_wanted(types[name])}") from fault
    return found


def _wanted(kind: Any) -> str:
    words: str = kind.__metadata__[0].description
    return words


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes out no number of more than 4300 digits
        return "a very long number"
