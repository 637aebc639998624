"""Segments of the prediction log as files: named by start and process, locked for as long as they may grow."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from .records import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path


# What a container may have put there under a segment's name is neither followed nor waited for.
_GUARDED = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class NoFile(OSError):
    """Under a segment's name there is a link, a pipe, a folder or the like."""


def opened(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file.

    Raises:
        NoFile: it is something else.
    """
    try:
        fd = os.open(path, flags | _GUARDED, 0o600)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}:
            raise NoFile(exc.errno, "it is no regular file", str(path)) from exc
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NoFile(errno.EINVAL, "it is no regular file", str(path))
    return fd


def create(folder: Path) -> int:
    return begin(folder)[1]


def begin(folder: Path) -> tuple[Path, int]:
    """A new segment, and where it is; readers tell a torn record from one being written by its lock."""
    while True:
        path = folder / f"{time.time_ns() // 1_000:016d}-{os.getpid()}{SUFFIX}"
        try:
            fd = opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
        except FileExistsError:
            continue  # two logs of one process within a microsecond
        _lock(fd)
        if os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)  # retention took it for an old one, before it was locked


def worker_of(path: Path) -> int:
    """The process that wrote it; 0 of a file somebody else named."""
    pid = path.stem.rpartition("-")[2]
    return int(pid) if pid.isdecimal() else 0


def _lock(fd: int) -> None:
    with contextlib.suppress(ImportError, OSError):  # Windows has no fcntl, some file systems no locks
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX)


def freeze(fd: int) -> bool:
    """Keep everybody from writing on in this segment until `fd` is closed; False where a process still writes to it."""
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except ImportError:
        return True
    except OSError:
        return False
    return True


def is_growing(fd: int) -> bool:
    """Whether a process still writes to this segment."""
    if not freeze(fd):
        return True
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)
    return False
