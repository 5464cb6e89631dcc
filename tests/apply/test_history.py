"""Backups are checked before they are used."""

import os
import time

import pytest

from unfrag.apply.history import History, left_by
from unfrag.errors import UsageError
from unfrag.launchers import LaunchSpec


def spec(tmp_path, content, program="p"):
    return LaunchSpec(tmp_path / "a.conf", content, program, "vllm serve m", "")


def test_a_damaged_backup_is_never_used(tmp_path):
    history = History(tmp_path / "changes")
    kept = history.keep(spec(tmp_path, b"before"), b"after")
    assert history.before(kept) == b"before"
    assert history.all()[0].state == "pending"
    (tmp_path / "changes" / kept.id / "before").write_bytes(b"beforf")
    with pytest.raises(UsageError, match="damaged"):
        history.before(kept)


def test_a_damaged_record_hides_no_other(tmp_path):
    history = History(tmp_path)
    history.keep(spec(tmp_path, b"1"), b"2")
    broken = history.keep(spec(tmp_path, b"2"), b"3")
    (tmp_path / broken.id / "record.json").write_bytes(b"\x00{")
    assert len(history.all()) == 1


def test_a_clock_that_was_set_back_mixes_nothing_up(tmp_path, monkeypatch):
    """The change that was made last comes last, also when its name says that it was a day earlier."""
    history, now = History(tmp_path / "changes"), time.time()
    history.mark(history.keep(spec(tmp_path, b"1"), b"2"), "applied")
    monkeypatch.setattr(time, "gmtime", lambda: time.localtime(now - 86400))
    history.mark(history.keep(spec(tmp_path, b"2"), b"3"), "applied")
    changes = history.of(tmp_path / "a.conf", "p")
    assert changes[0].id > changes[1].id
    assert history.before(changes[-1]) == b"2"
    assert left_by(changes) == changes[1].after_sha256


def test_a_backup_that_cannot_be_kept_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        History(tmp_path / "changes").keep(spec(tmp_path, b"old"), b"new")
    assert list((tmp_path / "changes").iterdir()) == []
