"""Which columns take a null, and which an unseen value: tried, many in one call, halved where a call fails."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.known import trained_categories
from nbdeploy.capture.quiet import ask
from nbdeploy.capture.rows import cell, has_null
from nbdeploy.runtime import answers, tables
from nbdeploy.runtime.checks import integer_range
from nbdeploy.runtime.schema import group_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from nbdeploy.capture.methods import Seen
    from nbdeploy.capture.quiet import Budget
    from nbdeploy.runtime.manifest import Column, Method, Schema

FEW_INTEGERS = 50  # integers within so narrow a range may be codes, of which the model knows some only
MOST_LISTED = 10_000  # values of a column that takes no others


@dataclass(frozen=True, eq=False)
class Try:
    """One row; `what` is "null", "unseen", "known" or "whole", `column` the place of the column it is about."""

    what: str
    column: int
    row: Any
    value: Any = None


@dataclass
class Tried:
    """`answers` holds what the kernel answered to each try in `taken`."""

    schema: Schema
    taken: list[Try] = field(default_factory=list)
    answers: dict[Try, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Trial:
    def __init__(self, model: Any, schema: Schema, methods: Sequence[Method], budget: Budget) -> None:
        self.model = model
        self.schema = schema
        self.methods = methods
        self.budget = budget
        self.answers: dict[Try, dict[str, Any]] = {}
        self.untried: list[Try] = []

    def taken(self, tries: Sequence[Try]) -> list[Try]:
        """Those that every method answers."""
        for method in self.methods:
            tries = self._halved(method, tries)
        return list(tries)

    def call(self, method: Method, rows: Sequence[Any]) -> list[Any] | None:
        try:
            value = ask(self.model, method.name, tables.build(self.schema, rows))
            return answers.encode(method.output, value, len(rows))
        except Exception:  # noqa: BLE001  # a model refuses rows by raising anything
            return None

    def _halved(self, method: Method, tries: Sequence[Try]) -> list[Try]:
        if not tries:
            return []
        if not self.budget.allows(method.milliseconds / 1000):
            self.untried += tries
            return []
        found = self.call(method, [item.row for item in tries])
        if found is not None:
            for item, answer in zip(tries, found, strict=True):
                self.answers.setdefault(item, {})[method.name] = answer
            return list(tries)
        middle = len(tries) // 2
        return self._halved(method, tries[:middle]) + self._halved(method, tries[middle:]) if middle else []


def accepted(model: Any, schema: Schema, seen: Seen, budget: Budget, sample: Any) -> Tried:
    """The schema with `nullable` and `unseen` as the model answered."""
    base = next((row for row in seen.rows if not has_null(row)), seen.rows[0])
    open_schema = replace(schema, columns=tuple(replace(column, nullable=True) for column in schema.columns))
    trial = Trial(model, open_schema, seen.methods, budget)
    tries = list(_tries(open_schema, base))
    taken = [item for group in _alike(open_schema, tries) for item in trial.taken(group)]
    untried = list(trial.untried)
    refused = {item.column for item in tries if item.what == "unseen" and item not in taken and item not in untried}
    answered = {
        place for place in range(len(schema.columns)) if any(has_null(cell(schema, row, place)) for row in seen.rows)
    }
    columns = [_as_tried(column, place, taken, answered) for place, column in enumerate(schema.columns)]
    for place in refused:
        columns[place] = _listed(trial, columns[place], place, base, sample)
    return Tried(replace(schema, columns=tuple(columns)), taken, trial.answers, _told(schema, untried))


def with_cell(schema: Schema, row: Any, place: int, value: Any) -> Any:
    """The row with another value in the column at `place`; a column that is a whole array has it in its first cell."""
    if schema.keyed:
        return {**row, schema.columns[place].name: value}
    if not isinstance(row, list):
        return value
    if len(schema.columns) == 1 and isinstance(row[0], list):
        return [with_cell(schema, row[0], 0, value), *row[1:]]
    return [*row[:place], value, *row[place + 1 :]]


def _tries(schema: Schema, base: Any) -> Iterator[Try]:
    for place in range(len(schema.columns)):
        yield Try("null", place, with_cell(schema, base, place, None))
    for place, column in enumerate(schema.columns):
        value = _unseen_value(schema, column)
        if value is not None:
            yield Try("unseen", place, with_cell(schema, base, place, value), value)
    whole = _whole(schema, base)
    if whole is not None:
        yield Try("whole", -1, whole)


def _unseen_value(schema: Schema, column: Column) -> Any:
    if column.ordered or column.dtype == "Enum" or "datetime" in column.dtype or "timedelta" in column.dtype:
        return None
    if column.kind == "text" or (column.categories and all(isinstance(item, str) for item in column.categories)):
        return "(unseen)" if "(unseen)" not in (column.categories or ()) else "(unseen value)"
    if column.categories and all(type(item) in {int, float} for item in column.categories):
        return max(column.categories) + 1
    if column.kind == "integer" and _few(schema, column):
        return _beyond(column)
    return None


def _beyond(column: Column) -> int | None:
    """A value above the range seen, where the dtype has room."""
    bounds = integer_range(column.dtype)
    return column.high + 1 if bounds is None or column.high < bounds[1] else None


def _few(schema: Schema, column: Column) -> bool:
    keyed = schema.keyed
    return keyed and column.low is not None and column.high - column.low <= FEW_INTEGERS


def _whole(schema: Schema, base: Any) -> Any:
    """The base row with its floats rounded, as JSON integers."""
    row = base
    for place, column in enumerate(schema.columns):
        value = cell(schema, base, place)
        if column.kind == "number" and isinstance(value, float):
            row = with_cell(schema, row, place, round(value))
    return None if row is base else row


def _alike(schema: Schema, tries: Sequence[Try]) -> list[list[Try]]:
    """Tries whose tables have the same dtypes, and those that change some, which are tried together all the same."""
    plain = group_of(schema, [])
    same = [item for item in tries if group_of(schema, [item.row]) == plain]
    shifting = [item for item in tries if group_of(schema, [item.row]) != plain]
    return [group for group in (same, shifting) if group]


def _as_tried(column: Column, place: int, taken: Sequence[Try], answered: Container[int]) -> Column:
    """`answered` are the columns with a null in a golden row: nothing more has to be tried there."""
    whats = {item.what for item in taken if item.column == place}
    return replace(
        column, nullable="null" in whats or place in answered, unseen=column.categories is None or "unseen" in whats
    )


def _listed(trial: Trial, column: Column, place: int, base: Any, sample: Any) -> Column:
    """A column whose unseen values the model refuses: those of the sample and those the model itself lists are known."""
    known = column.categories if column.categories is not None else _distinct(trial.schema, place, sample)
    if known is None:
        return column
    extra: list[Any] = []
    if not column.dtype.startswith("category"):
        more = [value for value in trained_categories(trial.model, known) if value not in set(known)]
        tries = [Try("known", place, with_cell(trial.schema, base, place, value), value) for value in more]
        extra = [item.value for item in trial.taken(tries)]
    return replace(column, kind="category", categories=(*known, *extra), unseen=False, low=None, high=None)


def _distinct(schema: Schema, place: int, sample: Any) -> tuple[Any, ...] | None:
    found = {cell(schema, row, place) for row in tables.rows_of(schema, sample)} - {None}
    return tuple(sorted(found)) if len(found) <= MOST_LISTED else None


def _told(schema: Schema, untried: Sequence[Try]) -> list[str]:
    names = list(dict.fromkeys(schema.columns[item.column].name for item in untried if item.column >= 0))
    if not names:
        return []
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return [f"The model is too slow to try everything; nulls and unseen values are refused in: {shown}."]
