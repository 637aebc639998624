"""JSON rows into what the model is given, and any table into JSON rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import frames, polar
from .columns import builder, missing, numpy_values, plain, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .manifest import Column, Schema


class SingleRow(ValueError):
    """One row or value where several are wanted."""

    def __init__(self, fact: str, advice: str) -> None:
        super().__init__(f"{fact}; {advice}")
        self.fact = fact
        self.advice = advice


def build(schema: Schema, rows: Sequence[Any]) -> Any:
    """What the model is given: of the sample's type, with its labels, dtypes and order; pandas with a fresh RangeIndex."""
    return builder_of(schema)(rows)


@lru_cache(maxsize=64)
def builder_of(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    """`build` for one schema, prepared; to be kept by whoever builds often."""
    return _BUILDERS[schema.container](schema)


def rows_of(schema: Schema, data: Any) -> list[Any]:
    """The JSON rows of a table, array, Series or list: the schema's own type, or any other that holds the same.

    Columns of a frame are taken by their labels, in any order; one the schema does not know keeps its name, so that the
    service can name it.

    Raises:
        SingleRow: the data is not several rows but one, or one value.
        TypeError, ValueError: the data has no JSON form, or not that of rows of this schema.
    """
    _refuse_single(schema, data)
    if schema.keyed:
        return _keyed_rows(schema, data)
    values = _values(data)
    column = schema.columns[0]
    if schema.container == "array":
        return [_whole_array(schema, row) for row in values] if _wants_integers(schema) else values
    return [_fitting(column, value) for value in values]


def _refuse_single(schema: Schema, data: Any) -> None:
    kind = type(data).__name__
    if isinstance(data, str | bytes):
        raise SingleRow("is a single text", "give a list of rows: [text]")
    if isinstance(data, dict):
        raise SingleRow("is a single record", "give a list of rows: [record]")
    if data is None or isinstance(data, bool | int | float | np.generic):
        raise SingleRow(f"is a single {kind}", "give a list of rows: [value]")
    wide = schema.keyed or bool(schema.shape)
    if wide and (polar.is_series(data) or (hasattr(data, "iloc") and not hasattr(data, "columns"))):
        raise SingleRow("is a Series: one row, or one column", "give a table: X.iloc[[0]] for one row of X")


def _keyed_rows(schema: Schema, data: Any) -> list[Any]:
    if isinstance(data, list | tuple) and all(isinstance(row, dict) for row in data):
        return [_record(schema, row) for row in data]
    columns = _columns(schema, data)
    own = {column.name: column for column in schema.columns}
    ordered = [name for name in own if name in columns] + [name for name in columns if name not in own]
    cells = [
        [_fitting(own[name], value) for value in columns[name]]
        if name in own and own[name].kind in _FITTED
        else columns[name]
        for name in ordered
    ]
    return [dict(zip(ordered, row, strict=True)) for row in zip(*cells, strict=True)]


def _columns(schema: Schema, data: Any) -> Mapping[str, list[Any]]:
    """JSON values by wire name."""
    names = {column.name if column.label is None else column.label: column.name for column in schema.columns}
    if polar.is_frame(data):
        return {series.name: polar.values_of(series) for series in data.get_columns()}
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return {
            names.get(label, str(label)): values_of(data.iloc[:, place]) for place, label in enumerate(data.columns)
        }
    array = np.asarray(data)
    if array.ndim != 2 or array.shape[1] != len(schema.columns):
        raise ValueError(f"rows of {len(schema.columns)} columns are needed, not an array of shape {array.shape}")
    return {column.name: numpy_values(array[:, place]) for place, column in enumerate(schema.columns)}


def _record(schema: Schema, row: Mapping[Any, Any]) -> dict[str, Any]:
    own = {column.name: column for column in schema.columns}
    names = {column.label: column.name for column in schema.columns if column.label is not None}
    given = {names.get(label, str(label)): _plain(value) for label, value in row.items()}
    ordered = [name for name in own if name in given] + [name for name in given if name not in own]
    return {name: _fitting(own[name], given[name]) if name in own else given[name] for name in ordered}


def _values(data: Any) -> Any:
    if polar.is_series(data):
        return polar.values_of(data)
    if polar.is_frame(data) or (hasattr(data, "iloc") and hasattr(data, "columns")):
        return numpy_values(data.to_numpy())
    if hasattr(data, "iloc"):
        return values_of(data)
    if isinstance(data, np.ndarray):
        return numpy_values(data)
    return [_nested(value) for value in data]


def _nested(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    return numpy_values(value) if isinstance(value, np.ndarray) else _plain(value)


def _plain(value: Any) -> Any:
    """One value of a record or list as JSON; moments and durations as a frame's columns have them."""
    if not isinstance(value, date | timedelta) or type(value).__name__ == "NaTType":
        return plain(value)
    aware = getattr(value, "tzinfo", None) is not None
    if hasattr(value, "to_numpy"):  # of pandas, to the nanosecond
        count = value.to_numpy()
    elif isinstance(value, timedelta):
        count = np.timedelta64(value)
    else:
        count = np.datetime64(
            value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and aware else value
        )
    text = numpy_values(np.array([count]))[0]
    return f"{text}Z" if aware else text


_FITTED = {"integer", "number"}


def _fitting(column: Column, value: Any) -> Any:
    """A whole float where integers are wanted is one: pandas makes such of integers beside missing values. NaN is
    missing, unless the column knows both.
    """
    if column.kind == "integer" and type(value) is float and value.is_integer():
        return int(value)
    if column.kind == "number" and type(value) is int and -(2**53) <= value <= 2**53:
        return float(value)
    return None if value == "NaN" and column.kind == "number" and not column.nonfinite else value


def _wants_integers(schema: Schema) -> bool:
    return any(column.kind in _FITTED for column in schema.columns)


def _whole_array(schema: Schema, row: Any) -> Any:
    if not isinstance(row, list):
        return _fitting(schema.columns[0], row)
    if len(schema.columns) == len(row) and len(schema.shape) == 1:
        return [_fitting(column, value) for column, value in zip(schema.columns, row, strict=True)]
    return [_whole_array(schema, item) for item in row]


def _series(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    column = schema.columns[0]
    if schema.library == "polars":
        return polar.series_builder(column, schema.name)
    make = builder(column)

    def build_series(rows: Sequence[Any]) -> Any:
        import pandas as pd

        array = make(rows)
        return pd.Series(array, name=schema.name, dtype=array.dtype)

    return build_series


def _array(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    if schema.library in {"list", "tuple"}:
        return _lists(schema)
    if not schema.shape:
        return builder(schema.columns[0])
    dtype = schema.dtype or "float64"
    if dtype == "object":
        nulls = [missing(column.null) for column in schema.columns]
        return lambda rows: _object_array(schema, rows, nulls)
    return lambda rows: _plain_array(schema, rows, dtype)


def _plain_array(schema: Schema, rows: Sequence[Any], dtype: str) -> Any:
    if not rows:
        return np.empty((0, *schema.shape), dtype=dtype)
    if dtype.startswith("float"):
        return np.array(rows, dtype=dtype)
    flat = rows
    for _ in schema.shape:
        flat = [value for row in flat for value in row]
    column = schema.columns[0]
    return np.asarray(builder(column)(flat)).reshape(len(rows), *schema.shape)


def _object_array(schema: Schema, rows: Sequence[Any], nulls: list[Any]) -> Any:
    array = np.empty((len(rows), *schema.shape), dtype=object)
    if rows:
        array[:] = rows
    for place, null in enumerate(nulls):
        if null is not None:
            part = array[:, place] if len(nulls) > 1 else array
            part[part == None] = null  # noqa: E711  # of each element
    return array


def _lists(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    inner: Callable[[Any], Any] = tuple if schema.library == "tuple" else list
    restore = [_restorer(column) for column in schema.columns]

    def row_of(row: Sequence[Any], depth: int) -> Any:
        if depth > 1:
            return inner(row_of(item, depth - 1) for item in row)
        if len(restore) == len(row):
            return inner(function(value) for function, value in zip(restore, row, strict=True))
        return inner(restore[0](value) for value in row)

    return lambda rows: [row_of(row, len(schema.shape)) for row in rows]


def _records(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    parts = [
        (column.name, column.name if column.label is None else column.label, _restorer(column))
        for column in schema.columns
    ]
    return lambda rows: [{label: restore(row[name]) for name, label, restore in parts} for row in rows]


def _single(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    restore = _restorer(schema.columns[0])
    return lambda rows: [restore(value) for value in rows]


def _restorer(column: Column) -> Callable[[Any], Any]:
    """One JSON value as the Python value of a list or record."""
    null = missing(column.null)
    special = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")} if column.nonfinite else {}

    def restore(value: Any) -> Any:
        if value is None:
            return null
        return special.get(value, value) if special and type(value) is str else value

    return restore


_BUILDERS: dict[str, Callable[[Schema], Callable[[Sequence[Any]], Any]]] = {
    "frame": frames.frame_builder,
    "series": _series,
    "array": _array,
    "records": _records,
    "texts": _single,
    "values": _single,
}
