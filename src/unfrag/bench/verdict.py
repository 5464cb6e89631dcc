"""What a comparison comes to: better, worse, or within the spread of the repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from unfrag.bench.compare import Cell, Row
    from unfrag.bench.result import Result

_COUNTED = ("pool size, tokens",)  # it has no spread
_FOUND = "maximum concurrency"
_PRECISION = 0.125  # of two searches, each of which ends a sixteenth beside the value


class Verdict(msgspec.Struct, frozen=True):
    """One result against the first. Measures by name, with their change: ``TTFT P95 -31%``.

    Attributes:
        within: measures whose repeats overlap: no difference shows.
        decides: False where a single pass has no spread to tell a difference from chance.
    """

    label: str
    base: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    within: tuple[str, ...]
    decides: bool

    @property
    def sentence(self) -> str:
        """The same for a human."""
        if not self.decides:
            told = self._parts()
            beside = f" What needs no repeats: {'; '.join(told)}." if told else ""
            return f"{self.label}: a single pass tells no difference from chance; measure with --repeats 3.{beside}"
        if not self.better and not self.worse:
            return f"{self.label}: no difference to {self.base} beyond the spread of the repeats"
        word = "better" if not self.worse else "worse" if not self.better else "better in part"
        within = f"; within the spread: {', '.join(self.within)}" if self.within else ""
        return f"{self.label} is {word} than {self.base}: {'; '.join(self._parts())}{within}"

    def _parts(self) -> list[str]:
        better = ", ".join(self.better)
        worse = ("worse: " if self.better else "") + ", ".join(self.worse)
        return [part for part, is_there in ((better, self.better), (worse, self.worse)) if is_there]


def verdicts(results: list[Result], rows: list[Row]) -> tuple[Verdict, ...]:
    """Every result but the first against the first; ``rows`` are theirs."""
    return tuple(_verdict(results, rows, place) for place in range(1, len(results)))


def _verdict(results: list[Result], rows: list[Row], place: int) -> Verdict:
    decides = all(len(result.repeats) > 1 for result in (results[0], results[place]))
    found: dict[str, list[str]] = {"better": [], "worse": [], "within": []}
    for row in rows:
        base, cell = row.cells[0], row.cells[place]
        if row.better == "neither" or base.median is None or cell.median is None:
            continue
        if not decides and row.name not in (*_COUNTED, _FOUND):
            continue
        if base.median == cell.median == 0:
            continue
        if not _differ(row.name, base, cell):
            found["within"].append(row.name)
        elif (cell.median < base.median) == (row.better == "lower"):
            found["better"].append(_said(row.name, base, cell))
        else:
            found["worse"].append(_said(row.name, base, cell))
    return Verdict(
        results[place].label,
        results[0].label,
        tuple(found["better"]),
        tuple(found["worse"]),
        tuple(found["within"]),
        decides,
    )


def _differ(name: str, base: Cell, cell: Cell) -> bool:
    """Do the two lie apart, smallest to largest?"""
    if base.low is None or base.high is None or cell.low is None or cell.high is None:
        return False
    apart = cell.low > base.high or cell.high < base.low
    if name == _FOUND:
        return apart and abs(cell.change or 1.0) > _PRECISION
    return apart


def _said(name: str, base: Cell, cell: Cell) -> str:
    if cell.change is None:
        return f"{name} {base.median:g} to {cell.median:g}"
    return f"{name} {cell.change:+.0%}"
