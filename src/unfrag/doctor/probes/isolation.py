"""Which cards this machine or container lets a server see: device files, cgroup v1's list, the runtime's variables.

cgroup v2 has no file that lists devices (the rule is a BPF program), so there the device files are what counts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from unfrag.facts.snapshot import Isolation

_CARD = re.compile(r"^nvidia(\d+)$")


def read(expected: int | None, visible: int | None, root: Path = Path("/")) -> Isolation:
    """``expected``: cards the server was meant to have; ``visible``: cards that NVML lists here."""
    try:
        nodes = tuple(sorted(name for name in os.listdir(root / "dev") if _CARD.match(name)))
    except OSError:
        nodes = ()
    asked = os.environ.get("NVIDIA_VISIBLE_DEVICES") or os.environ.get("CUDA_VISIBLE_DEVICES")
    return Isolation(expected=expected, visible=visible, nodes=nodes, cgroup=_cgroup(root), asked=asked)


def _cgroup(root: Path) -> str:
    """The device rules of cgroup v1; for v2 the words "cgroup v2"; empty when neither can be read."""
    if (root / "sys/fs/cgroup/cgroup.controllers").exists():
        return "cgroup v2"
    try:
        rules = (root / "sys/fs/cgroup/devices/devices.list").read_text(errors="replace")
    except OSError:
        return ""
    return "; ".join(line for line in rules.splitlines()[:50] if line.startswith(("a", "c 195:")))
