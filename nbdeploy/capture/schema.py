"""The schema of a sample: what a request's rows have to be.

Everything read here is a fact of the sample alone. Whether the model answers rows with a null or an unseen category is
tried in golden.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import cells
from nbdeploy.errors import UnsupportedData, WrongUse, an
from nbdeploy.runtime.manifest import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_POSITIONS = 256  # an array's row of so many values has a column each; a longer one is described as a whole
SAMPLE = "the sample"


def infer(sample: Any, keys: Sequence[str] = ()) -> Schema:
    """Raises UnsupportedData naming the column that has no JSON form, and what to do."""
    keys = tuple(keys)
    schema = _infer(sample, keys)
    if keys and not schema.keyed:
        raise WrongUse("--keys names columns beside the model's own; this sample's rows have no named columns.")
    return schema


def _infer(sample: Any, keys: tuple[str, ...]) -> Schema:
    library, noun = _library_noun(sample)
    if (library, noun) == ("pandas", "DataFrame"):
        return _pandas_frame(sample, keys)
    if (library, noun) == ("polars", "DataFrame"):
        return _polars_frame(sample, keys)
    if noun == "Series" and library in {"pandas", "polars"}:
        return _series(sample, library)
    if (library, noun) == ("numpy", "ndarray"):
        return _array(sample)
    if isinstance(sample, list):
        return _list(sample, keys)
    raise UnsupportedData(SAMPLE, f"is {an(type(sample).__name__)}", _advice(sample))


def without_keys(sample: Any, keys: Sequence[str]) -> Any:
    """The sample as the model is given it."""
    if not keys:
        return sample
    if isinstance(sample, list):
        return [{label: value for label, value in row.items() if str(label) not in keys} for row in sample]
    return sample.drop([label for label in sample.columns if str(label) in keys], **_axis(sample))


def _axis(sample: Any) -> dict[str, Any]:
    return {"axis": 1} if hasattr(sample, "iloc") else {}


def _library_noun(sample: Any) -> tuple[str, str]:
    """By the classes of libraries that are imported already; a sample cannot be of another."""
    for library, nouns in (("pandas", ("DataFrame", "Series")), ("polars", ("DataFrame", "Series"))):
        module = sys.modules.get(library)
        for noun in nouns:
            if module is not None and isinstance(sample, getattr(module, noun)):
                return library, noun
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(sample) is numpy.ndarray:
        return "numpy", "ndarray"
    return "", type(sample).__name__


def _advice(sample: Any) -> str:
    noun = type(sample).__name__
    if hasattr(sample, "toarray"):
        return "give the table it was made from, and deploy the pipeline that makes it"
    if hasattr(sample, "collect"):
        return "give a DataFrame: .collect()"
    if hasattr(sample, "to_pandas"):
        return "give a DataFrame: .to_pandas()"
    if noun in {"matrix", "MaskedArray"}:
        return "give an ordinary array: numpy.asarray(...), with missing values filled"
    return "give a DataFrame, a Series, a numpy array, or a list of records, texts or numbers"


def _nonempty(count: int) -> None:
    if count == 0:
        raise UnsupportedData(SAMPLE, "has no rows", "give some rows as the model will be asked about")


def _pandas_frame(sample: Any, keys: tuple[str, ...]) -> Schema:
    import pandas as pd

    if isinstance(sample.columns, pd.MultiIndex):
        advice = 'flatten them: X.columns = ["_".join(map(str, label)) for label in X.columns]'
        raise UnsupportedData(SAMPLE, "has columns of several levels", f"{advice}, and fit the model on that")
    _nonempty(len(sample))
    labels = [_label(label) for label in sample.columns]
    names = _names(labels)
    columns = tuple(
        cells.pandas_column(name, label, sample.iloc[:, place])
        for place, (name, label) in enumerate(zip(names, labels, strict=True))
        if name not in keys
    )
    return Schema("frame", _some(columns), library="pandas", keys=keys)


def _polars_frame(sample: Any, keys: tuple[str, ...]) -> Schema:
    _nonempty(len(sample))
    columns = tuple(
        cells.polars_column(series.name, series) for series in sample.get_columns() if series.name not in keys
    )
    return Schema("frame", _some(columns), library="polars", keys=keys)


def _some(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    if not columns:
        raise UnsupportedData(SAMPLE, "has no columns", "give the columns the model was fitted on")
    return columns


def _label(label: Any) -> str | int | float | bool:
    label = label.item() if hasattr(label, "item") else label
    if isinstance(label, str | bool | int | float) and label == label:  # noqa: PLR0124  # NaN is no label
        return str(label) if isinstance(label, str) else label
    raise UnsupportedData(
        SAMPLE, f"has a column labelled by {an(type(label).__name__)}", "use text: X.columns = X.columns.map(str)"
    )


def _names(labels: Sequence[Any]) -> list[str]:
    names = [str(label) for label in labels]
    for name in names:
        same = [label for label in labels if str(label) == name]
        if len(same) > 1:
            fact = "twice" if same[0] == same[1] else "as text and as a number"
            raise UnsupportedData(SAMPLE, f'has a column "{name}" {fact}', "give each column a name of its own")
        if any("\ud800" <= char <= "\udfff" for char in name):
            raise UnsupportedData(SAMPLE, "has a column name that is not valid Unicode", "rename it")
    return names


def _series(sample: Any, library: str) -> Schema:
    _nonempty(len(sample))
    column = cells.polars_column if library == "polars" else _pandas_values
    name = sample.name
    if name is not None and not isinstance(name, str):
        name = None
    return Schema("series", (column("value", sample),), library=library, name=name)


def _pandas_values(name: str, values: Any) -> Column:
    return cells.pandas_column(name, name, values)


def _array(sample: Any) -> Schema:
    if sample.ndim == 0:
        raise UnsupportedData(SAMPLE, "is a single number", "give an array with one row for each case")
    _nonempty(len(sample))
    shape = tuple(int(length) for length in sample.shape[1:])
    if 0 in shape:
        raise UnsupportedData(SAMPLE, "has no columns", "give the columns the model was fitted on")
    if len(shape) == 1 and shape[0] <= MAX_POSITIONS:
        columns = tuple(cells.array_column(str(place), sample[:, place], place) for place in range(shape[0]))
    else:
        columns = (cells.array_column("value", sample.reshape(-1)),)
    return Schema("array", columns, library="numpy", dtype=cells.array_dtype(sample.dtype), shape=shape)


def _list(sample: list[Any], keys: tuple[str, ...]) -> Schema:
    _nonempty(len(sample))
    if all(isinstance(row, dict) for row in sample):
        return _records(sample, keys)
    if all(isinstance(row, list | tuple) for row in sample):
        return _rows(sample)
    column = cells.list_column("value", sample)
    if column.kind == "category":  # texts are read, not told apart
        column = replace(column, kind="text", categories=None)
    return Schema("texts" if column.kind == "text" else "values", (column,))


def _records(sample: list[dict[Any, Any]], keys: tuple[str, ...]) -> Schema:
    labels = [_label(label) for label in sample[0]]
    names = _names(labels)
    _same_keys(sample, set(sample[0]))
    columns = tuple(
        cells.list_column(name, [row[label] for row in sample], label)
        for name, label in zip(names, labels, strict=True)
        if name not in keys
    )
    return Schema("records", _some(columns), keys=keys)


def _same_keys(sample: Iterable[dict[Any, Any]], labels: set[Any]) -> None:
    for place, row in enumerate(sample):
        if set(row) != labels:
            raise UnsupportedData(
                SAMPLE,
                f"has other keys in record {place} than in record 0",
                "give all records the same keys, None where unknown",
            )


def _rows(sample: list[Sequence[Any]]) -> Schema:
    """A list of rows that are lists: an array whose library says that lists are wanted back."""
    width = len(sample[0])
    if width == 0 or any(len(row) != width for row in sample):
        raise UnsupportedData(SAMPLE, "has rows of different lengths", "give every row the same number of values")
    kinds = {type(row) for row in sample}
    library = "tuple" if kinds == {tuple} else "list"
    if len(kinds) > 1:
        raise UnsupportedData(SAMPLE, "mixes lists and tuples", "give every row as a list")
    if any(isinstance(value, list | tuple | dict) for value in sample[0]):
        raise UnsupportedData(SAMPLE, "holds lists inside its rows", "give a numpy array")
    columns = tuple(cells.list_column(str(place), [row[place] for row in sample], place) for place in range(width))
    return Schema("array", columns, library=library, shape=(width,))
