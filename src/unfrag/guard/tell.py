"""Tells people: a line where the guard runs, the machine's syslog, and a webhook where there is one."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import IO, TYPE_CHECKING

from unfrag.guard import system_log
from unfrag.system.sentences import sentences
from unfrag.system.streams import printable

if TYPE_CHECKING:
    from unfrag.guard.state import Decision
    from unfrag.guard.webhook import Webhook


class Telling:
    """Called by several threads. Nothing that goes wrong here stops anybody.

    Args:
        webhook: told of everything; None: there is none.
        stream: where a human who watches the guard looks; None: standard output.
    """

    def __init__(self, webhook: Webhook | None, stream: IO[str] | None = None) -> None:
        self._webhook, self._stream = webhook, stream or sys.stdout

    def __call__(self, label: str, decision: Decision, result: str) -> None:
        """What was done, or what a human is needed for: ``decision``, and what came of it."""
        text = _text(label, decision, result)
        self.say(text)
        system_log.send(text, is_critical=decision.action == "page")
        if self._webhook is not None:
            self._webhook.tell(message(label, decision, result))

    def say(self, text: str) -> None:
        """A line with the time of day, to who watches."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{time.strftime('%H:%M:%S')} {printable(text)}\n")
            self._stream.flush()


def message(label: str, decision: Decision, result: str) -> dict[str, str]:
    """What a webhook gets: ``text`` for people, ``target``, ``action`` and ``rule`` for programs."""
    text = f"unfrag guard: {_text(label, decision, result)}"
    return {"text": text, "target": label, "action": decision.action, "rule": decision.rule}


def _text(label: str, decision: Decision, result: str) -> str:
    is_page = decision.action == "page"
    what = "a human is needed" if is_page else decision.action
    return sentences(f"{label}: {what} ({decision.rule}): {decision.why}", "" if is_page else result)
