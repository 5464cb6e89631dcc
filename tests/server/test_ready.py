"""The last lines of a log, of a server that has just been restarted."""

from __future__ import annotations

from unfrag.server.ready import end_of, tail


def test_lines_from_before_are_not_shown(tmp_path):
    log = tmp_path / "log"
    log.write_text("ValueError: the run before\n")
    then = end_of(log)
    assert tail(log, 5) == ["ValueError: the run before"]
    assert tail(log, 5, then) == []
    with log.open("a") as stream:
        stream.write("INFO: this run\n")
    assert tail(log, 5, then) == ["INFO: this run"]


def test_a_log_that_was_cut_exchanged_or_is_new_is_all_new(tmp_path):
    log = tmp_path / "log"
    nothing = end_of(log)
    log.write_text("one\ntwo\n")
    assert tail(log, 5, nothing) == ["one", "two"]
    then = end_of(log)
    log.write_text("cut\n")
    assert tail(log, 5, then) == ["cut"]
    then = end_of(log)
    (tmp_path / "next").write_text("a longer line of another file\n")
    (tmp_path / "next").rename(log)
    assert tail(log, 5, then) == ["a longer line of another file"]
