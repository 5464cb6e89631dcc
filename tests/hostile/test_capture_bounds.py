"""Of a log without end a capture goes through four MiB, however the log is read."""

from __future__ import annotations

import time

from unfrag.doctor import capture
from unfrag.doctor.allowed.log import allow_log


def test_the_beginning_and_the_end_of_a_large_log_are_kept(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"first\n" + b"INFO x\n" * (3 << 20) + b"last\n")
    text = capture._log_text(path)
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert len(text) == (4 << 20) + len("\n[unfrag: the middle of the log was left out]\n")


def test_nothing_of_a_small_log_is_left_out(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"a\n" * (1 << 20))
    assert capture._log_text(path) == "a\n" * (1 << 20)


def test_the_same_line_is_gone_through_once():
    line = "INFO 01-01 00:00:00 " + "'qzx' = secretish, " * 150
    started = time.monotonic()
    allow_log((line + "\n") * 300)
    assert time.monotonic() - started < 10
