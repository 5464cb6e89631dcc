"""Jinja templates that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfrag.system import resources

if TYPE_CHECKING:
    from collections.abc import Callable


def render(
    package: str,
    template: str,
    filters: dict[str, Callable[..., str]] | None = None,
    markup: bool = False,
    **values: Any,
) -> str:
    """A template that lies in a package, with its values; a name that is missing is an error.

    Args:
        markup: escape values for XML.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=markup, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= filters or {}
    return environment.from_string(resources.text(package, template)).render(**values)
