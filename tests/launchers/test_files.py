"""Files are whole or untouched; backups are checked before they are used."""

import os
import stat

import pytest

from unfrag.errors import UsageError
from unfrag.launchers.files import History, write_atomically


def test_content_mode_and_links_survive(tmp_path):
    real, link = tmp_path / "real.conf", tmp_path / "link.conf"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.conf", "real.conf"]


def test_a_failed_write_leaves_the_old_bytes_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.conf"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.conf"]


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
