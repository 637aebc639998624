"""What one column of a sample holds: kind, dtype, categories, range, missing values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import UnsupportedData
from nbdeploy.runtime import columns, polar
from nbdeploy.runtime.dtypes import dtype_text
from nbdeploy.runtime.manifest import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_CATEGORIES = 100  # distinct texts; more make a column of free text
FEW = 20  # so many distinct texts are categories even in a sample not much longer

_NUMPY_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "M": "datetime", "m": "timedelta"}
_REFUSED = {
    "Decimal": "convert it: X[{0}].astype(float)",
    "date": "convert it: pandas.to_datetime(X[{0}])",
    "datetime": "convert it: pandas.to_datetime(X[{0}])",
    "Timestamp": "convert it: pandas.to_datetime(X[{0}])",
    "timedelta": "convert it: pandas.to_timedelta(X[{0}])",
    "Timedelta": "convert it: pandas.to_timedelta(X[{0}])",
    "bytes": "decode it to text",
    "complex": "split it into real and imaginary part",
    "Period": "convert it: X[{0}].dt.to_timestamp()",
    "Interval": "convert it: X[{0}].astype(str)",
}


def pandas_column(name: str, label: Any, values: Any) -> Column:
    import pandas as pd

    label = None if label == name else label
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(name, label, values)
    text = _pandas_dtype(name, dtype)
    if text == "object":
        return _objects(name, label, values.to_numpy(), "nan")
    missing = bool(values.isna().any())
    kind = _NUMPY_KINDS.get(dtype.kind, "text")
    if kind == "text" or isinstance(dtype, pd.StringDtype):
        return _texts(name, label, text, columns.values_of(pd.Series(pd.unique(values))), len(values), missing=missing)
    low, high, nonfinite = _range(name, values, kind)
    return Column(name, kind, text, label, nullable=missing, low=low, high=high, missing=missing, nonfinite=nonfinite)


def polars_column(name: str, values: Any) -> Column:
    import polars as pl

    base = values.dtype.base_type()
    missing = values.null_count() > 0
    text = polar.dtype_text(values.dtype)
    if base in {pl.String, pl.Categorical, pl.Enum}:
        fixed = values.dtype.categories.to_list() if base is pl.Enum else None
        distinct = fixed or values.unique(maintain_order=True).to_list()
        found = _texts(name, None, text, distinct, len(values), missing=missing, always=base is not pl.String)
        return found if fixed is None else replace(found, unseen=False, categories=tuple(fixed))
    kind = _polars_kind(name, values.dtype)
    if kind == "boolean":
        return Column(name, kind, text, nullable=missing, missing=missing)
    seen = values.drop_nulls()
    finite = seen.filter(seen.is_finite()) if values.dtype.is_float() else seen
    ends = polar.values_of(pl.Series([finite.min(), finite.max()], dtype=values.dtype)) if len(finite) else (None, None)
    ranged = ends if kind != "timedelta" else (None, None)
    return Column(
        name,
        kind,
        text,
        nullable=missing,
        low=ranged[0],
        high=ranged[1],
        missing=missing,
        nonfinite=len(finite) < len(seen),
    )


def array_column(name: str, values: Any, label: int | None = None) -> Column:
    dtype = values.dtype
    text = array_dtype(dtype)
    if text == "object":
        return _objects(name, label, values, "nan")
    kind = _NUMPY_KINDS.get(dtype.kind, "text")
    if kind == "text":
        return _texts(name, label, text, list(dict.fromkeys(values.tolist())), len(values), missing=False)
    import pandas as pd

    series = pd.Series(values) if dtype.kind != "f" or dtype.itemsize > 2 else pd.Series(values.astype("float32"))
    missing = bool(series.isna().any())
    low, high, nonfinite = _range(name, series, kind)
    return Column(name, kind, text, label, nullable=missing, low=low, high=high, missing=missing, nonfinite=nonfinite)


def array_dtype(dtype: Any) -> str:
    text = dtype_text(dtype)
    if text is None:
        raise UnsupportedData("the sample", f"is an array of {dtype}", "give numbers, texts, booleans or dates")
    return text


def list_column(name: str, values: Sequence[Any], label: Any = None) -> Column:
    import numpy as np

    array = np.empty(len(values), dtype=object)
    array[:] = values
    return _objects(name, None if label == name else label, array, None)


def _pandas_dtype(name: str, dtype: Any) -> str:
    text = dtype_text(dtype)
    if text is not None:
        return text
    quoted = repr(name)
    advice = {
        "SparseDtype": f"make it dense: X[{quoted}].sparse.to_dense()",
        "IntervalDtype": f"convert it: X[{quoted}].astype(str)",
        "PeriodDtype": f"convert it: X[{quoted}].dt.to_timestamp()",
    }.get(type(dtype).__name__, "convert it to numbers, text, booleans or dates")
    raise UnsupportedData(f'column "{name}"', f"is of dtype {dtype}, which has no JSON form", advice)


def _categorical(name: str, label: Any, values: Any) -> Column:
    categories = values.cat.categories
    inner = _pandas_dtype(name, categories.dtype)
    if inner == "object":
        _scalars(name, categories)
    missing = bool(values.isna().any())
    ordered = bool(values.cat.ordered)
    known = tuple(columns.values_of(categories))
    return Column(
        name,
        "category",
        f"category[{inner}]",
        label,
        nullable=missing,
        unseen=not ordered,
        categories=known,
        ordered=ordered,
        missing=missing,
    )


def _objects(name: str, label: Any, values: Any, null: str | None) -> Column:
    """A column of Python objects: what they all are."""
    import pandas as pd

    gone = pd.isna(values)
    missing = bool(gone.any())
    seen = values[~gone] if missing else values
    types = _scalars(name, seen)
    null = _null_of(name, values[gone]) if missing else null
    if types == {"str"}:
        distinct = list(dict.fromkeys(str(value) for value in seen))
        return _texts(name, label, "object", distinct, len(values), missing=missing, null=null)
    kind = (
        {"bool": "boolean", "int": "integer", "float": "number"}.get(next(iter(types)), "any")
        if len(types) == 1
        else "any"
    )
    low, high, nonfinite = (None, None, False) if kind in {"any", "boolean"} else _object_range(seen)
    return Column(
        name,
        kind,
        "object",
        label,
        nullable=missing,
        low=low,
        high=high,
        missing=missing,
        nonfinite=nonfinite,
        null=null,
    )


def _scalars(name: str, values: Iterable[Any]) -> set[str]:
    """The JSON types among the values: str, bool, int, float."""
    import numpy as np

    found = set()
    for kind in {type(value) for value in values}:
        for known, bases in (
            ("str", str),
            ("bool", (bool, np.bool_)),
            ("int", (int, np.integer)),
            ("float", (float, np.floating)),
        ):
            if issubclass(kind, bases):
                found.add(known)
                break
        else:
            advice = _REFUSED.get(kind.__name__, "keep single texts, numbers and booleans in it").format(repr(name))
            raise UnsupportedData(f'column "{name}"', f"holds {kind.__name__} objects, which have no JSON form", advice)
    return found


def _null_of(name: str, missing: Iterable[Any]) -> str | None:
    kinds = {"None" if value is None else type(value).__name__ for value in missing}
    if len(kinds) > 1:
        raise UnsupportedData(
            f'column "{name}"',
            "marks missing values in several ways (None, NaN, ...), which JSON cannot tell apart",
            f"make them one: X[{name!r}] = X[{name!r}].where(X[{name!r}].notna(), numpy.nan)",
        )
    return {"NAType": "NA", "NaTType": "NaT", "None": None}.get(kinds.pop(), "nan")


def _texts(
    name: str,
    label: Any,
    dtype: str,
    distinct: Sequence[Any],
    count: int,
    *,
    missing: bool,
    null: str | None = None,
    always: bool = False,
) -> Column:
    known = tuple(value for value in distinct if value is not None)
    few = len(known) <= FEW or len(known) <= count / 2
    if always or (known and len(known) <= MAX_CATEGORIES and few and max(map(len, known)) <= 200):
        return Column(
            name,
            "category",
            dtype,
            label,
            nullable=missing,
            categories=tuple(sorted(known)),
            missing=missing,
            null=null,
        )
    return Column(name, "text", dtype, label, nullable=missing, missing=missing, null=null)


def _range(name: str, values: Any, kind: str) -> tuple[Any, Any, bool]:
    """Lowest and highest value as JSON, and whether some are infinite."""
    import numpy as np
    import pandas as pd

    if kind in {"boolean", "timedelta"}:
        return None, None, False
    seen = values.dropna()
    nonfinite = False
    if kind == "number":
        finite = np.isfinite(seen.to_numpy(dtype=float, na_value=np.nan))
        nonfinite = bool((~finite).any())
        seen = seen[finite] if nonfinite else seen
    if len(seen) == 0:
        return None, None, nonfinite
    try:
        low, high = columns.values_of(pd.Series([seen.min(), seen.max()], dtype=values.dtype))
    except ValueError as exc:
        raise UnsupportedData(f'column "{name}"', str(exc), "give years from 1 to 9999") from exc
    return low, high, nonfinite


def _object_range(values: Any) -> tuple[Any, Any, bool]:
    finite = [value for value in values.tolist() if math.isfinite(value)]
    ends = (columns.plain(min(finite)), columns.plain(max(finite))) if finite else (None, None)
    return *ends, len(finite) < len(values)


def _polars_kind(name: str, dtype: Any) -> str:
    import polars as pl

    if dtype.is_integer() and "128" not in str(dtype):
        return "integer"
    if dtype.is_float() and dtype in {pl.Float32, pl.Float64}:
        return "number"
    kinds = {pl.Boolean: "boolean", pl.Date: "datetime", pl.Datetime: "datetime", pl.Duration: "timedelta"}
    kind = kinds.get(dtype.base_type())
    if kind is None:
        advice = "convert it to numbers, text, booleans or dates"
        raise UnsupportedData(f'column "{name}"', f"is of dtype {dtype}, which has no JSON form", advice)
    return kind
