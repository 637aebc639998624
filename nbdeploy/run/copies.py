"""Parquet copies beside segments: of a closed one wholly, of one that grows as far as it went when the copy was made.

A copy is made at the first reading and can be removed at any time: the segment stays the truth. It holds a line for each
row, or one for a request without rows, in the columns of `Predictions.frame()` and more: `rows`, how many the request
had, `refused`, the columns it was refused for, and the time in microseconds.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.run import compaction
from nbdeploy.run.seal import is_own, is_sealed, seal
from nbdeploy.run.segments import Lines, growing, table
from nbdeploy.runtime.retention import COPY, DRAFT
from nbdeploy.runtime.segments import NoFile, opened, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FORMAT = 5
TAIL = 2**20  # bytes at the end of a growing segment that are read line by line rather than copied
SETTLED = 1.0  # seconds after which no change of a file has the time of the one before it
THREADS = min(4, os.cpu_count() or 1)
MOST = 1_024  # copies that are remembered


@dataclass(frozen=True)
class Facts:
    """What a copy knows of its segment, or of the first `bytes` of one that grows. `first` and `last` in microseconds, None
    where it holds no request. `end`: length and CRC-32 of its last line, be it torn.
    """

    bytes: int
    torn: int = 0
    damaged: int = 0
    first: int | None = None
    last: int | None = None
    end: Sequence[int] = (0, 0)
    heads: Sequence[Mapping[str, Any]] = ()
    columns: Sequence[dict[str, Any]] = field(default=(), repr=False)  # as parquet.py describes them

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Facts:
        return cls(**{item.name: about[item.name] for item in fields(cls)})

    def fit(self, path: Path, *, grows: bool) -> bool:
        """Whether they are of this segment as it is now. Records that were not written wholly (a full disk) go again, and
        others come in their place, so the end is looked at.
        """
        more = path.lstat().st_size - self.bytes
        return 0 <= more <= (TAIL if grows else 0) and self._ends(path)

    def _ends(self, path: Path) -> bool:
        length, told = self.end
        fd = opened(path)
        try:
            return zlib.crc32(os.pread(fd, length, self.bytes - length)) == told
        finally:
            os.close(fd)


@dataclass(frozen=True)
class Copy:
    """A copy that is open: `file` stays this one, whatever becomes of its name."""

    facts: Facts
    file: Path


def copy_of(path: Path) -> Path:
    return path.with_suffix(COPY)


@contextmanager
def copied(reader: parquet.Reader, path: Path, *, grows: bool = False) -> Iterator[Copy | None]:
    """The copy, made where it is missing, not of this segment, or not as we wrote it. None of a segment that has but begun
    to grow.

    Raises:
        OSError: the segment is gone, or its copy cannot be made.
    """
    if grows and path.lstat().st_size <= TAIL:
        yield None
        return
    fd = _believed(copy_of(path))
    try:
        facts = None if fd is None else _facts(reader, fd, copy_of(path))
        if fd is None or facts is None or not facts.fit(path, grows=grows):
            fd = _instead(fd, _copy(reader, path))
            facts = _facts(reader, fd, copy_of(path))
        if facts is None:
            raise OSError(errno.EIO, "its copy cannot be read", str(path))
        yield Copy(facts, compaction.held(fd, copy_of(path)))
    finally:
        if fd is not None:
            os.close(fd)


def make(paths: Sequence[Path]) -> None:
    """The copies of closed segments that have none, several at once. What cannot be copied is left to who reads it."""
    left = [path for path in paths if _lacks_copy(path)]
    if len(left) < 2:
        return
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_made, left))


def _lacks_copy(path: Path) -> bool:
    with suppress(OSError):
        return not copy_of(path).exists() and not growing(path)
    return False


def _made(path: Path) -> None:
    with suppress(OSError), parquet.reading(threads=1) as reader, copied(reader, path):
        pass


_known: dict[tuple[int, ...], Facts] = {}


def _facts(reader: parquet.Reader, fd: int, copy: Path) -> Facts | None:
    """None of what is not whole, or not ours. What was found of a file holds until the file changes."""
    key = _identity(fd)
    known = _known.get(key)  # another thread may clear them
    if known is not None:
        return known
    about = reader.about(compaction.held(fd, copy)) if is_sealed(fd) else None
    if about is None or about.get("format") != FORMAT:
        return None
    facts = Facts.of(about)
    if os.fstat(fd).st_ctime < time.time() - SETTLED:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = facts
    return facts


def _identity(fd: int) -> tuple[int, ...]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _believed(copy: Path) -> int | None:
    """A descriptor of it, where it is a file of this user's."""
    try:
        fd = opened(copy)
    except (FileNotFoundError, NoFile):
        return None
    if is_own(fd):
        return fd
    os.close(fd)
    return None


def _instead(old: int | None, new: int) -> int:
    if old is not None:
        os.close(old)
    return new


def _copy(reader: parquet.Reader, path: Path) -> int:
    """Made anew: a descriptor of it."""
    draft = path.with_name(f"{DRAFT}{path.stem}.{secrets.token_hex(4)}")
    fd = opened(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        target = compaction.held(fd, draft)
        if not compaction.convert(reader, path, target, worker_of(path), FORMAT):
            os.ftruncate(fd, 0)
            _by_lines(path, target)
        seal(fd)
        draft.replace(copy_of(path))
    except BaseException:  # also what interrupts it leaves nothing open
        os.close(fd)
        raise
    finally:
        draft.unlink(missing_ok=True)
    return fd


def _by_lines(path: Path, draft: Path) -> None:
    lines = Lines(path)
    columns = table(lines, worker_of(path))
    times = columns[0].cells
    about = {
        "format": FORMAT,
        "bytes": lines.bytes,
        "torn": lines.torn,
        "damaged": lines.damaged,
        "end": lines.end,
        "first": min(times, default=None),
        "last": max(times, default=None),
        "heads": lines.heads,
    }
    parquet.write(columns, about, draft)
