"""The columns of a sample, whatever it is: a frame of pandas or polars, a Series, an array, records, a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.runtime.manifest import Schema

MOST_ROWS = 100_000


def length(rows: Any) -> int:
    shape = getattr(rows, "shape", None)
    return int(shape[0]) if shape else len(rows)


def rows_at(rows: Any, places: Sequence[int] | slice) -> Any:
    """Some rows, in the container they came in."""
    if hasattr(rows, "iloc"):
        return rows.iloc[places]
    if isinstance(places, slice) or hasattr(rows, "shape"):
        return rows[places]
    return [rows[place] for place in places]


def thinned(rows: Any, most: int = MOST_ROWS) -> Any:
    """All rows, or every n-th so that at most `most` remain."""
    count = length(rows)
    return rows if count <= most else rows_at(rows, slice(0, count, -(-count // most)))


def labels(rows: Any, schema: Schema) -> list[tuple[str, str, tuple[Any, ...] | None]]:
    """Name, kind and known categories of each column; the features of an array are called 0, 1, ..."""
    if schema.columns:
        return [(column.name, column.kind, column.categories) for column in schema.columns]
    shape = _shape(rows)
    width = 1 if len(shape) < 2 else shape[1]
    return [(str(number), kind_of(column_values(rows, str(number))), None) for number in range(width)]


def column_values(rows: Any, name: str | None) -> Any:
    """One column as a pandas Series, array or list; `name` None asks for the one column of a target.

    Empty where there is no such column, or where a row is more than one value.
    """
    return _only(rows) if name is None else columns_of(rows)(name)


def columns_of(rows: Any) -> Callable[[str], Any]:
    """`column_values` for many names of the same rows, whose labels are looked through once."""
    if not hasattr(rows, "columns"):
        return lambda name: _unlabelled(rows, name)
    known = {str(label): label for label in reversed(list(rows.columns))}  # of two that read alike the first
    return lambda name: _plain_series(rows[known[name]]) if name in known else []


def _unlabelled(rows: Any, name: str) -> Any:
    """Of an array, records or a list."""
    if _shape(rows) and len(_shape(rows)) == 2:
        return _of_matrix(rows, name)
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        return [row.get(name) for row in rows]
    return _only(rows)


def _shape(rows: Any) -> tuple[int, ...]:
    return tuple(getattr(rows, "shape", ()))


def _only(rows: Any) -> Any:
    shape = _shape(rows)
    if len(shape) == 2 and shape[1] == 1:
        return _plain_series(rows.iloc[:, 0]) if hasattr(rows, "iloc") else _of_matrix(rows, "0")
    if len(shape) > 1 or (isinstance(rows, list) and rows and isinstance(rows[0], (list, dict))):
        return []
    return _plain_series(rows)


def _of_matrix(rows: Any, name: str) -> Any:
    if not name.isdecimal() or int(name) >= _shape(rows)[1]:
        return []
    column = rows[:, int(name)]
    return column.toarray().ravel() if hasattr(column, "toarray") else column


def _plain_series(series: Any) -> Any:
    """A polars Series as an array, everything else as it is; pandas knows how to count categories as their values."""
    if type(series).__module__.startswith("polars"):
        return series.to_list() if series.dtype.is_nested() else series.to_numpy()
    categories = getattr(getattr(series, "dtype", None), "categories", None)
    return series if categories is None else series.astype(categories.dtype)


def kind_of(values: Any) -> str:
    """How a target or an array's feature is counted: few distinct whole numbers and all texts as categories."""
    import numpy as np
    import pandas as pd

    series = pd.Series(list(values) if not hasattr(values, "dtype") else values)
    if series.dtype.kind in "bOSU" or isinstance(series.dtype, pd.StringDtype):
        return "category" if not _is_all_numbers(series) else "number"
    if series.dtype.kind == "M" or isinstance(series.dtype, pd.DatetimeTZDtype):
        return "datetime"
    if series.dtype.kind in "iu" and len(np.unique(series.dropna())) <= 50:
        return "category"
    return "number"


def _is_all_numbers(series: Any) -> bool:
    import pandas as pd

    return series.dtype.kind == "O" and pd.api.types.infer_dtype(series, skipna=True) in {
        "floating",
        "mixed-integer-float",
    }
