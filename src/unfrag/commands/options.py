"""Options that many verbs have, with the same words in each."""

from __future__ import annotations

import argparse
from pathlib import Path

from unfrag.commands.numbers import seconds

SEVERITIES = ("info", "warning", "critical", "never")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON on standard output, errors too")


def add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", default=600.0, help="for the server to be ready (default: 600)"
    )


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """``default``: what it is called else. A bench's and the demo's was ``--output`` once."""
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"where to write it (default: {default})")
    parser.add_argument("--output", dest="out", type=Path, help=argparse.SUPPRESS)


def add_dry_run(parser: argparse.ArgumentParser, what: str) -> None:
    """``what``: it only shows."""
    parser.add_argument("--dry-run", action="store_true", help=f"only show {what}; change nothing")


def add_fail_on(parser: argparse.ArgumentParser, default: str, then: str) -> None:
    """``then``: what follows from a finding that counts."""
    parser.add_argument("--fail-on", choices=SEVERITIES, default=default, help=f"{then} (default: %(default)s)")
