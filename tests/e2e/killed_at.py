"""unfrag, killed with SIGKILL right before its n-th step that the world can see.

    python -m tests.e2e.killed_at N FILE -- apply --config …

Steps are files that get their name or reach the disk, and calls of supervisord and of the server; the same one over
and over (waiting) is one step. ``FILE`` gets a line per step. ``N`` is a number or a step's name; 0: it is not killed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx

from unfrag import cli
from unfrag.launchers.supervisor.rpc import Supervisord


def main() -> int:
    at, file, words = sys.argv[1], Path(sys.argv[2]), sys.argv[4:]
    steps: list[str] = []

    def step(name: str) -> None:
        if name in steps[-2:]:
            return
        steps.append(name)
        with file.open("a") as stream:
            stream.write(name + "\n")
        if at in (str(len(steps)), name):
            os.kill(os.getpid(), signal.SIGKILL)

    def before(owner: object, name: str, label) -> None:
        real = getattr(owner, name)

        def stepping(*args, **kwargs):
            step(label(*args))
            return real(*args, **kwargs)

        setattr(owner, name, stepping)

    before(os, "rename", lambda source, target: f"replace {Path(target).name}")
    before(os, "fsync", lambda handle: "fsync")
    before(Supervisord, "call", lambda self, name, *rest: name)
    before(httpx.Client, "request", lambda self, method, url, *rest: f"{method} {url}")
    return cli.main(words)


if __name__ == "__main__":
    sys.exit(main())
