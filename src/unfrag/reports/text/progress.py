"""What is going on, for everything over a second: a spinner at a terminal, silence elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from unfrag.reports import err
from unfrag.system.streams import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unfrag.bench.meter import Step


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Yields a function that shows one line beside the spinner."""
    console = err()
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status(escape(printable(what))) as status:
        yield lambda line: status.update(f"{escape(printable(what))}  [dim]{escape(printable(line))}[/dim]")


@contextmanager
def measuring() -> Iterator[tuple[Callable[[str], None], Callable[[Step], None]]]:
    """Yields two functions: one prints a line, the other shows how far a bench is, at a terminal by a bar."""
    console = err()
    if not console.is_terminal:
        yield lambda line: console.print(line, markup=False), lambda step: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}", style="dim"))
    with Progress(SpinnerColumn(), *columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("warming up", total=None, left="")

        def tell(step: Step) -> None:
            bar.update(task, description=step.what, total=step.total, completed=step.done, left=step.left)

        yield lambda line: console.print(line, markup=False), tell
