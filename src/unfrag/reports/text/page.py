"""The page of a finding as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markdown import Markdown

if TYPE_CHECKING:
    from rich.console import Console


def render(page: str, console: Console) -> None:
    """Print it: set for a terminal, and as the Markdown that it is into a pipe or a file."""
    if console.is_terminal:
        console.print(Markdown(page, hyperlinks=False), soft_wrap=False)
    else:
        console.print(page.rstrip(), markup=False, soft_wrap=True)
