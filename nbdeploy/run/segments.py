"""Segments of the prediction log as tables: a closed one through a Parquet copy beside it, the growing one as its lines.

The copy is made at the first reading and can be removed at any time: the segment stays the truth. It holds a line for each
row, or one for a request without rows, in the columns of `Predictions.frame()` and two more: `rows`, how many the request
had, and the time in microseconds.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.parquet import Column
from nbdeploy.run import compaction
from nbdeploy.run.seal import is_own, is_sealed, seal
from nbdeploy.runtime.records import HEAD, parse
from nbdeploy.runtime.retention import COPY, DRAFT
from nbdeploy.runtime.segments import NoFile, is_growing, opened, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

FORMAT = 2
LAST = 253_402_300_800.0  # the year 10000, in seconds
REQUEST = ("time", "request_id", "version", "schema", "worker", "method", "status", "code", "milliseconds")
FIXED = (
    *("time", "request_id", "row", "version", "schema", "worker", "method", "status", "code", "milliseconds", "rows"),
    "prediction",
)
_NEEDED = {"time", "request_id", "version", "schema", "method", "status", "milliseconds"}


class Lines:
    """A segment's requests as they were written. Its counts and heads are those of the last reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = self.torn = self.damaged = 0
        self.growing = False
        self.heads: list[dict[str, Any]] = []

    @property
    def policy(self) -> Mapping[str, str]:
        """Of the rows read last."""
        return self.heads[-1]["policy"] if self.heads else {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.bytes = self.torn = self.damaged = 0
        self.heads = []
        try:
            file = os.fdopen(opened(self.path), "rb")
        except FileNotFoundError:
            return  # retention took it meanwhile
        except NoFile:
            self.damaged = 1
            return
        with file:
            self.growing = is_growing(file.fileno())
            for text in file:
                self.bytes += len(text)
                if not text.endswith(b"\n"):
                    self.torn += not is_growing(file.fileno())
                    return
                raw = parse(text[:-1])
                if raw is not None and HEAD in raw:
                    self.heads.append(raw)
                elif raw is None or not _sound(raw):
                    self.damaged += 1
                else:
                    yield raw


def _sound(raw: Mapping[str, Any]) -> bool:
    """The sum is right; this asks whether it was our runtime that wrote it."""
    time = raw.get("time")
    lists = all(isinstance(raw.get(name, []), list) for name in ("rows", "predictions", "keys"))
    return raw.keys() >= _NEEDED and lists and isinstance(time, float | int) and 0 <= time < LAST


@dataclass(frozen=True)
class Facts:
    """What is known of a closed segment; `first` and `last` in microseconds, None where it holds no request."""

    bytes: int
    torn: int = 0
    damaged: int = 0
    first: int | None = None
    last: int | None = None
    heads: Sequence[Mapping[str, Any]] = ()
    columns: Sequence[dict[str, Any]] = field(default=(), repr=False)  # as parquet.py describes them

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Facts:
        return cls(**{item.name: about[item.name] for item in fields(cls)})


def copy_of(path: Path) -> Path:
    return path.with_suffix(COPY)


@dataclass(frozen=True)
class Copy:
    """A copy that is open: `file` stays this one, whatever becomes of its name."""

    facts: Facts
    file: Path


@contextmanager
def copied(reader: parquet.Reader, path: Path) -> Iterator[Copy]:
    """The copy, made where it is missing, not of this segment, or not as we wrote it.

    Raises:
        OSError: the segment is gone, or its copy cannot be made.
    """
    size = path.lstat().st_size
    fd = _believed(copy_of(path))
    try:
        about = None if fd is None else reader.about(compaction.held(fd, copy_of(path)))
        if fd is None or about is None or (about.get("format"), about.get("bytes")) != (FORMAT, size):
            fd = _instead(fd, _copy(reader, path))
            about = reader.about(compaction.held(fd, copy_of(path)))
        if about is None:
            raise OSError(errno.EIO, "its copy cannot be read", str(path))
        yield Copy(Facts.of(about), compaction.held(fd, copy_of(path)))
    finally:
        if fd is not None:
            os.close(fd)


def _believed(copy: Path) -> int | None:
    """A descriptor of it, where it is a file of this user's whose bytes are those that were written."""
    try:
        fd = opened(copy)
    except (FileNotFoundError, NoFile):
        return None
    if is_own(fd) and is_sealed(fd):
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
        "first": min(times, default=None),
        "last": max(times, default=None),
        "heads": lines.heads,
    }
    parquet.write(columns, about, draft)


def table(lines: Iterator[dict[str, Any]] | Lines, worker: int) -> list[Column]:
    """A line for each row that was answered, one for each request that has none."""
    fixed: list[tuple[Any, ...]] = []
    rows: list[Any] = []
    keys: list[Any] = []
    for raw in lines:
        asked, answers = raw.get("rows") or (), raw.get("predictions") or ()
        given = raw.get("keys") or ()
        count = min(len(asked), len(answers), len(given) or len(asked))
        start = (round(raw["time"] * 1e6), raw["request_id"])
        end = (
            *(
                raw["version"],
                raw["schema"],
                worker,
                raw["method"],
                raw["status"],
                raw.get("code"),
                raw["milliseconds"],
            ),
            len(asked) or raw.get("count", 0),
        )
        if not count:
            fixed.append((*start, None, *end, None))
            rows.append(None)
            keys.append(None)
            continue
        fixed += [(*start, number, *end, answers[number]) for number in range(count)]
        rows += asked[:count]
        keys += given[:count] or [None] * count
    columns = zip(*fixed, strict=True) if fixed else [() for _ in FIXED]
    known = [Column(name, cells) for name, cells in zip(FIXED, columns, strict=True)]
    return [*known, *_named("key.", keys), *_named("input.", rows), *_bare(rows)]


def _named(prefix: str, rows: Sequence[Any]) -> Iterator[Column]:
    """A column for each key that any of the rows has."""
    names: dict[str, None] = {}
    seen: Any = None
    objects = True
    for row in rows:
        if type(row) is not dict:
            objects = False
        elif row.keys() != seen:
            objects = objects and seen is None
            seen = row.keys()
            names |= dict.fromkeys(row)
    for name in names:
        if objects:
            yield Column(prefix + name, [row[name] for row in rows])
        else:
            yield Column(prefix + name, [row.get(name) if type(row) is dict else None for row in rows])


def _bare(rows: Sequence[Any]) -> Iterator[Column]:
    """Rows that are lists or single values."""
    cells = [None if type(row) is dict else row for row in rows]
    if any(cell is not None for cell in cells):
        yield Column("input", cells)


def plain_frame(columns: Sequence[Column]) -> pd.DataFrame:
    """As a copy of them would be read."""
    import pandas as pd

    return pd.DataFrame({column.name: parquet.plain(column) for column in columns}, columns=[c.name for c in columns])


def first_head(path: Path) -> Iterator[Mapping[str, Any]]:
    """Of a segment that grows: its first line."""
    with suppress(FileNotFoundError, NoFile), os.fdopen(opened(path), "rb") as file:
        raw = parse(file.readline()[:-1])
        if raw is not None and HEAD in raw:
            yield raw


def growing(path: Path) -> bool:
    with suppress(FileNotFoundError), os.fdopen(opened(path), "rb") as file:
        return is_growing(file.fileno())
    return False
