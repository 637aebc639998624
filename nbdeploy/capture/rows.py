"""Golden rows: a few of the sample that cover its categories, missing values and extremes, or invented ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.columns import rows_at
from nbdeploy.runtime import tables, times
from nbdeploy.runtime.checks import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from nbdeploy.runtime.manifest import Column, Schema

ROWS = 20
WISHED = 16  # rows chosen for a reason; the rest are spread over the sample
EACH = 8  # categories of one column that are wished for
CELLS = 10_000  # of the sample, looked at for wishes
INVENTED = 8


@dataclass(frozen=True)
class Rows:
    """JSON rows, and a way to have what the kernel gives the model for some of them, fresh at each call."""

    rows: list[Any]
    native: Callable[[Sequence[int]], Any]

    def only(self, places: Sequence[int]) -> Rows:
        return Rows([self.rows[place] for place in places], lambda some: self.native([places[place] for place in some]))


def choose(schema: Schema, sample: Any) -> Rows:
    """The same sample gives the same rows."""
    looked_at = _spread(len(sample), max(ROWS, min(1000, CELLS // max(1, _width(schema)))))
    rows = tables.rows_of(schema, take(sample, looked_at))
    chosen: dict[int, None] = {0: None}
    for place in _wishes(schema, rows):
        if len(chosen) >= WISHED:
            break
        chosen.setdefault(place)
    for place in _spread(len(rows), ROWS):
        if len(chosen) >= ROWS:
            break
        chosen.setdefault(place)
    places = sorted(chosen)
    positions = [looked_at[place] for place in places]
    return Rows([rows[place] for place in places], lambda some: take(sample, [positions[place] for place in some]))


def invented(schema: Schema) -> Rows:
    """Made from ranges and categories; nothing of the sample's own rows."""
    rows = [_shaped(schema, number) for number in range(INVENTED)]
    return Rows(rows, lambda some: tables.build(schema, [rows[place] for place in some]))


def without(schema: Schema, chosen: Rows, hidden: Collection[str]) -> Rows:
    """The same rows with made-up values in the hidden columns."""
    places = [place for place, column in enumerate(schema.columns) if column.name in hidden]
    if not places:
        return chosen
    rows = [_masked(schema, row, number, places) for number, row in enumerate(chosen.rows)]
    return Rows(rows, lambda some: tables.build(schema, [rows[place] for place in some]))


def _masked(schema: Schema, row: Any, number: int, places: Sequence[int]) -> Any:
    made = _shaped(schema, number)
    if isinstance(row, dict):
        return row | {schema.columns[place].name: made[schema.columns[place].name] for place in places}
    if isinstance(row, list) and len(schema.columns) > 1:
        return [made[place] if place in places else value for place, value in enumerate(row)]
    return made


def take(sample: Any, positions: Sequence[int]) -> Any:
    """Copies, which a model may change."""
    if isinstance(sample, list):
        return [dict(row) if isinstance(row, dict) else row for row in (sample[place] for place in positions)]
    return rows_at(sample, list(positions))


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_null(item) for item in value.values())
    return any(has_null(item) for item in value) if isinstance(value, list) else value is None


def cell(schema: Schema, row: Any, place: int) -> Any:
    """The value of the column at `place`."""
    if schema.keyed:
        return row[schema.columns[place].name]
    return row[place] if isinstance(row, list) and len(schema.columns) > 1 else row


def _width(schema: Schema) -> int:
    count = len(schema.columns)
    for length in schema.shape if count == 1 else ():
        count *= length
    return count


def _spread(count: int, wanted: int) -> list[int]:
    if count <= wanted:
        return list(range(count))
    return [place * (count - 1) // (wanted - 1) for place in range(wanted)]


def _wishes(schema: Schema, rows: Sequence[Any]) -> Iterator[int]:
    columns = [(column, [cell(schema, row, place) for row in rows]) for place, column in enumerate(schema.columns)]
    for column, values in columns:
        if column.missing and None in values:
            yield values.index(None)
    for column, values in columns:
        for category in (column.categories or ())[:EACH]:
            if category in values:
                yield values.index(category)
    for column, values in columns:
        if column.kind in {"integer", "number"}:
            yield from _extremes(values)


def _extremes(values: Sequence[Any]) -> Iterator[int]:
    numbers = [(value, place) for place, value in enumerate(values) if isinstance(value, int | float)]
    if numbers:
        yield min(numbers, key=lambda pair: pair[0])[1]
        yield max(numbers, key=lambda pair: pair[0])[1]


def _shaped(schema: Schema, number: int) -> Any:
    values = [_invented(column, number, place) for place, column in enumerate(schema.columns)]
    if schema.keyed:
        return dict(zip((column.name for column in schema.columns), values, strict=True))
    if schema.container != "array" or not schema.shape:
        return values[0]
    return values if len(values) > 1 else _filled(schema.columns[0], schema.shape, number)


def _filled(column: Column, shape: Sequence[int], number: int) -> Any:
    if not shape:
        return _invented(column, number, 0)
    return [_filled(column, shape[1:], number + place) for place in range(shape[0])]


def _invented(column: Column, number: int, place: int) -> Any:
    if column.missing and number == place % INVENTED:
        return None
    step = number + place
    if column.categories:
        return column.categories[step % len(column.categories)]
    if column.kind in {"integer", "number"}:
        return _between(column, step)
    if column.kind == "boolean":
        return step % 2 == 0
    if column.kind == "datetime":
        return _moment(column, step)
    if column.kind == "timedelta":
        return times.duration_text(step * 10**9 * 60 // times.UNITS[unit_of(column.dtype)[0]], unit_of(column.dtype)[0])
    return f"text {step}" if column.kind == "text" else step


def _between(column: Column, step: int) -> Any:
    if column.low is None:
        return None if column.missing else 0
    share = step * 5 % 8 / 7
    value = column.low + (column.high - column.low) * share
    return round(value) if column.kind == "integer" else float(value)


def _moment(column: Column, step: int) -> Any:
    if column.low is None:
        return None
    unit, aware = unit_of(column.dtype)
    low, high = (times.moment(text, unit, aware=aware) for text in (column.low, column.high))
    return times.moment_text(low + (high - low) * (step * 5 % 8) // 7, unit, aware=aware)
