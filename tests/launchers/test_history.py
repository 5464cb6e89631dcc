"""Backups are checked before they are used."""

import os

import pytest

from unfrag.errors import UsageError
from unfrag.launchers.history import History


def test_a_damaged_backup_is_never_used(tmp_path):
    history = History(tmp_path / "changes")
    kept = history.keep(tmp_path / "a.conf", "glm_vllm", b"before", b"after")
    assert history.before(kept) == b"before"
    assert history.all()[0].state == "pending"
    (tmp_path / "changes" / kept.id / "before").write_bytes(b"beforf")
    with pytest.raises(UsageError, match="damaged"):
        history.before(kept)


def test_a_damaged_record_hides_no_other(tmp_path):
    history = History(tmp_path)
    history.keep(tmp_path / "a.conf", "p", b"1", b"2")
    broken = history.keep(tmp_path / "a.conf", "p", b"2", b"3")
    (tmp_path / broken.id / "record.json").write_bytes(b"\x00{")
    assert len(history.all()) == 1


def test_a_backup_that_cannot_be_kept_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        History(tmp_path / "changes").keep(tmp_path / "a.conf", "p", b"old", b"new")
    assert list((tmp_path / "changes").iterdir()) == []
