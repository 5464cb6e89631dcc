"""The page of a finding as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markdown import Markdown

if TYPE_CHECKING:
    from rich.console import Console


def render(page: str, console: Console) -> None:
    """Print it whole, also into a pipe: unlike a line of a report, a paragraph that is not wrapped would be cut."""
    console.print(Markdown(page, hyperlinks=False), soft_wrap=False)
