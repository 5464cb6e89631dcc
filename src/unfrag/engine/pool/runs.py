"""Runs of adjacent block ids that may be handed out, by length: kept up to date as blocks come and go, never scanned.

A run is a maximal stretch ``[start, start + length)`` of members. Whether an id is a member is one byte, so the ends
of the run around any id are found by two searches for a zero byte. Runs are kept in classes by length, from ``2^c`` to
``2^(c+1) - 1``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOOK = 4  # runs of the fitting class that are compared before a longer class is taken


class Runs:
    """Ids ``0 .. size - 1``, none of them a member at first."""

    def __init__(self, size: int) -> None:
        self._member = bytearray(size + 2)  # one zero before the first id and one after the last
        self._classes: list[dict[int, int]] = [{} for _ in range(size.bit_length() + 1)]
        self._filled = 0  # bit c: class c is not empty
        self.count = 0

    def __contains__(self, block_id: int) -> bool:
        return self._member[block_id + 1] == 1

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(start, length) of every run, in no order."""
        for runs in self._classes:
            yield from runs.items()

    def add(self, start: int, length: int) -> None:
        """A stretch of ids that are no members yet becomes one, and joins its neighbours."""
        member = self._member
        first, end = start + 1, start + 1 + length
        member[first:end] = b"\1" * length
        self.count += length
        if member[first - 1]:
            left = member.rfind(0, 0, first) + 1
            self._forget(left - 1, first - left)
            first = left
        if member[end]:
            right = member.find(0, end)
            self._forget(end - 1, right - end)
            end = right
        self._remember(first - 1, end - first)

    def add_ids(self, ids: Iterable[int]) -> None:
        """Many ids at once, in any order."""
        start = end = -1
        for block_id in sorted(ids):
            if block_id == end:
                end += 1
                continue
            if end > start:
                self.add(start, end - start)
            start, end = block_id, block_id + 1
        if end > start:
            self.add(start, end - start)

    def around(self, block_id: int) -> tuple[int, int]:
        """(start, length) of the run that holds a member."""
        first = self._member.rfind(0, 0, block_id + 1) + 1
        return first - 1, self._member.find(0, block_id + 1) - first

    def remove(self, start: int, length: int) -> None:
        """A stretch within one run ceases to be members; what is left of the run stays."""
        run_start, run_length = self.around(start)
        self._forget(run_start, run_length)
        self._member[start + 1 : start + 1 + length] = bytes(length)
        self.count -= length
        if run_start < start:
            self._remember(run_start, start - run_start)
        end, run_end = start + length, run_start + run_length
        if end < run_end:
            self._remember(end, run_end - end)

    def fitting(self, length: int) -> tuple[int, int] | None:
        """A run of at least ``length``, nearly the shortest such; None when there is none."""
        own = length.bit_length() - 1
        best: tuple[int, int] | None = None
        for looked, (start, found) in enumerate(self._classes[own].items()) if own < len(self._classes) else ():
            if found >= length and (best is None or found < best[1]):
                best = start, found
            if looked == _LOOK:
                break
        if best is not None:
            return best
        longer = self._filled >> (own + 1)
        if not longer:
            return None
        runs = self._classes[own + 1 + (longer & -longer).bit_length() - 1]
        return next(iter(runs.items()))

    def longest(self) -> tuple[int, int] | None:
        """One of the longest runs; None when there is none."""
        if not self._filled:
            return None
        runs = self._classes[self._filled.bit_length() - 1]
        best = (0, 0)
        for looked, run in enumerate(runs.items()):
            if run[1] > best[1]:
                best = run
            if looked == _LOOK:
                break
        return best

    def _remember(self, start: int, length: int) -> None:
        kind = length.bit_length() - 1
        self._classes[kind][start] = length
        self._filled |= 1 << kind

    def _forget(self, start: int, length: int) -> None:
        kind = length.bit_length() - 1
        runs = self._classes[kind]
        del runs[start]
        if not runs:
            self._filled &= ~(1 << kind)
