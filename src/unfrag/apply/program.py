"""A server as a change to it sees it: restarted and waited for, well or not, running as its file says or otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unfrag.apply.history import History
from unfrag.apply.verify import answers, not_in_effect
from unfrag.errors import NeverReady, UnfragError
from unfrag.flags import check
from unfrag.flags.line import read_flags
from unfrag.flags.ours import FLAGS
from unfrag.flags.repair import repair
from unfrag.launchers import Edit, Launcher
from unfrag.server.ready import wait_ready

if TYPE_CHECKING:
    from collections.abc import Callable

DOWN_ON_PURPOSE = ("STOPPED", "UNLOADED")
_RESCUE_SECONDS = 600.0
_VARIABLE = re.compile(r"[%$]")


@dataclass(frozen=True)
class Program:
    """A server under its launcher.

    Attributes:
        launcher: that starts and stops it.
        timeout: seconds that it may take to be ready with a change.
        progress: called with a line while waiting.
        history: where its changes are on record.
    """

    launcher: Launcher
    timeout: float = _RESCUE_SECONDS
    progress: Callable[[str], None] = lambda line: None
    history: History = field(default_factory=History)

    def restart(self) -> str:
        """Restart with what the file says now, and wait until the server is ready; its URL.

        Raises:
            NeverReady: it does not come up.
            NotEnoughEvidence: the launcher does not answer.
        """
        return self._restart(self.timeout)

    def rescue(self) -> str:
        """The same for a server that worked: an impatient ``timeout`` was meant for the change, not for this."""
        return self._restart(max(self.timeout, _RESCUE_SECONDS))

    def is_healthy(self) -> bool:
        """Does a server run there that answers? One that is too busy to answer in time counts as one that does.

        Raises:
            NotEnoughEvidence: the launcher does not answer.
        """
        if self.launcher.status().failed:
            return False
        url = self.launcher.read().url
        return bool(url) and answers(url)

    def is_healthy_for_sure(self) -> bool:
        """The same; False where the launcher does not answer."""
        try:
            return self.is_healthy()
        except UnfragError:
            return False

    def runs_with(self, edit: Edit) -> bool:
        """Is the edit in the command line of the server that runs? Without flags: does it run as its file says?"""
        try:
            running = read_flags(self.launcher.running())
        except UnfragError:
            return False
        if edit.flags or edit.removed:
            return not not_in_effect(running, edit)
        return running == read_flags(self.launcher.read().command)

    def runs_otherwise(self) -> list[str]:
        """What the running command line has otherwise than the file, one line each; none where that cannot be told.

        A wrapper's command line is not vLLM's, and what a file leaves to a variable is not compared.
        """
        try:
            running = self.launcher.running()
        except UnfragError:
            return []
        command = self.launcher.read().command
        if not (check.is_vllm_line(running) and check.is_vllm_line(command)):
            return []
        said = _meant(command)
        fixed = {flag: value for flag, value in said.items() if not _VARIABLE.search(value or "")}
        runs = _meant(running)
        return not_in_effect(runs, Edit(fixed, tuple(flag for flag in runs if flag not in said)))

    def _restart(self, seconds: float) -> str:
        self.launcher.restart()
        url = self.launcher.read().url
        if not url:
            program = self.launcher.read().program
            raise NeverReady(f"the port of {program} cannot be found out: write it into its command")
        wait_ready(url, seconds, self._gave_up, self.launcher.tail, self.progress)
        return url

    def _gave_up(self) -> str | None:
        status = self.launcher.status()
        return f"will not come up: it is {status.state}" if status.failed else None


def _meant(command: str) -> dict[str, str | None]:
    """The flags as vLLM gets them: spellings repaired, none of unfrag's own, which may go by the environment."""
    flags, _ = repair(read_flags(command))
    return {flag: value for flag, value in flags.items() if flag not in FLAGS}
