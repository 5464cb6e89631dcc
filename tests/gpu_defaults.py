"""Run pytest as if this machine had a GPU: ``python -m tests.gpu_defaults v2 --async -q tests/engine``.

vLLM's choices are made when it is imported, so a test session has one model runner and one way to schedule.
"""

from __future__ import annotations

import os
import sys

from unfrag.rig import gpu_defaults

if __name__ == "__main__":
    runner, *words = sys.argv[1:]
    env = gpu_defaults.environment(runner, "--async" in words)
    words = [word for word in words if word != "--async"]
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *words], {**os.environ, **env})
