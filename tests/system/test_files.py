"""Files are whole or untouched."""

import os
import stat

import pytest

from unfrag.errors import UsageError
from unfrag.system.files import must_be_writable, write_atomically


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


def test_a_new_file_has_the_users_usual_mode(tmp_path):
    write_atomically(tmp_path / "new", b"x")
    (tmp_path / "usual").touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


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


def test_an_unwritable_place_is_known_before_the_work(tmp_path):
    must_be_writable(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "a.json", tmp_path / "none" / "a.json"):
        with pytest.raises(UsageError, match=r"folder|cannot be written"):
            must_be_writable(path)
