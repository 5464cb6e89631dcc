"""Jinja templates from the package's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag import data

if TYPE_CHECKING:
    from collections.abc import Callable


def render(
    template: str, filters: dict[str, Callable[..., str]] | None = None, markup: bool = False, **values: Any
) -> str:
    """A template of ``data`` with its values; a name that is missing is an error.

    Args:
        markup: escape values for XML.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=markup, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= filters or {}
    return environment.from_string(data.text(template)).render(**values)
