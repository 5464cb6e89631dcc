"""A verb in this process, as its user sees it."""

from __future__ import annotations

from unfrag.cli import main


def run(capsys, *words):
    """(exit code, standard output, standard error)."""
    try:
        code = main(list(words))
    except SystemExit as ended:
        code = ended.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err
