"""The prediction log, read: also while it is written, and past what is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.predlog import is_growing
from nbdeploy.runtime.records import SUFFIX, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True, slots=True)
class Record:
    """One request. `rows`, `predictions` and `keys` are empty where it was refused; then `code` says why."""

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


class Predictions:
    """The log in a service's `predictions` folder. `torn` and `damaged` count what the last reading passed over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torn = 0
        self.damaged = 0

    def __iter__(self) -> Iterator[Record]:
        """In the order they were written by each process; those of several workers one after the other."""
        self.torn = self.damaged = 0
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            yield from self._segment(path)

    def __repr__(self) -> str:
        return f"<Predictions in {self.folder}; .frame() is a table of them>"

    def frame(self) -> pd.DataFrame:
        """A line for each row that was answered, by time: the request, its keys, its input, its prediction.

        Input columns are named `input.NAME`, keys `key.NAME`; a probability or the like of several numbers stays one
        object. Requests that were refused have a line without input.
        """
        import pandas as pd

        lines = [line for record in self for line in _lines(record)]
        frame = pd.DataFrame(lines, columns=None if lines else list(_FIXED))
        return frame.sort_values("time", kind="stable", ignore_index=True)

    def _segment(self, path: Path) -> Iterator[Record]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return  # retention took it meanwhile
        with file:
            for text in file:
                if not text.endswith(b"\n"):
                    self.torn += not is_growing(file.fileno())
                    return
                record = _record(text[:-1])
                if record is None:
                    self.damaged += 1
                else:
                    yield record


_FIXED = ("time", "request_id", "row", "version", "schema", "method", "status", "code", "milliseconds", "prediction")
_FIELDS = tuple(item.name for item in fields(Record))


def _record(text: bytes) -> Record | None:
    raw = parse(text)
    if raw is None:
        return None
    known = {name: raw[name] for name in _FIELDS if name in raw}
    try:
        return Record(**{**known, "time": datetime.fromtimestamp(raw["time"], UTC)})
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
