"""A page that means nothing, sent every way that a real one would go, and which of them it went."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unfrag.errors import NotEnoughEvidence, UsageError
from unfrag.guard import system_log
from unfrag.guard.audit import Audit
from unfrag.guard.tell import Telling
from unfrag.guard.ways import listed, ways
from unfrag.guard.webhook import why_not_taken

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "this is only a test of the guard's pages, and nobody needs to do anything"
_MESSAGE = {"text": f"unfrag guard: {TEXT}", "target": "test", "action": "page", "rule": "test"}


def trial(log: Path, log_is_named: bool, webhook: str | None, as_json: bool) -> None:
    """Say on standard output where the page went and where it did not; with ``as_json`` on standard error.

    Raises:
        UsageError: the log that was named cannot be written. Nothing was sent then.
        NotEnoughEvidence: the webhook did not take it, or nobody would see it but who looks at the guard itself.
    """
    log_fault = Audit(log, echo=as_json).tried("test", "page", rule="test", why=TEXT, outcome="done")
    if log_fault is not None and log_is_named:
        raise UsageError(f"--log {log}: {log_fault}; name a file that can be written")
    tell = Telling(None, sys.stderr if as_json else sys.stdout)
    tell.say(TEXT)
    found = ways(log, log_fault, system_log.send(TEXT, is_critical=True))
    fault = why_not_taken(webhook, _MESSAGE) if webhook is not None else None
    for line in (f"said {listed(found.works)}", *found.broken):
        tell.say(line)
    if fault is not None:
        raise NotEnoughEvidence(f"the webhook {fault}")
    tell.say("the webhook took it" if webhook is not None else "no --webhook was given")
    if webhook is None and found.nobody:
        raise NotEnoughEvidence("nobody sees this page but who looks here: give --webhook URL or --log FILE")
