"""The prediction log: append-only segments, written before the answer goes out.

One file per process at a time; `os.write` puts a record into the kernel, where it survives `kill -9` of this process.
With `strict` an answer also waits for an fsync shared with its neighbours, and survives a power cut.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .retention import clean
from .rules import Rules
from .segments import create

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("nbdeploy")


class PredictionLog:
    """`folder` is made if it is missing. While writing fails the log is `degraded` and counts what it could not keep.

    `head` is a line that begins every segment; `called` is what messages say of it.
    """

    def __init__(
        self, folder: Path, *, strict: bool = False, rules: Rules | None = None, called: str = "prediction log"
    ) -> None:
        self.strict = strict
        self.called = called
        self.rules = rules or Rules()
        self.head = b""
        self.degraded = False
        self.unlogged_rows = 0
        self.folder = folder
        self._fd: int | None = None
        self._size = 0
        self._born = 0.0
        self._cleaned = 0.0
        self._lost = False  # a segment was closed, and not all of it is on the disk
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
            logger.warning("the %s is written again; %d rows were not kept", self.called, self.unlogged_rows)
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
        self._sync = asyncio.get_running_loop().run_in_executor(self._syncer, self._synced, self._fd)
        return await asyncio.shield(self._sync)

    def rest(self) -> None:
        """Close a segment that is old enough though nothing is written, and look for those that are to go."""
        if self._fd is not None and self._aged():
            self.close()
        if time.monotonic() - self._cleaned > self.rules.rotate_minutes * 60:
            self._clean()

    def close(self) -> None:
        if self._syncer is not None:
            self._syncer.shutdown(wait=True)
            self._syncer = None
        if self._fd is not None:
            if self.strict and not self._flush(self._fd):
                self._lost = True
            os.close(self._fd)
            self._fd = None

    def _append(self, lines: bytes) -> None:
        fd = self._fd
        if fd is None or (self._size and (self._size + len(lines) > self.rules.rotate_bytes or self._aged())):
            fd = self._rotate()
        if not self._size:
            lines = self.head + lines
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
        fd = create(self.folder)
        self.close()
        if self.strict:
            self._keep_name(fd)
        self._fd, self._size, self._born = fd, 0, time.monotonic()
        self._clean()
        return fd

    def _keep_name(self, fd: int) -> None:
        """Where the folder cannot be synced, the segment is let go of: the next write tries with another."""
        try:
            _sync_folder(self.folder)
        except OSError:
            os.close(fd)
            raise

    def _aged(self) -> bool:
        return time.monotonic() - self._born > self.rules.rotate_minutes * 60

    def _clean(self) -> None:
        """Also what readers that were killed have left there."""
        rules, self._cleaned = self.rules, time.monotonic()
        try:
            removed = clean(self.folder, rules.retention_days, rules.retention_bytes)
        except OSError as exc:
            logger.warning("old segments of the %s cannot be removed: %s", self.called, exc)
        else:
            if removed.segments:
                told = "the %s let go of %d old segments (%d bytes), as its retention says"
                logger.info(told, self.called, removed.segments, removed.bytes)

    def _synced(self, fd: int | None) -> bool:
        """Of this segment, and of the one before it, whose records somebody may still wait for."""
        lost, self._lost = self._lost, False
        return self._flush(fd) and not lost

    def _flush(self, fd: int | None) -> bool:
        try:
            if fd is not None:
                os.fsync(fd)
        except OSError:
            logger.exception("the %s could not be synced", self.called)
            return False
        return True

    def _failed(self, error: OSError, rows: int) -> None:
        self.unlogged_rows += rows
        if not self.degraded:
            self.degraded = True
            logger.error("the %s in %s cannot be written: %s", self.called, self.folder, error)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
