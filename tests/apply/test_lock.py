"""One change at a time, also between processes, and no longer than its holder lives."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unfrag.apply.lock import only_one
from unfrag.errors import UsageError

_HOLD = """
import sys
from pathlib import Path
from unfrag.apply.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_at_once_do_not_mix(tmp_path):
    file = tmp_path / "a.conf"
    command = [sys.executable, "-c", _HOLD, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match="another unfrag"), only_one(file):
            pass
        holder.kill()
        holder.wait()
        with only_one(file):
            pass
    assert list(tmp_path.iterdir()) == []
