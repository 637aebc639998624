"""Predictions as JSON back into what the model itself would have returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import frames, polar
from .columns import builder, missing, restored_float
from .dtypes import NUMBERS
from .manifest import Column, Output, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def restore(output: Output, predictions: Sequence[Any], index: Any = None) -> Any:
    value = _RESTORERS[output.container](output, predictions)
    keeps = index is not None and output.extra.get("index") != "own"
    if keeps and output.container in {"frame", "series"} and hasattr(value, "iloc"):
        value.index = index
    return value


def parts_of(output: Output) -> list[Output]:
    """Of several arrays or a tuple."""
    return [
        Output(
            **{
                **part,
                "shape": tuple(part["shape"]),
                "columns": tuple(part["columns"]),
                "dtypes": tuple(part["dtypes"]),
                "labels": None if part["labels"] is None else tuple(part["labels"]),
            }
        )
        for part in output.extra["parts"]
    ]


def class_names(output: Output) -> list[str]:
    """The keys of probabilities, in the order of the model's classes."""
    return output.extra.get("names") or [str(label) for label in output.labels or ()]


def _array(output: Output, predictions: Sequence[Any]) -> Any:
    if output.labels is not None:
        names = class_names(output)
        predictions = [[row[name] for name in names] for row in predictions]
    dtype = output.dtype or "float64"
    shape = (len(predictions), *output.shape)
    if dtype == "object":
        return _objects(predictions, shape, missing(output.extra.get("null", "None")))
    if dtype == "StringDType":
        return np.array(predictions, dtype=np.dtypes.StringDType()).reshape(shape)
    flat = predictions
    for _ in output.shape:
        flat = [value for row in flat for value in row]
    array = _flat(dtype, flat).reshape(shape)
    return array.view(np.matrix) if output.extra.get("matrix") else array


def _flat(dtype: str, values: Sequence[Any]) -> Any:
    """An array of the kernel's dtype, wider where an answer does not fit it: a null in integers makes them float64."""
    if dtype.startswith("float"):
        return np.array(values, dtype=dtype)
    if dtype in NUMBERS and any(isinstance(value, float | str) for value in values):
        return np.array([restored_float(value) for value in values], dtype=np.float64)
    kind = "timedelta" if dtype.startswith("timedelta") else "datetime"
    return np.asarray(builder(Column("", kind, dtype))(values))


def _objects(predictions: Sequence[Any], shape: tuple[int, ...], null: Any) -> Any:
    array = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        value: Any = predictions
        for step in place:
            value = value[step]
        array[place] = null if value is None else value
    return array


def _sparse(output: Output, predictions: Sequence[Any]) -> Any:
    import scipy.sparse

    make = getattr(scipy.sparse, f"{output.extra['format']}_{output.extra['noun']}")
    return make(_array(output, predictions))


def _frame(output: Output, predictions: Sequence[Any]) -> Any:
    columns = tuple(_output_column(output, place, dtype) for place, dtype in enumerate(output.dtypes))
    schema = Schema("frame", columns, library=output.extra["library"])
    keyed = output.extra.get("keyed")
    rows = [
        {
            column.name: row[str(label) if keyed else place]
            for place, (column, label) in enumerate(_paired(output, columns))
        }
        for row in predictions
    ]
    return frames.frame_builder(schema)(rows)


def _paired(output: Output, columns: Sequence[Column]) -> list[tuple[Column, Any]]:
    return list(zip(columns, output.columns, strict=True))


def _series(output: Output, predictions: Sequence[Any]) -> Any:
    column = _output_column(output, 0, output.dtype or "object")
    name = output.extra.get("name")
    if output.extra["library"] == "polars":
        return polar.series_builder(column, name)(predictions)
    import pandas as pd

    array = builder(column)(predictions)
    return pd.Series(array, name=name, dtype=array.dtype)


def _output_column(output: Output, place: int, dtype: str) -> Column:
    label = output.columns[place] if output.columns else None
    known = output.extra.get("categories", {}).get(str(place))
    polars = output.extra.get("library") == "polars"
    return Column(
        name=str(label) if polars else str(place),
        kind=_kind(dtype),
        dtype=dtype,
        label=label,
        categories=tuple(known["values"]) if known else None,
        ordered=bool(known and known["ordered"]),
        nonfinite=True,
        null="nan",
    )


def _kind(dtype: str) -> str:
    lowered = dtype.lower()
    if lowered.startswith(("timedelta", "duration")):
        return "timedelta"
    if lowered.startswith(("datetime", "date")):
        return "datetime"
    return "number" if lowered.startswith("float") else "any"


def _list(output: Output, predictions: Sequence[Any]) -> Any:
    return [restored_float(value) for value in predictions] if output.dtype == "float" else list(predictions)


def _arrays(output: Output, predictions: Sequence[Any]) -> Any:
    parts = parts_of(output)
    return [restore(part, [row[place] for row in predictions]) for place, part in enumerate(parts)]


def _tuple(output: Output, predictions: Sequence[Any]) -> Any:
    return tuple(_arrays(output, predictions))


_RESTORERS: dict[str, Callable[[Output, Sequence[Any]], Any]] = {
    "array": _array,
    "sparse": _sparse,
    "frame": _frame,
    "series": _series,
    "list": _list,
    "arrays": _arrays,
    "tuple": _tuple,
}
