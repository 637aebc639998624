"""What the prediction log keeps of a row: each column as it is, as a keyed hash, as the bucket it lies in, or not at all.

A dropped column is absent from the row's object, and null where a row is a list or one value. Equal values have equal
hashes (of their text: 7, 7.0 and "7" are one), which nobody can look up without the service's secret. A number in a
bucket is written as the bucket's lower end, so that counts over the same bins stay what they are; a moment as its day.
"""

from __future__ import annotations

import hmac
import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .manifest import Schema

    Change = Callable[[Any], Any]

WORDS = ("keep", "bucket", "hash", "drop")  # each keeps less than the one before
HASHED = 12  # bytes of a hash


@dataclass(frozen=True, slots=True)
class Policy:
    """`columns`: a word for each that is not kept as it is. `edges` of those bucketed by bins; without, in steps of 1, 2,
    5 and their tens. `sample`: the share of requests whose rows, predictions and keys are kept.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    edges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sample: float = 1.0
    secret: str = ""  # hexadecimal

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Policy:
        return cls(**raw)

    @property
    def keeps_all(self) -> bool:
        return not self.columns and self.sample >= 1.0

    def sampled(self) -> bool:
        """Whether the rows of the next request are kept."""
        return self.sample >= 1.0 or random.random() < self.sample  # noqa: S311 - no secret hangs on it

    def rows(self, schema: Schema) -> Change | None:
        """What is kept of one row; None where that is all of it."""
        if not any(column.name in self.columns for column in schema.columns):
            return None
        if schema.keyed:
            return _object(self._changes([(column.name, column.kind) for column in schema.columns]))
        changes = [self._change(column.name, column.kind) for column in schema.columns]
        if schema.container == "array" and len(schema.shape) == 1 and len(changes) == schema.shape[0]:
            return lambda row: [
                value if change is None else change(value) for value, change in zip(row, changes, strict=True)
            ]
        return changes[0]

    def keys(self, schema: Schema) -> Change | None:
        """The same of a row's keys."""
        changes = self._changes([(name, "any") for name in schema.keys])
        return _object(changes) if changes else None

    def kinds(self, schema: Schema) -> dict[str, str]:
        """Of what is logged of rows that are objects, each column's kind; none of other rows."""
        if not schema.keyed:
            return {}
        kinds = {column.name: column.kind for column in schema.columns}
        changed = {name: "text" for name, word in self.columns.items() if word == "hash"}
        return {name: changed.get(name, kinds[name]) for name in self.names(kinds)}

    def element(self, schema: Schema) -> str | None:
        """The kind of what is logged of rows that are lists of numbers: integer or number."""
        kinds = {column.kind for column in schema.columns}
        if schema.container != "array" or len(schema.shape) != 1 or not kinds <= {"integer", "number"}:
            return None
        if any(self.columns.get(column.name) == "hash" for column in schema.columns):
            return None
        return "integer" if kinds == {"integer"} else "number"

    def names(self, known: Iterable[str]) -> list[str]:
        """Those that are logged at all."""
        return [name for name in known if self.columns.get(name) != "drop"]

    def _changes(self, columns: Sequence[tuple[str, str]]) -> dict[str, Change]:
        found = {name: self._change(name, kind) for name, kind in columns}
        return {name: change for name, change in found.items() if change is not None}

    def _change(self, name: str, kind: str) -> Change | None:
        word = self.columns.get(name, "keep")
        if word == "hash":
            secret = bytes.fromhex(self.secret)
            return lambda value: hashed(secret, value)
        if word == "bucket":
            return day if kind == "datetime" else bucket(self.edges.get(name))
        return None if word == "keep" else dropped


def default(schema: Schema) -> dict[str, str]:
    """Free text is not kept unless somebody says so."""
    return {column.name: "drop" for column in schema.columns if column.kind == "text"}


def dropped(_value: Any) -> None:
    """Nothing of it."""


def day(value: Any) -> Any:
    return value[:10] if isinstance(value, str) else value


def hashed(secret: bytes, value: Any) -> str | None:
    if value is None:
        return None
    return hmac.digest(secret, text_of(value).encode(errors="surrogatepass"), "sha256")[:HASHED].hex()


def text_of(value: Any) -> str:
    """Keys come as numbers from one table and as texts from another."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def bucket(edges: Sequence[float] | None) -> Change:
    """The lower end of the bin [edges[i-1], edges[i]) a number lies in; of the step it is in where there are no edges."""
    if edges is None:
        return step
    below = math.nextafter(edges[0], -math.inf)

    def lower(value: Any) -> Any:
        if type(value) not in {int, float} or value != value:  # noqa: PLR0124  # NaN
            return value
        place = bisect_right(edges, value)
        low = edges[place - 1] if place else below
        return low if type(value) is float else math.ceil(low) if place else math.floor(low)

    return lower


def step(value: Any) -> Any:
    """1, 2, 5, 10, 20, 50, ... next to zero."""
    if type(value) not in {int, float} or not value or not math.isfinite(value):
        return value
    size = abs(value)
    ten = 10.0 ** math.floor(math.log10(size))
    low = next((lead * ten for lead in (5, 2, 1) if lead * ten <= size), ten / 10 * 5)
    return math.copysign(low, value) if type(value) is float else int(math.copysign(low, value))


def _object(changes: Mapping[str, Change]) -> Change:
    gone = frozenset(name for name, change in changes.items() if change is dropped)
    others = [(name, change) for name, change in changes.items() if name not in gone]

    def kept(row: Any) -> Any:
        row = {name: value for name, value in row.items() if name not in gone}
        for name, change in others:
            if name in row:
                row[name] = change(row[name])
        return row

    return kept
