"""No pattern is worse than linear, whatever text it is searched in."""

import json
import os
import subprocess
import sys


def test_every_pattern_is_linear(root):
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.regexes"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    slow = [json.loads(line) for line in done.stdout.splitlines()]
    assert slow == []
