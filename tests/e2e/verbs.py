"""unfrag's verbs as a user runs them, on a rig."""

from __future__ import annotations

import subprocess
import sys


def unfrag(rig, verb, *words):
    """One verb on the rig's configuration; its code and what it printed."""
    command = [sys.executable, "-m", "unfrag", verb, "--config", str(rig.config), "--server", rig.server, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
