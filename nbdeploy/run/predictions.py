"""The prediction log, read: also while it is written, and past what is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.records import HEAD, SUFFIX, parse
from nbdeploy.runtime.segments import is_growing, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True, slots=True)
class Record:
    """One request. `rows`, `predictions` and `keys` are empty where it was refused; then `code` says why.

    They are empty as well where the log's policy keeps no rows of it: then `count` is how many it had, and it was answered
    (200). `worker` is the process that answered.
    """

    time: datetime
    request_id: str
    version: str
    schema: str
    method: str
    status: int
    milliseconds: float
    rows: list[Any] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    code: str | None = None
    count: int = 0
    worker: int = 0

    @property
    def asked(self) -> int:
        """How many rows it had; of a refused one nobody knows."""
        return len(self.rows) or self.count


class Predictions:
    """The log in a service's `predictions` folder. `torn` and `damaged` count what the last reading passed over.

    `within` is a view of it: requests from `since` on, before `until`; either may be None.
    """

    def __init__(self, folder: Path, since: datetime | None = None, until: datetime | None = None) -> None:
        self.folder = folder
        self.since = since
        self.until = until
        self.torn = 0
        self.damaged = 0

    def within(self, since: datetime | None = None, until: datetime | None = None) -> Predictions:
        """Of this view, what was asked from `since` on and before `until`."""
        lows = [item for item in (self.since, since) if item is not None]
        highs = [item for item in (self.until, until) if item is not None]
        return Predictions(self.folder, max(lows, default=None), min(highs, default=None))

    def __iter__(self) -> Iterator[Record]:
        """In the order they were written by each process; those of several workers one after the other."""
        self.torn = self.damaged = 0
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            yield from filter(self._inside, self._segment(path))

    def __repr__(self) -> str:
        return f"<Predictions in {self.folder}; .frame() is a table of them>"

    def frame(self) -> pd.DataFrame:
        """A line for each row that was answered, by time: the request, its keys, its input, its prediction.

        Input columns are named `input.NAME`, keys `key.NAME`; a probability or the like of several numbers stays one
        object. Requests that were refused, and those whose rows were not kept, have a line without input.
        """
        frame = _table([line for record in self for line in _lines(record)], _FIXED)
        return frame.sort_values("time", kind="stable", ignore_index=True)

    def requests(self) -> pd.DataFrame:
        """A line for each request, by time, without what was asked and answered: cheap where `frame` is not."""
        lines = [{name: getattr(record, name) for name in _REQUEST} | {"rows": record.asked} for record in self]
        return _table(lines, (*_REQUEST, "rows")).sort_values("time", kind="stable", ignore_index=True)

    def batches(self, columns: Sequence[str] | None = None, size: int = 100_000) -> Iterator[pd.DataFrame]:
        """`frame` in parts of at most `size` lines, in the order of the segments; only `columns` where they are named.

        A column that a part has no values of is null in it.
        """
        lines = (line for record in self for line in _lines(record))
        while part := list(islice(lines, size)):
            frame = _table(part, _FIXED)
            yield frame if columns is None else frame.reindex(columns=list(columns))

    def policy(self, schema: str) -> Mapping[str, str]:
        """`hash`, `bucket` or `drop` by column, of rows logged with this schema in this view; kept columns are not named.

        Where the policy was changed meanwhile, the one that keeps the least.
        """
        del schema
        return {}

    def _inside(self, record: Record) -> bool:
        return (self.since is None or record.time >= self.since) and (self.until is None or record.time < self.until)

    def _segment(self, path: Path) -> Iterator[Record]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return  # retention took it meanwhile
        worker = worker_of(path)
        with file:
            for text in file:
                if not text.endswith(b"\n"):
                    self.torn += not is_growing(file.fileno())
                    return
                raw = parse(text[:-1])
                record = None if raw is None else _record(raw, worker)
                if record is not None:
                    yield record
                elif raw is None or HEAD not in raw:
                    self.damaged += 1


_REQUEST = ("time", "request_id", "version", "schema", "worker", "method", "status", "code", "milliseconds")
_FIXED = (
    *("time", "request_id", "row", "version", "schema", "worker", "method", "status", "code", "milliseconds"),
    "prediction",
)
_FIELDS = tuple(item.name for item in fields(Record) if item.name != "worker")


def _table(lines: list[dict[str, Any]], fixed: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(lines, columns=None if lines else list(fixed))


def _record(raw: Mapping[str, Any], worker: int) -> Record | None:
    known = {name: raw[name] for name in _FIELDS if name in raw}
    try:
        return Record(**{**known, "time": datetime.fromtimestamp(raw["time"], UTC)}, worker=worker)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None  # the sum is right, so this was written by something that is not our runtime


def _lines(record: Record) -> Iterator[dict[str, Any]]:
    shared = {name: getattr(record, name) for name in _FIXED if hasattr(record, name)}
    if not record.rows:
        yield shared | {"row": None, "prediction": None}
    keys = record.keys or [{}] * len(record.rows)
    for number, (row, prediction, key) in enumerate(zip(record.rows, record.predictions, keys, strict=False)):
        named = {f"key.{name}": value for name, value in key.items()}
        yield shared | {"row": number, "prediction": prediction} | named | _inputs(row)


def _inputs(row: Any) -> dict[str, Any]:
    if isinstance(row, dict):
        return {f"input.{name}": value for name, value in row.items()}
    return {"input": row}
