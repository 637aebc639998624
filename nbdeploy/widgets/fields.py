"""A form for one row, made from the schema: which control suits a column, and the row as JSON has it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.runtime.manifest import Column, Schema

Control = Literal["slider", "number", "choice", "switch", "text", "json"]
STEPS = 2_000  # of a slider, at most
POINTS = 25  # of a what-if
MOST_CHOICES = 200
ONE = "value"  # the column of a series, of texts and of values


@dataclass(frozen=True)
class Field:
    """`low` and `high` are the range seen in training; `choices` the JSON values seen."""

    name: str
    control: Control
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    nullable: bool = False
    unseen: bool = False  # another value than the choices is answered too

    @property
    def step(self) -> float:
        """A round number, so that at most STEPS make the range; 1 for whole numbers."""
        exact = (self.high - self.low) / STEPS
        if self.whole or exact <= 0:
            return 1.0
        power = 10.0 ** math.floor(math.log10(exact))
        return next(power * times for times in (1, 2, 5, 10, 20) if power * times >= exact)

    @property
    def note(self) -> str:
        if self.control == "slider":
            return f"seen: {self.low:g} to {self.high:g}"
        return "null is answered" if self.nullable else ""

    def points(self) -> list[Any]:
        """What a what-if asks: the range in even steps, or every choice."""
        if self.control == "choice":
            return list(self.choices[:POINTS])
        if self.control == "switch":
            return [False, True]
        if self.control != "slider":
            return []
        if self.whole:
            width = max(1, math.ceil((self.high - self.low) / (POINTS - 1)))
            return list(range(int(self.low), int(self.high) + 1, width))
        return [float(f"{self.low + (self.high - self.low) * n / (POINTS - 1):.6g}") for n in range(POINTS)]

    def written(self, value: Any) -> str:
        """As `read` takes it."""
        text = self.control == "text" and isinstance(value, str)
        return value if text else json.dumps(value, ensure_ascii=False)

    def read(self, text: str) -> Any:
        """The JSON value of what was typed. Raises ValueError, in words."""
        if self.control == "text":
            return text
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except ValueError:
            raise ValueError(f"{self.name}: {text!r} is not a JSON value, such as 1.5, true or [1, 2].") from None
        if self.control == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{self.name}: {text!r} is not a number.")
        return value


def fields(schema: Schema) -> tuple[Field, ...]:
    if schema.columns and (not schema.shape or _in_places(schema)):
        return tuple(map(_field, schema.columns))
    if _in_places(schema):
        return tuple(Field(str(place), "number") for place in range(schema.shape[0]))
    return (Field(ONE, "json"),)


def row(schema: Schema, values: Mapping[str, Any]) -> Any:
    """The row as the service takes it, from its values by field."""
    if schema.keyed:
        return dict(values)
    if _in_places(schema):
        return [values[str(place)] for place in range(schema.shape[0])]
    return values[ONE]


def values(schema: Schema, row: Any) -> dict[str, Any]:
    """By field, of a row as the service takes it."""
    if isinstance(row, dict) and schema.keyed:
        return {column.name: row.get(column.name) for column in schema.columns}
    if _in_places(schema):
        return {str(place): value for place, value in enumerate(row)}
    return {ONE: row}


def _in_places(schema: Schema) -> bool:
    """Whether a row is a list of values with a control each, called by their places."""
    return len(schema.shape) == 1 and len(schema.columns) in {0, schema.shape[0]}


def _field(column: Column) -> Field:
    plain = Field(column.name, "json", nullable=column.nullable, unseen=column.unseen)
    if column.categories is not None and len(column.categories) <= MOST_CHOICES:
        return replace(plain, control="choice", choices=tuple(column.categories))
    if column.kind in {"integer", "number"} and not column.nonfinite:  # that is the text "Infinity" in JSON
        whole = column.kind == "integer"
        if not _ranged(column.low, column.high):
            return replace(plain, control="number", whole=whole)
        return _on_grid(replace(plain, control="slider", whole=whole, low=float(column.low), high=float(column.high)))
    if column.kind == "boolean":
        return replace(plain, control="switch")
    texts = column.categories is None or all(isinstance(choice, str) for choice in column.categories)
    if column.kind in {"text", "category", "datetime", "timedelta"} and texts:
        return replace(plain, control="text")
    return plain


def _on_grid(item: Field) -> Field:
    """Its ends on multiples of the step, where a slider stops: the values of most rows then lie on one too."""
    step = item.step
    low, high = math.floor(item.low / step) * step, math.ceil(item.high / step) * step
    return replace(item, low=float(f"{low:.12g}"), high=float(f"{high:.12g}"))  # -2.3, not -2.3000000000000003


def _ranged(low: Any, high: Any) -> bool:
    """Whether a slider can show it."""
    numbers = all(isinstance(end, int | float) and math.isfinite(end) and abs(end) < 1e15 for end in (low, high))
    return numbers and low < high


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def choices_of(shown: Sequence[Field]) -> list[str]:
    """The columns a what-if can move."""
    return [item.name for item in shown if len(item.points()) > 1]
