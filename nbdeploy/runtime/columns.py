"""One column: JSON values into an array of its dtype, and an array of any dtype into JSON values."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import times
from .checks import unit_of
from .dtypes import NUMBERS, dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .manifest import Column

_NONFINITE = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def builder(column: Column) -> Callable[[Sequence[Any]], Any]:
    """For pandas and numpy. A null in an integer column gives float64, in one of bool objects: as pandas has it."""
    dtype = column.dtype
    if dtype == "object":
        return partial(objects, null=missing(column.null))
    if dtype.startswith("category"):
        return _categories(column)
    if dtype.startswith(("datetime64", "timedelta64")):
        return _times(dtype, column.kind)
    if dtype.startswith("<U"):
        return partial(texts, width=int(dtype[2:]))
    if dtype not in NUMBERS:
        return partial(_extension, dtype=dtype_of(dtype))
    if dtype == "bool":
        return _booleans
    return partial(np.array if dtype.startswith("float") else _integers, dtype=np.dtype(dtype))


def missing(name: str | None) -> Any:
    """What a null is in a column of Python objects."""
    if name in {"NA", "NaT"}:
        import pandas as pd

        return getattr(pd, name)
    return math.nan if name == "nan" else None


def objects(values: Sequence[Any], null: Any = None) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values if null is None else [null if value is None else value for value in values]
    return array


def texts(values: Sequence[Any], width: int = 1) -> Any:
    """Of the sample's width or wider: numpy cuts what does not fit."""
    longest = max((len(value) for value in values), default=0)
    return np.array(values, dtype=f"<U{max(width, longest)}")


def counts(values: Sequence[str | None], parse: Callable[[str], int]) -> Any:
    return np.array([times.NAT if value is None else parse(value) for value in values], dtype=np.int64)


def _integers(values: Sequence[Any], dtype: np.dtype[Any]) -> Any:
    return np.array(values, dtype=np.float64 if None in values else dtype)


def _booleans(values: Sequence[Any]) -> Any:
    return objects(values) if None in values else np.array(values, dtype=bool)


def _extension(values: Sequence[Any], dtype: Any) -> Any:
    if dtype.kind == "f" and any(isinstance(value, str) for value in values):
        return _floats_beside_null(values, dtype)
    return dtype.construct_array_type()._from_sequence(values, dtype=dtype)  # noqa: SLF001  # pandas' documented interface of extension arrays


def _floats_beside_null(values: Sequence[Any], dtype: Any) -> Any:
    """Nullable floats that hold infinities, or NaN beside missing values; a conversion would make the NaN missing."""
    import pandas as pd

    data = np.array([0.0 if value is None else _NONFINITE.get(value, value) for value in values], dtype=np.float64)
    if isinstance(dtype, pd.ArrowDtype):
        return pd.array([None if value is None else _NONFINITE.get(value, value) for value in values], dtype=dtype)  # type: ignore[call-overload]
    mask = np.array([value is None for value in values])
    return pd.arrays.FloatingArray(data.astype(dtype.numpy_dtype), mask)


def _times(dtype: str, kind: str) -> Callable[[Sequence[Any]], Any]:
    unit, aware = unit_of(dtype)
    if kind == "timedelta":
        return lambda values: counts(values, partial(times.duration, unit=unit)).view(f"m8[{unit}]")
    parse = partial(times.moment, unit=unit, aware=aware)
    if not aware:
        return lambda values: counts(values, parse).view(f"M8[{unit}]")
    zone = dtype_of(dtype).tz
    return lambda values: _zoned(counts(values, parse).view(f"M8[{unit}]"), zone)


def _zoned(utc: Any, zone: Any) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(zone).array


def _categories(column: Column) -> Callable[[Sequence[Any]], Any]:
    """An unseen value joins the categories, as it would when the kernel made a categorical of the same values."""
    known = tuple(column.categories or ())
    codes = {value: code for code, value in enumerate(known)}

    def build(values: Sequence[Any]) -> Any:
        import pandas as pd

        found = codes
        new = [value for value in dict.fromkeys(values) if value is not None and value not in codes]
        if new:
            found = codes | {value: len(codes) + place for place, value in enumerate(new)}
        dtype = _categorical(column.dtype[9:-1], (*known, *new), column.ordered, column.kind)
        return pd.Categorical.from_codes(
            [-1 if value is None else found[value] for value in values], dtype=dtype, validate=False
        )

    return build


@lru_cache(maxsize=256)
def _categorical(inner: str, categories: tuple[Any, ...], ordered: bool, kind: str) -> Any:
    import pandas as pd

    from .manifest import Column

    times_kind = {"d": "datetime", "t": "timedelta"}.get(inner[0] if "64[" in inner else "", kind)
    array = builder(Column("", times_kind, inner))(categories)
    return pd.CategoricalDtype(pd.Index(array, dtype=array.dtype), ordered=ordered)


def values_of(array: Any) -> Any:
    """The JSON values of a one-dimensional array, Series or Index of numpy or pandas; missing ones are None."""
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        return numpy_values(np.asarray(array))
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        known = [*values_of(categories), None]
        codes = array.cat.codes if hasattr(array, "cat") else array.codes
        return [known[code] for code in np.asarray(codes)]
    if dtype.kind in "Mm":
        return _zoned_values(array)
    return _extension_values(array)


def numpy_values(array: Any) -> Any:
    """Of any number of dimensions: nested lists."""
    kind = array.dtype.kind
    if kind == "f":
        return array.tolist() if np.isfinite(array).all() else _mapped(array.tolist(), plain_float)
    if kind in "biuU":
        return array.tolist()
    if kind in "Mm":
        unit = np.datetime_data(array.dtype)[0]
        text = partial(times.moment_text, aware=False) if kind == "M" else times.duration_text
        return _mapped(array.view(np.int64).tolist(), partial(_time_value, text=text, unit=unit))
    if kind in "OT":
        return _mapped(array.tolist(), plain)
    raise TypeError(f"arrays of {array.dtype} have no JSON form")


def plain(value: Any) -> Any:
    """A single Python or numpy value as JSON; raises TypeError for what is none."""
    kind = type(value)
    if kind is str or kind is bool or kind is int or value is None:
        return value
    if isinstance(value, np.generic):
        return plain(numpy_values(np.array([value]))[0])
    if isinstance(value, float):
        return plain_float(float(value))
    if isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else int(value)
    if kind.__name__ in {"NAType", "NaTType"}:
        return None
    raise TypeError(f"the type {kind.__name__} has no JSON form")


def plain_float(value: Any) -> Any:
    """NaN is null, infinities are texts. Other values pass, so it maps over nested lists."""
    if value is None or math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"


def restored_float(value: Any) -> Any:
    """What `plain_float` made of a number, back."""
    return math.nan if value is None else _NONFINITE.get(value, value)


def _mapped(values: Any, function: Callable[[Any], Any]) -> Any:
    return [_mapped(item, function) for item in values] if isinstance(values, list) else function(values)


def _time_value(count: int, text: Callable[..., str], unit: str) -> str | None:
    return None if count == times.NAT else text(count, unit)


def _zoned_values(array: Any) -> Any:
    """Moments with a time zone, and arrow's moments and durations."""
    import pandas as pd

    index = pd.Index(array)
    if isinstance(index.dtype, pd.ArrowDtype):
        index = index.astype(pd.array(array).dtype.numpy_dtype)
    aware = getattr(index, "tz", None) is not None
    if not aware:
        return numpy_values(index.to_numpy())
    unit = index.dtype.unit
    naive = index.tz_convert("UTC").tz_localize(None).to_numpy().view(np.int64).tolist()
    text = partial(times.moment_text, aware=True)
    return [_time_value(count, text, unit) for count in naive]


def _extension_values(array: Any) -> list[Any]:
    values = array.to_numpy(dtype=object, na_value=None).tolist()
    if array.dtype.kind == "f":
        return [None if value is None else _beside_null(float(value)) for value in values]
    return [value if type(value) is str else plain(value) for value in values]


def _beside_null(value: float) -> Any:
    return "NaN" if math.isnan(value) else plain_float(value)
