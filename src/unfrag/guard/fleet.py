"""The servers under guard, looked up anew every minute: who comes is watched, who goes is let go."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from unfrag.errors import UsageError
from unfrag.system.sentences import sentences

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from unfrag.guard.audit import Audit
    from unfrag.guard.service import WatchedServer
    from unfrag.guard.targets import Target

_EVERY_SECONDS = 60.0


class Fleet:
    """``watched`` is what one round looks at. A lookup that takes long or fails holds nobody up.

    Args:
        find: looks the targets up; raises UsageError.
        watch: a target put under guard.

    Raises:
        UsageError: the first lookup failed.
    """

    def __init__(
        self, find: Callable[[], list[Target]], watch: Callable[[Target], WatchedServer], audit: Audit
    ) -> None:
        self._find, self._watch, self._audit = find, watch, audit
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="targets")
        self._looking: Future[list[Target]] | None = None
        self._due = time.monotonic() + _EVERY_SECONDS
        self._why = ""
        self.watched = [watch(target) for target in find()]

    def refresh(self) -> None:
        """Take over what the last lookup found, and begin another when one is due. Returns at once."""
        if self._looking is None and time.monotonic() >= self._due:
            self._looking = self._threads.submit(self._find)
        elif self._looking is not None and self._looking.done():
            looked, self._looking = self._looking, None
            self._due = time.monotonic() + _EVERY_SECONDS
            try:
                self._take(looked.result())
                self._why = ""
            except UsageError as fault:
                if str(fault) != self._why:  # once, until it is another
                    why = sentences(str(fault), "Those known before are watched")
                    self._audit.write("targets", "lookup failed", why=why)
                self._why = str(fault)

    def _take(self, targets: list[Target]) -> None:
        known = {one.target: one for one in self.watched}
        for target in targets:
            if target not in known:
                self._audit.write(target.label, "watched")
        for target in known.keys() - set(targets):
            known[target].let_go()
            self._audit.write(target.label, "let go", why="it is no longer among the targets")
        self.watched = [known[target] if target in known else self._watch(target) for target in targets]
