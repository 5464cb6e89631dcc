"""Root writes by handles: a user who owns the folder swaps names as fast as they can, and gets at nothing."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from unfrag.errors import UsageError
from unfrag.guard.audit import Audit
from unfrag.guard.memory import Memory, Remembered
from unfrag.guard.webhook import Webhook
from unfrag.system.files import (
    must_be_writable,
    open_private,
    private_folder,
    read_file,
    read_text,
    whole_folder,
    write_atomically,
)
from unfrag.system.handles import folder_of

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be made to give files away")


@pytest.fixture
def theirs(tmp_path):
    """A folder of another user."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o777)
    return folder


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"root's")
    path.chmod(0o600)
    return path


def untouched(path):
    status = path.stat()
    return (path.read_bytes(), status.st_uid, stat.S_IMODE(status.st_mode)) == (b"root's", 0, 0o600)


def swapping(folder, secret):
    """A process of the other user that replaces every temporary name by a link to the secret."""
    code = f"""
import os
os.setgid({NOBODY}); os.setuid({NOBODY})
os.chdir({str(folder)!r})
print("ready", flush=True)
while True:
    for name in os.listdir("."):
        if name.startswith(".target"):
            try:
                os.rename(name, "mine")
                os.symlink({str(secret)!r}, name)
            except OSError:
                pass
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@as_root
def test_a_swapped_temporary_file_gives_nothing_away(theirs, secret):
    target = theirs / "target"
    target.write_bytes(b"old")
    os.chown(target, NOBODY, NOBODY)
    target.chmod(0o666)
    child = swapping(theirs, secret)
    try:
        for number in range(300):
            if not target.is_symlink():
                with contextlib.suppress(UsageError):
                    write_atomically(target, str(number).encode())
            if target.is_symlink():
                target.unlink()
            if not target.exists():
                target.write_bytes(b"old")
                os.chown(target, NOBODY, NOBODY)
            assert untouched(secret)
    finally:
        child.kill()
        child.wait()


@as_root
@pytest.mark.parametrize("depth", ["file", "folder"])
def test_root_follows_no_link_that_another_can_change(theirs, secret, depth):
    link = theirs / "link"
    link.symlink_to(secret if depth == "file" else secret.parent)
    path = link if depth == "file" else link / "secret"
    for attempt in (write_atomically, lambda where, _: must_be_writable(where)):
        with pytest.raises(UsageError, match="another user can change"):
            attempt(path, b"x")
    assert untouched(secret)


@as_root
def test_root_follows_links_of_its_own(tmp_path, secret):
    link = tmp_path / "link"
    link.symlink_to("secret")
    write_atomically(link, b"new")
    assert (secret.read_bytes(), link.is_symlink()) == (b"new", True)


@as_root
def test_a_shared_folder_is_trusted_as_far_as_it_is_sticky(tmp_path, secret):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(secret)
    shared.chmod(0o1777)
    write_atomically(shared / "link", b"root's")
    shared.chmod(0o777)
    with pytest.raises(UsageError, match="another user"):
        write_atomically(shared / "link", b"x")


@as_root
def test_a_file_of_another_user_keeps_its_owner_and_runs_as_nobody(theirs):
    target = theirs / "target"
    target.write_bytes(b"old")
    os.chown(target, NOBODY, NOBODY)
    target.chmod(0o6750)
    write_atomically(target, b"new")
    status = target.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, NOBODY, 0o750)


@as_root
def test_a_file_of_root_that_all_may_write_is_not_taken_over():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        target = folder / "target"
        target.write_bytes(b"old")
        target.chmod(0o666)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(UsageError, match="change its owner"):
                write_atomically(target, b"new")
        finally:
            os.seteuid(0)
            os.setegid(0)
        assert (target.read_bytes(), target.stat().st_uid) == (b"old", 0)
        assert [path.name for path in folder.iterdir()] == ["target"]


def test_another_name_of_the_file_keeps_the_old_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_atomically(tmp_path / "a", b"new")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"new", b"old")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop", "name"])
def test_what_is_no_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to("x")
    elif kind == "device":  # one of our own: a fault would replace the machine's
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("no device can be made here")
    elif kind == "name":
        path = tmp_path / ("x" * 300)
    before = [there.lstat().st_mode for there in tmp_path.iterdir()]
    with pytest.raises(UsageError, match="Nothing was changed"):
        write_atomically(path, b"new")
    assert [there.lstat().st_mode for there in tmp_path.iterdir()] == before


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder):
    return {stat.S_IMODE(path.lstat().st_mode) & 0o077 for path in [folder, *folder.rglob("*")]}


@pytest.mark.usefixtures("no_umask")
def test_the_guards_files_are_private_without_a_umask(tmp_path):
    state = tmp_path / "a" / "b"
    memory = Memory(state, "server")
    assert memory.elected()
    memory.save(Remembered())
    Audit(tmp_path / "a" / "audit").write("server", "seen")
    hook = Webhook("http://127.0.0.1:1/", state / "webhook")
    hook.tell({"text": "x"})
    hook.stop()
    assert modes(tmp_path / "a") == {0}


def test_the_audit_follows_no_link(tmp_path, capsys):
    other = tmp_path / "other"
    other.write_bytes(b"theirs\n")
    (tmp_path / "audit").symlink_to(other)
    Audit(tmp_path / "audit").write("server", "seen")
    assert other.read_bytes() == b"theirs\n"
    assert "link" in capsys.readouterr().err
    os.link(other, tmp_path / "hard")
    Audit(tmp_path / "hard").write("server", "seen")
    assert other.read_bytes() == b"theirs\n"


def test_half_a_character_is_written_down_all_the_same(tmp_path):
    Audit(tmp_path / "audit").write("\udcff", "seen", why="\ud800")
    assert (tmp_path / "audit").read_bytes().count(b"\n") == 1


def test_a_lock_follows_no_link(tmp_path):
    memory = Memory(tmp_path, "server")
    assert memory.elected()
    (lock,) = tmp_path.glob("*.lock")
    memory.let_go()
    other = tmp_path / "other"
    lock.symlink_to(other)
    with pytest.raises(OSError, match="link"):
        Memory(tmp_path, "server").elected()
    assert not other.exists()


def test_a_backup_that_fails_leaves_no_folder(tmp_path):
    def fill():
        with whole_folder(tmp_path / "changes" / "one"):
            (tmp_path / "changes" / "one" / "before").write_bytes(b"x")
            raise UsageError("No space left on device")

    with pytest.raises(UsageError):
        fill()
    assert list((tmp_path / "changes").iterdir()) == []


def test_reading_has_a_bound(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "bytes").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    for name in ("large", "pipe", "none", "."):
        with pytest.raises(UsageError):
            read_file(tmp_path / name, 100)
    with pytest.raises(UsageError, match="UTF-8"):
        read_text(tmp_path / "bytes")


def test_a_private_file_is_none_that_somebody_else_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular"):
        open_private(str(tmp_path / "pipe"), os.O_RDWR)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="directory"):
        private_folder(tmp_path / "file" / "folder")


def test_two_dots_and_links_are_followed_as_the_system_does(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    with folder_of(tmp_path / "link" / ".." / "file") as (folder, name):
        assert os.fstat(folder).st_ino == (tmp_path / "a").stat().st_ino
        assert name == "file"
