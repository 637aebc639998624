"""The prediction log: append-only segments, written before the answer goes out.

One file per process, named by its start and pid; `os.write` puts a record into the kernel, where it survives `kill -9`
of this process. With `strict` an answer also waits for an fsync shared with its neighbours, and survives a power cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .records import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("nbdeploy")
SEGMENT_BYTES = 64 * 2**20


class PredictionLog:
    """`folder` is made if it is missing. While writing fails the log is `degraded` and counts what it could not keep."""

    def __init__(self, folder: Path, *, strict: bool = False, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.strict = strict
        self.degraded = False
        self.unlogged_rows = 0
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._fd: int | None = None
        self._size = 0
        self._sync: asyncio.Future[bool] | None = None
        self._syncer: ThreadPoolExecutor | None = None

    def write(self, lines: bytes, rows: int) -> bool:
        """Whole lines with one write; False if they are not kept, and then nothing of them is."""
        try:
            self._append(lines)
        except OSError as exc:
            self._failed(exc, rows)
            return False
        if self.degraded:
            logger.warning("the prediction log is written again; %d rows were not kept", self.unlogged_rows)
            self.degraded = False
        return True

    async def durable(self) -> bool:
        """Wait until all that was written before is on the disk; one fsync serves everyone who waits meanwhile."""
        running = self._sync
        if running is not None and not running.done():
            await asyncio.shield(running)  # it may have begun before the last write
            if self._sync is not None and self._sync is not running:
                return await asyncio.shield(self._sync)
        self._syncer = self._syncer or ThreadPoolExecutor(1, thread_name_prefix="fsync")
        self._sync = asyncio.get_running_loop().run_in_executor(self._syncer, self._flush, self._fd)
        return await asyncio.shield(self._sync)

    def close(self) -> None:
        if self._syncer is not None:
            self._syncer.shutdown(wait=True)
            self._syncer = None
        if self._fd is not None:
            if self.strict:
                self._flush(self._fd)
            os.close(self._fd)
            self._fd = None

    def _append(self, lines: bytes) -> None:
        fd = self._fd
        if fd is None or (self._size and self._size + len(lines) > self._segment_bytes):
            fd = self._rotate()
        written = os.write(fd, lines)
        if written != len(lines):
            self._cut(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _cut(self, fd: int) -> None:
        """Take a half-written record off the end; where even that fails, the next one begins a new segment."""
        try:
            os.ftruncate(fd, self._size)
        except OSError:
            self.close()

    def _rotate(self) -> int:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _create(self.folder)
        self.close()
        if self.strict:
            _sync_folder(self.folder)
        self._fd, self._size = fd, 0
        return fd

    def _flush(self, fd: int | None) -> bool:
        try:
            if fd is not None:
                os.fsync(fd)
        except OSError:
            logger.exception("the prediction log could not be synced")
            return False
        return True

    def _failed(self, error: OSError, rows: int) -> None:
        self.unlogged_rows += rows
        if not self.degraded:
            self.degraded = True
            logger.error("the prediction log in %s cannot be written: %s", self.folder, error)


def _create(folder: Path) -> int:
    """A new segment, locked for as long as it may grow; readers tell a torn record from one being written by that."""
    while True:
        path = folder / f"{time.time_ns() // 1_000:016d}-{os.getpid()}{SUFFIX}"
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        except FileExistsError:
            continue  # two logs of one process within a microsecond
        _lock(fd)
        return fd


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    with contextlib.suppress(ImportError, OSError):  # Windows has no fcntl, some file systems no locks
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX)


def is_growing(fd: int) -> bool:
    """Whether a process still writes to this segment."""
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except ImportError:
        return False
    except OSError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
