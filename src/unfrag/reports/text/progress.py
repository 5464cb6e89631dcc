"""What is going on, for everything over a second: a spinner at a terminal, silence elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape

from unfrag.reports import err
from unfrag.system.streams import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Yields a function that shows one line beside the spinner."""
    console = err()
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status(escape(printable(what))) as status:
        yield lambda line: status.update(f"{escape(printable(what))}  [dim]{escape(printable(line))}[/dim]")
