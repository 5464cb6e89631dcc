"""Commands of units, and the drop-in that changes them; with a real systemd where this user has one."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from unfrag import cli
from unfrag.launchers import Edit, LaunchSpec
from unfrag.launchers.systemd import SystemdUnit, exec_starts

UNIT = """\
# /etc/systemd/system/vllm.service
[Unit]
Description=vLLM
[Service]
ExecStart=/opt/venv/bin/vllm serve /models/GLM-4.7-Flash \\
    --max-num-seqs 64 --port 8000
Restart=always
[Install]
WantedBy=multi-user.target
"""


def test_continued_lines_are_one_command_and_a_drop_in_replaces_it():
    assert exec_starts(UNIT) == ["/opt/venv/bin/vllm serve /models/GLM-4.7-Flash  --max-num-seqs 64 --port 8000"]
    drop_in = "\n# /etc/systemd/system/vllm.service.d/50.conf\n[Service]\nExecStart=\nExecStart=/bin/other --port 1\n"
    assert exec_starts(UNIT + drop_in) == ["/bin/other --port 1"]
    assert exec_starts("[Unit]\nExecStart=/not/here\n") == []


def test_the_drop_in_changes_the_words_and_doubles_what_systemd_would_read(tmp_path):
    spec = LaunchSpec(tmp_path / "x", b"", "vllm.service", "/bin/vllm serve m --max-num-seqs 64", "http://x")
    edit = Edit({"--max-num-seqs": "32", "--chat-template": "100%$x"})
    content = SystemdUnit("vllm").plan(spec, edit).decode()
    assert "ExecStart=\nExecStart=/bin/vllm serve m --max-num-seqs 32 --chat-template '100%%$$x'\n" in content
    assert SystemdUnit("vllm").plan(spec, Edit({"--max-num-seqs": "64"})) == b""


def test_a_unit_that_is_not_there_is_one_line(capsys):
    assert cli.main(["apply", "--unit", "no-such-unit-of-unfrag", "--dry-run", "--", "--port", "1"]) in (2, 3)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_guards_unit_is_one_that_systemd_takes(tmp_path, capsys):
    assert cli.main(["guard", "install", "--systemd", "--dry-run", "--url", "http://127.0.0.1:9"]) == 0
    unit = tmp_path / "unfrag-guard.service"
    unit.write_text(capsys.readouterr().out)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "unfrag-guard.service" not in done.stderr, done.stderr
    assert sys.executable in unit.read_text()
