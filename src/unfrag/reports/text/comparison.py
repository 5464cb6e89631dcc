"""The before/after table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from unfrag.bench.compare import Cell, Row
    from unfrag.bench.result import Result


def table(results: list[Result], rows: list[Row]) -> Table:
    """Median, the change against the first column, and below it the smallest and largest of the repeats."""
    repeats = max(len(result.repeats) for result in results)
    drawn = Table(
        caption=f"median of {repeats}, below it smallest to largest; change against {escape(results[0].label)}",
        caption_justify="left",
    )
    drawn.add_column("")
    for result in results:
        drawn.add_column(escape(result.label), justify="right")
    for row in rows:
        drawn.add_row(row.name + (f", {row.unit}" if row.unit else ""), *(_cell(row, cell) for cell in row.cells))
    return drawn


def _cell(row: Row, cell: Cell) -> str:
    if cell.median is None:
        return "unknown"
    text = _number(cell.median)
    if cell.change is not None and round(cell.change * 100):
        good = (cell.change < 0) == (row.better == "lower")
        colour = "default" if row.better == "neither" else "green" if good else "red"
        text += f" [{colour}]{cell.change:+.0%}[/{colour}]"
    if cell.low is not None and cell.high is not None and _number(cell.low) != _number(cell.high):
        text += f"\n[dim]{_number(cell.low)} to {_number(cell.high)}[/dim]"
    return text


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
