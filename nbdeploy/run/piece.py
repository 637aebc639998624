"""`Piece`: a segment of the prediction log as far as it lies in a view of it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy import parquet
from nbdeploy.errors import UnsupportedData
from nbdeploy.run.copies import Copy, Facts, copied
from nbdeploy.run.segments import FIXED, Lines, first_head, growing, plain_frame, table
from nbdeploy.runtime.segments import worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SIZE = 100_000  # lines of a batch
NUMBER = "number"  # a column that is made while reading: the line's own number in its piece, ascending
UNCOPIED = 2**40  # the number of the first line that is in no copy
SHOWN = tuple(name for name in FIXED if name not in {"rows", "refused"})


@dataclass(frozen=True)
class Bounds:
    """Times from `low` on, before `high`, in microseconds since 1970; either may be None."""

    low: int | None = None
    high: int | None = None

    @classmethod
    def of(cls, since: datetime | None, until: datetime | None) -> Bounds:
        return cls(*(None if at is None else micros(at) for at in (since, until)))

    def hold(self, at: int) -> bool:
        return (self.low is None or at >= self.low) and (self.high is None or at < self.high)

    def overlap(self, facts: Facts) -> bool:
        if facts.first is None or facts.last is None:
            return self.low is None and self.high is None  # nothing of it but what is damaged
        return (self.low is None or facts.last >= self.low) and (self.high is None or facts.first < self.high)

    def contain(self, facts: Facts) -> bool:
        """All of its requests."""
        return facts.first is not None and facts.last is not None and self.hold(facts.first) and self.hold(facts.last)


class Piece:
    """Read through its copy; what there is no copy of, line by line: the end of a segment that grows, all of one that could
    not be copied. `torn` and `damaged` count what the last reading passed over.
    """

    def __init__(self, reader: parquet.Reader, path: Path, copy: Copy | None, bounds: Bounds, *, grows: bool) -> None:
        self.path = path
        self._reader = reader
        self._copy = copy
        self._bounds = bounds
        self._grows = grows
        self._lines = Lines(path)

    @property
    def torn(self) -> int:
        return self._lines.torn + (0 if self._copy is None else self._copy.facts.torn)

    @property
    def damaged(self) -> int:
        return self._lines.damaged + (0 if self._copy is None else self._copy.facts.damaged)

    @property
    def facts(self) -> Facts | None:
        """None while it grows."""
        return None if self._grows or self._copy is None else self._copy.facts

    @property
    def whole(self) -> bool:
        """Whether it grows no more, and all of its requests are in the view."""
        return self.facts is not None and self._bounds.contain(self.facts)

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        requests: bool = False,
        last: int = 0,
    ) -> pd.DataFrame:
        """Its lines, or with `requests` one of each request, or at least the `last` ones; of `columns` those it has."""
        return parquet.joined([*self._parts(columns, requests=requests, last=last)])

    def batches(
        self, columns: Sequence[str] | None, size: int = SIZE, *, categories: bool = False
    ) -> Iterator[pd.DataFrame]:
        """`frame` in parts of at most `size` lines; all of `columns`, null where it has none."""
        for part in self._parts(columns, categories=categories):
            whole = ordered(part, SHOWN) if columns is None else _only(part, columns)
            for start in range(0, len(whole), size):
                yield whole if len(whole) <= size else whole.iloc[start : start + size].reset_index(drop=True)

    def rows(self, numbers: NDArray[np.int64], columns: Sequence[str]) -> pd.DataFrame:
        """The lines of these numbers, in their order; all of `columns`, null where it has none.

        Raises:
            OSError, UnsupportedData: of a copy that is not as it was made, of a segment that is gone meanwhile.
        """
        copied, left = (numbers[numbers < UNCOPIED], numbers[numbers >= UNCOPIED])
        parts = []
        if len(copied) and self._copy is not None:
            where = "file_row_number IN (SELECT unnest(?::BIGINT[])) ORDER BY file_row_number"
            parts.append(self._selected(self._copy, columns, where, [copied.tolist()]))
        if len(left):
            lines = self._by_lines([*columns, NUMBER], self._facts, requests=False)
            parts.append(lines[lines[NUMBER].isin(left)])
        found = sum(map(len, parts))
        if found < len(numbers):
            raise UnsupportedData(str(self.path), f"has {found} of {len(numbers)} lines that it had", "look again")
        return _only(parquet.joined(parts), columns)

    def _parts(
        self, columns: Sequence[str] | None, *, requests: bool = False, last: int = 0, categories: bool = False
    ) -> Iterator[pd.DataFrame]:
        """One at least."""
        read: pd.DataFrame | None = None
        if self._copy is not None:
            try:
                read = self._by_copy(self._copy, columns, requests=requests, last=last, categories=categories)
            except (OSError, UnsupportedData):  # gone, not as it was made: the segment is the truth, only slower
                self._copy = None
            else:
                yield read
        if read is None or self._grows:
            left = self._by_lines(columns, self._facts, requests=requests)
            if read is None or len(left):
                yield left

    @property
    def _facts(self) -> Facts:
        """Of the lines that are copied."""
        return Facts(0) if self._copy is None else self._copy.facts

    def _by_copy(
        self, copy: Copy, columns: Sequence[str] | None, *, requests: bool, last: int, categories: bool
    ) -> pd.DataFrame:
        low, high = self._bounds.low, self._bounds.high
        clauses = [
            *(["(row IS NULL OR row = 0)"] if requests else []),
            *(["time >= ?"] if low is not None else []),
            *(["time < ?"] if high is not None else []),
        ]
        values = [at for at in (low, high) if at is not None]
        where = " AND ".join(clauses) or "TRUE"
        if not last:
            return self._selected(copy, columns, where, values, categories=categories)
        newest = f"{where} ORDER BY time DESC, file_row_number DESC LIMIT {last}"
        return self._selected(copy, columns, newest, values)[::-1]

    def _selected(
        self, copy: Copy, columns: Sequence[str] | None, where: str, values: Sequence[Any], *, categories: bool = False
    ) -> pd.DataFrame:
        known = {item["name"]: item for item in copy.facts.columns}
        given = {**known, NUMBER: {"name": NUMBER, "stored": "file_row_number", "kind": "BIGINT"}}
        wanted = [given[name] for name in (known if columns is None else columns) if name in given]
        return _timed(self._reader.frame(copy.file, wanted, where, values, categories=categories))

    def _by_lines(self, columns: Sequence[str] | None, before: Facts, *, requests: bool) -> pd.DataFrame:
        self._lines = Lines(self.path, before.bytes)
        inside = (raw for raw in self._lines if self._bounds.hold(round(raw["time"] * 1e6)))
        kinds = {item["name"]: item["kind"] for item in before.columns}
        frame = plain_frame(table(inside, worker_of(self.path)), kinds)
        if columns is not None and NUMBER in columns:
            frame[NUMBER] = range(UNCOPIED, UNCOPIED + len(frame))
        if requests:
            frame = frame[frame["row"].isna() | (frame["row"] == 0)]
        return _timed(
            frame if columns is None else frame[[name for name in frame.columns if name in {*columns, "time"}]]
        )


@contextmanager
def piece(reader: parquet.Reader, path: Path, bounds: Bounds) -> Iterator[Piece | None]:
    """None of a closed segment that lies outside."""
    with ExitStack() as held:
        copy, grows = None, False
        with suppress(OSError):  # no room for a copy, not our folder, gone: the segment is the truth, only slower
            grows = growing(path)
            copy = held.enter_context(copied(reader, path, grows=grows))
        outside = copy is not None and not grows and not bounds.overlap(copy.facts)
        yield None if outside else Piece(reader, path, copy, bounds, grows=grows)


def heads(reader: parquet.Reader, path: Path, bounds: Bounds) -> Iterator[Mapping[str, Any]]:
    """Of a segment as far as it lies in the view, as far as that is known without reading a growing one."""
    with suppress(OSError):
        if not growing(path):
            with copied(reader, path) as copy:
                if copy is not None:
                    yield from copy.facts.heads if bounds.overlap(copy.facts) else ()
                return
    yield from first_head(path)


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    if "time" not in frame:
        return frame
    return frame.assign(time=pd.to_datetime(frame["time"].astype("int64"), unit="us", utc=True))


def _only(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Without copying where all are there in this order."""
    return frame if list(frame.columns) == list(columns) else frame.reindex(columns=list(columns))


def ordered(frame: pd.DataFrame, fixed: Sequence[str]) -> pd.DataFrame:
    """What every request has, then keys, then what was asked."""
    others = [name for name in frame.columns if name not in FIXED]
    keys = [name for name in others if name.startswith("key.")]
    return frame[[*fixed, *keys, *(name for name in others if name not in keys)]]
