"""Segments of the prediction log as lines, and these as a table: one for each row, or for a request without rows."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.parquet import Column
from nbdeploy.runtime.records import HEAD, parse
from nbdeploy.runtime.segments import NoFile, is_growing, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

LAST = 253_402_300_800.0  # the year 10000, in seconds
REQUEST = (
    "time",
    "request_id",
    "version",
    "schema",
    "worker",
    "method",
    "status",
    "code",
    "milliseconds",
    "rows",
    "refused",
)
FIXED = (
    *("time", "request_id", "row", "version", "schema", "worker", "method", "status", "code", "milliseconds", "rows"),
    *("refused", "prediction"),
)
_NEEDED = {"time", "request_id", "version", "schema", "method", "status", "milliseconds"}


class Lines:
    """A segment's requests as they were written, from byte `start` on, where a line begins.

    Counts and heads are those of the last reading; `bytes` of what was read but for a record that is being written, `end`
    the length and CRC-32 of the last line of that.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self.start = start
        self.bytes = self.torn = self.damaged = 0
        self._last = b""
        self.heads: list[dict[str, Any]] = []

    @property
    def end(self) -> tuple[int, int]:
        return len(self._last), zlib.crc32(self._last)

    @property
    def policy(self) -> Mapping[str, str]:
        """Of the rows read last."""
        return self.heads[-1]["policy"] if self.heads else {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.bytes = self.torn = self.damaged = 0
        self._last = b""
        self.heads = []
        try:
            file = os.fdopen(opened(self.path), "rb")
        except FileNotFoundError:
            return  # retention took it meanwhile
        except NoFile:
            self.damaged = 1
            return
        with file:
            file.seek(self.start)
            for text in file:
                if not text.endswith(b"\n"):
                    if not is_growing(file.fileno()):
                        self.torn, self.bytes, self._last = 1, self.bytes + len(text), text
                    return
                self.bytes += len(text)
                self._last = text
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
    lists = all(isinstance(raw.get(name, []), list) for name in ("rows", "predictions", "keys", "refused"))
    return raw.keys() >= _NEEDED and lists and isinstance(time, float | int) and 0 <= time < LAST


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
            raw.get("refused"),
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


def plain_frame(columns: Sequence[Column], before: Mapping[str, str]) -> pd.DataFrame:
    """As a copy of them would be read; `before` says of what kinds the columns are in the lines before them."""
    import pandas as pd

    cells = {column.name: parquet.plain(column, before.get(column.name)) for column in columns}
    return pd.DataFrame(cells, columns=list(cells))


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
