"""A user's own thresholds, on the command lines of all verbs that judge."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

VARIABLE = "UNFRAG_THRESHOLDS"


def add_thresholds(parser: argparse.ArgumentParser) -> None:
    said = os.environ.get(VARIABLE)
    parser.add_argument(
        "--thresholds",
        type=Path,
        metavar="FILE",
        default=Path(said) if said else None,
        help=f"TOML with own thresholds of the doctor's rules (default: the file that {VARIABLE} names)",
    )
