"""What the rules compare with: the defaults beside them, and what a user puts in their place."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from unfrag.errors import UsageError
from unfrag.system import resources
from unfrag.system.decode import toml_file

if TYPE_CHECKING:
    from pathlib import Path

Thresholds = dict[str, Any]

_LARGEST_THRESHOLD = 2**60


def load_thresholds(path: Path | None = None) -> dict[str, Thresholds]:
    """The defaults, with single values replaced from ``path``. Raises UsageError for an unknown table or key."""
    defaults = tomllib.loads(resources.text("unfrag.doctor.rules", "thresholds.toml"))
    if path is None:
        return defaults
    for table, values in toml_file(path).items():
        if not isinstance(values, dict) or table not in defaults:
            raise UsageError(f"{path}: [{table}] is not a rule; there are {', '.join(defaults)}")
        unknown = set(values) - set(defaults[table])
        if unknown:
            raise UsageError(f"{path}: [{table}] has no {', '.join(unknown)}; it has {', '.join(defaults[table])}")
        _must_be_alike(values, defaults[table], f"{path}: [{table}]")
        defaults[table] |= values
    return defaults


def _must_be_alike(values: Thresholds, defaults: Thresholds, where: str) -> None:
    """Raises UsageError: a threshold is of another kind than its default, or no finite number."""
    for key, value in values.items():
        kind = type(defaults[key])
        numbers = kind in (int, float) and type(value) in (int, float) and abs(value) <= _LARGEST_THRESHOLD
        if not numbers and (type(value) is not kind or kind in (int, float)):
            raise UsageError(f"{where} {key}: a value such as {defaults[key]!r} is wanted")
