"""A server after a change against itself before: what it is diagnosed with now and was not then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfrag.doctor import collect, diagnosis
from unfrag.facts.finding import SEVERITIES
from unfrag.facts.memory_stats import Pool

if TYPE_CHECKING:
    from unfrag.doctor.rules.thresholds import Thresholds
    from unfrag.facts.finding import Finding
    from unfrag.facts.snapshot import Snapshot


class Before:
    """Looks at the server at once. ``fail_on``: the least severity that counts, or "never"."""

    def __init__(self, url: str, fail_on: str, thresholds: dict[str, Thresholds]) -> None:
        self._fail_on, self._thresholds = fail_on, thresholds
        snapshot = collect.live(collect.Asked(url))
        self.pool = snapshot.pool if isinstance(snapshot.pool, Pool) else None
        self._was = {found.cause: found.severity for found in self._findings(snapshot)}

    def worse(self, url: str) -> list[str]:
        """Findings that are new or graver, a line each."""
        if self._fail_on == "never":
            return []
        now = self._findings(collect.live(collect.Asked(url)))
        return [f"{found.cause} ({found.severity}): {found.summary}" for found in now if self._is_worse(found)]

    def _is_worse(self, found: Finding) -> bool:
        rank = SEVERITIES.index
        if rank(found.severity) < rank(self._fail_on):
            return False
        was = self._was.get(found.cause)
        return was is None or rank(found.severity) > rank(was)

    def _findings(self, snapshot: Snapshot) -> tuple[Finding, ...]:
        return diagnosis.diagnose(snapshot, self._thresholds).findings
