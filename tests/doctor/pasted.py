"""A labelled case, as a line of JSON has it, put down as a folder of pasted evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"log": "log.txt", "nvidia_smi": "nvidia_smi.txt", "metrics": "metrics.txt", "health": "health.json"}
CONTEXT = ("engine", "engine_version", "model", "gpus")


def write(folder: Path, case: dict[str, Any]) -> None:
    """``case`` has ``evidence`` by kind (or ``log`` alone), and ``launch`` and the context where they are known."""
    for kind, said in (case.get("evidence") or {"log": case.get("log")}).items():
        if said:
            (folder / FILES[kind]).write_text(said if isinstance(said, str) else json.dumps(said))
    if case.get("launch"):
        (folder / "launch.txt").write_text(case["launch"])
    (folder / "context.json").write_text(json.dumps({key: case.get(key) for key in CONTEXT}))
