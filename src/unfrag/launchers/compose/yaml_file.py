"""YAML of a stranger: looked through before it is built, so that aliases and nesting make it no larger than it is."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from unfrag.errors import UsageError

LARGEST = 256 << 10  # bytes of a file
_DEEPEST = 50
_MOST_EVENTS = 30_000
_MOST_EXPANDED = 2_000_000  # characters and nodes, each alias counted as what it stands for


def load(text: str, name: str, keep_form: bool = False) -> Any:
    """What it says.

    Args:
        name: what to call it, as in "NAME is no compose file".
        keep_form: with comments and quotes, so that it can be written back.

    Raises:
        UsageError: it is no YAML, or would be larger than its text.
    """
    try:
        _look_through(text)
        return YAML(pure=True).load(text) if keep_form else YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise UsageError(f"{name} is no compose file: it is nested too deeply") from None
    except Exception as fault:  # its constructors raise whatever Python does for what they are given
        said = str(fault).splitlines() or [type(fault).__name__]
        raise UsageError(f"{name} is no compose file: {said[0][:200]}") from fault


def _look_through(text: str) -> None:
    """Raises ValueError: too deep, or too large once its aliases are filled in."""
    open_nodes: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    total = 0
    for number, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        if number > _MOST_EVENTS:
            raise ValueError("it has more parts than a compose file has")
        if isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            if len(open_nodes) > _DEEPEST:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[str(anchor)] = total - before + 1
        elif isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise ValueError("a part of it stands for itself")
            total += sizes.get(str(event.anchor), 0)
        elif isinstance(event, ScalarEvent):
            total += len(event.value) + 1
            if event.anchor is not None:
                sizes[str(event.anchor)] = len(event.value) + 1
        if total > _MOST_EXPANDED:
            raise ValueError("its aliases make it larger than any compose file")
