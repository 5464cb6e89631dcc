"""The doctor's rules on a server under guard: every few minutes, and told when something is new or gone."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from unfrag.doctor import collect, diagnosis

if TYPE_CHECKING:
    from unfrag.doctor.rules.thresholds import Thresholds
    from unfrag.guard.audit import Audit


class Doctor:
    """Of one server. ``every``: seconds between two diagnoses; 0: never."""

    def __init__(self, url: str, label: str, every: float, audit: Audit, thresholds: dict[str, Thresholds]) -> None:
        self._url, self._label, self._every, self._audit = url, label, every, audit
        self._thresholds = thresholds
        self._due: float | None = None
        self._found: dict[str, str] = {}

    def critical(self, now: float) -> tuple[str, ...]:
        """The critical causes of the last diagnosis; a new one is made when it is due."""
        if not self._every:
            return ()
        if self._due is None:  # a fleet's diagnoses are spread over the time
            self._due = now + self._every * (zlib.crc32(self._label.encode()) % 997) / 997
        if now >= self._due:
            self._due = now + self._every
            self._diagnose()
        return tuple(cause for cause, severity in self._found.items() if severity == "critical")

    def _diagnose(self) -> None:
        found = diagnosis.diagnose(collect.live(collect.Asked(self._url)), self._thresholds).findings
        for one in found:
            if self._found.get(one.cause) != one.severity:
                self._audit.write(
                    self._label,
                    "finding",
                    cause=one.cause,
                    severity=one.severity,
                    why=one.summary,
                    next=f"unfrag explain {one.id}",
                )
        now: dict[str, str] = {one.cause: one.severity for one in found}
        for cause in self._found.keys() - now.keys():
            self._audit.write(self._label, "finding gone", cause=cause)
        self._found = now
