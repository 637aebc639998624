"""What the training sample looked like, column by column, in counts over bins fixed once.

Counts over the same bins add up exactly: the profile of a whole equals the merged profiles of its parts, in any order.
Drift later counts served rows over these very bins (`Profile.counted`) and compares.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.columns import column_values, columns_of, kind_of, labels, length, thinned
from nbdeploy.capture.counts import Bins, Counts, Tally, counts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nbdeploy.runtime.manifest import Schema

MOST_COLUMNS = 2_000


@dataclass(frozen=True)
class Profile:
    """`rows` were counted. `columns`, `target` and `predictions` are Bins or Tallies; None where there is nothing to count."""

    rows: int = 0
    columns: Mapping[str, Counts] = field(default_factory=dict)
    target: Counts | None = None
    predictions: Counts | None = None

    def counted(self, rows: Any, *, target: Any = None, predictions: Any = None) -> Profile:
        """Other rows over the same bins. `rows` is of any container the schema knows; a missing column counts nothing."""
        values = columns_of(rows)
        return Profile(
            rows=length(rows),
            columns={name: own.counted(values(name)) for name, own in self.columns.items()},
            target=_over(self.target, target),
            predictions=_over(self.predictions, predictions),
        )

    def merged(self, other: Profile) -> Profile:
        """Both counted together.

        Raises:
            ValueError: the bins are not the same.
        """
        if self.columns.keys() != other.columns.keys():
            raise ValueError("profiles of different columns cannot be merged")
        return Profile(
            rows=self.rows + other.rows,
            columns={name: own.merged(other.columns[name]) for name, own in self.columns.items()},
            target=_merged(self.target, other.target),
            predictions=_merged(self.predictions, other.predictions),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": 1,
            "rows": self.rows,
            "columns": {name: asdict(counts) for name, counts in self.columns.items()},
            "target": None if self.target is None else asdict(self.target),
            "predictions": None if self.predictions is None else asdict(self.predictions),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Profile:
        return cls(
            rows=raw["rows"],
            columns={name: _read(item) for name, item in raw["columns"].items()},
            target=_read(raw["target"]) if raw.get("target") else None,
            predictions=_read(raw["predictions"]) if raw.get("predictions") else None,
        )


def profile(
    sample: Any, schema: Schema, target: Any = None, predictions: Any = None, *, hidden: Collection[str] = ()
) -> dict[str, Any]:
    """The JSON form of a sample's Profile; at most 100,000 evenly spread rows are counted, and no `hidden` columns.

    `target` may be the name of a column of the sample.
    """
    if isinstance(target, str):
        target = column_values(sample, target)
    rows = thinned(sample)
    values = columns_of(rows)
    columns = {
        name: counts_of(kind, values(name), known)
        for name, kind, known in labels(rows, schema)[:MOST_COLUMNS]
        if name not in hidden
    }
    return Profile(
        rows=length(rows),
        columns=columns,
        target=_fresh(target),
        predictions=_fresh(predictions),
    ).to_dict()


def _fresh(values: Any) -> Counts | None:
    """Counts over bins of their own; None for nothing, and for more than one number a row."""
    flat = column_values(thinned(values), None) if values is not None else None
    return None if flat is None or len(flat) == 0 else counts_of(kind_of(flat), flat, None)


def _over(own: Counts | None, values: Any) -> Counts | None:
    if own is None:
        return None
    flat = column_values(values, None) if values is not None else None
    return own.counted([] if flat is None else flat)


def _merged(own: Counts | None, other: Counts | None) -> Counts | None:
    if own is None or other is None:
        return own or other
    return own.merged(other)


def _read(raw: Mapping[str, Any]) -> Counts:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    return Bins(**values) if "edges" in raw else Tally(**values)
