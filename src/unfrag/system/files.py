"""Files that are never half-written, never written through a swapped name, and never read without a bound."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from unfrag.errors import UsageError
from unfrag.system.handles import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 16 << 20  # of a file that is read as a whole
_KEPT_ATTRIBUTES = ("user.", "system.posix_acl_access", "security.selinux")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomically(path: Path, content: bytes, private: bool = False) -> None:
    """Replace a file's content: afterwards it holds the old bytes or the new, whatever happens in between.

    Works on handles, so that nobody who may rename in that folder gets at another file; see ``handles`` for links.
    Mode, owner, times, labels and access lists stay. A file whose owner or group this user cannot give to the new one
    is refused rather than taken over. Its other hard links keep the old bytes: they may be somebody's backup.

    Args:
        private: a new file is its owner's alone, whatever the umask says.

    Raises:
        UsageError: the file or its folder cannot be written. Nothing has changed then.
    """
    try:
        with folder_of(path) as (folder, name):
            old = _regular(name, folder)
            if old is not None and not os.access(name, os.W_OK, dir_fd=folder):
                raise PermissionError(errno.EACCES, "permission denied; run as its owner")
            aside = f".{name[:40]}.{secrets.token_hex(6)}"
            handle = os.open(aside, _NEW, 0o600 if private or old is not None else 0o666, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    if old is not None:
                        _make_alike(stream.fileno(), name, folder)
                    os.fsync(stream.fileno())
                os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(aside, dir_fd=folder)
                raise
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path} cannot be written: {_why(fault)}. Nothing was changed") from fault


def _why(fault: OSError | ValueError) -> str:
    return (fault.strerror if isinstance(fault, OSError) else None) or str(fault)


def _regular(name: str, folder: int) -> os.stat_result | None:
    """What is there now; None for nothing. Raises OSError: it is no regular file, so nothing can replace it."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(there.st_mode):
        is_folder = stat.S_ISDIR(there.st_mode)
        raise OSError(errno.EINVAL, os.strerror(errno.EISDIR) if is_folder else "it is no regular file")
    return there


def _make_alike(handle: int, name: str, folder: int) -> None:
    """Give a new file what belongs to the old one, but no set-user-id: other bytes must not run as somebody else."""
    old = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        was, now = os.fstat(old), os.fstat(handle)
        if not stat.S_ISREG(was.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
            try:
                os.fchown(handle, was.st_uid, was.st_gid)
            except PermissionError:
                raise PermissionError(errno.EPERM, "it would change its owner or group; run as its owner") from None
        os.fchmod(handle, was.st_mode & 0o777)
        with contextlib.suppress(OSError):  # a file system without attributes
            behind = f"/proc/self/fd/{old}"
            for attribute in filter(lambda known: known.startswith(_KEPT_ATTRIBUTES), os.listxattr(behind)):
                os.setxattr(handle, attribute, os.getxattr(behind, attribute))
        os.utime(handle, ns=(was.st_atime_ns, was.st_mtime_ns))
    finally:
        os.close(old)


def read_file(path: Path, limit: int = LARGEST) -> bytes:
    """All of a regular file, of at most so many bytes. A pipe or a device is refused, so that nobody waits for it.

    Raises:
        UsageError: it cannot be read, or is larger.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            there = os.fstat(stream.fileno())
            if stat.S_ISDIR(there.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(there.st_mode):
                raise UsageError(f"{path} is no regular file; copy what it gives into one")
            content = stream.read(limit + 1)
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path}: {_why(fault)}") from fault
    if len(content) > limit:
        most = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
        raise UsageError(f"{path} is larger than {most}")
    return content


def read_text(path: Path, limit: int = LARGEST) -> str:
    """The same as text. Raises UsageError: it is not in UTF-8 either."""
    try:
        return read_file(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise UsageError(f"{path} is no text in UTF-8: {fault.reason} at byte {fault.start}") from fault


def read_if_there(path: Path) -> bytes:
    """A file's bytes, none when there is no such file. Raises UsageError: it cannot be read."""
    try:
        path.stat()
    except FileNotFoundError:
        return b""
    except (OSError, ValueError):
        pass  # reading says why
    return read_file(path)


def put_back(path: Path, content: bytes) -> None:
    """At one stroke, what stood there; no bytes: there was no such file, and there is none afterwards."""
    if content:
        write_atomically(path, content)
    else:
        path.unlink(missing_ok=True)


def spool_file() -> Path:
    """An empty file for this user alone that is gone when the program ends."""
    handle, name = tempfile.mkstemp(prefix="unfrag-log-")
    os.close(handle)
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)


def must_be_writable(path: Path) -> None:
    """Find out before long work whether its result can be written. Raises UsageError; leaves nothing behind."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    try:
        with folder_of(path) as (folder, name):
            _regular(name, folder)
            with tempfile.TemporaryFile(dir=f"/proc/self/fd/{folder}"):
                pass
    except (OSError, ValueError) as fault:
        raise UsageError(f"{path} cannot be written: {_why(fault)}; name another place") from fault


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone whatever the umask. Raises OSError."""
    if path.is_dir():
        return
    private_folder(path.parent)
    with folder_of(path) as (above, name), contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[None]:
    """A new folder for this user alone; when what fills it fails, neither it nor its files are left.

    Raises:
        OSError: it cannot be made.
    """
    private_folder(path.parent)
    os.mkdir(path, 0o700)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        raise


def open_private(name: str, flags: int, folder: int | None = None) -> int:
    """Open or make a file for this user alone, whatever the umask: state, locks, the audit.

    Args:
        flags: of ``os.open``.
        folder: handle of the folder that ``name`` is in.

    Raises:
        OSError: also for a link, a pipe, and a file that has another name elsewhere.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(name, flags, 0o600, dir_fd=folder)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link; name the file itself") from None
        raise
    there = os.fstat(handle)
    if not (stat.S_ISCHR(there.st_mode) or (stat.S_ISREG(there.st_mode) and there.st_nlink <= 1)):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file, or has another name elsewhere")
    return handle
