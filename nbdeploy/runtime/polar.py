"""polars: JSON rows into its frames and series, and back. Imported only where the model's sample was of polars."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from . import times
from .checks import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .manifest import Column

_SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def is_frame(data: Any) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(data, polars.DataFrame)


def is_series(data: Any) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(data, polars.Series)


def frame_builder(columns: Sequence[Column]) -> Callable[[Sequence[Any]], Any]:
    parts = [(column.name, series_builder(column, column.name)) for column in columns]

    def build(rows: Sequence[Any]) -> Any:
        import polars as pl

        return pl.DataFrame([make([row[name] for row in rows]) for name, make in parts])

    return build


def series_builder(column: Column, name: str | None) -> Callable[[Sequence[Any]], Any]:
    prepare = _preparation(column)

    def build(values: Sequence[Any]) -> Any:
        import polars as pl

        dtype = dtype_of(column)
        if column.kind in {"datetime", "timedelta"}:
            return _moments(pl.Series(name or "", prepare(values), dtype=pl.Int64), dtype)
        return pl.Series(name or "", prepare(values), dtype=dtype)

    return build


def dtype_of(column: Column) -> Any:
    """The dtype a manifest's text names."""
    import polars as pl

    base = column.dtype.partition("[")[0]
    if base == "Enum":
        return pl.Enum(list(column.categories or ()))
    if base == "Datetime":
        unit, zone = column.dtype[9:-1].partition(", ")[::2]
        return pl.Datetime(unit, zone or None)  # type: ignore[arg-type,unused-ignore]
    if base == "Duration":
        return pl.Duration(column.dtype[9:-1])  # type: ignore[arg-type,unused-ignore]
    return getattr(pl, base)


def dtype_text(dtype: Any) -> str:
    base = type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__
    if base == "DataTypeClass":
        return str(dtype)
    unit, zone = getattr(dtype, "time_unit", None), getattr(dtype, "time_zone", None)
    if unit is None:
        return base
    return f"{base}[{unit}, {zone}]" if zone else f"{base}[{unit}]"


def values_of(series: Any) -> list[Any]:
    """JSON values; null is None, and NaN, which is something else here, a text."""
    import polars as pl

    base = series.dtype.base_type()
    if base in {pl.Datetime, pl.Duration, pl.Date}:
        return [None if count is None else _time_text(count, series.dtype) for count in series.to_physical().to_list()]
    values: list[Any] = series.to_list()
    if series.dtype.is_float():
        return [_plain_float(value) for value in values]
    return values


def _plain_float(value: float | None) -> Any:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _time_text(count: int, dtype: Any) -> str:
    unit = getattr(dtype, "time_unit", "D")
    if type(dtype).__name__ == "Duration":
        return times.duration_text(count, unit)
    return times.moment_text(count, unit, aware=getattr(dtype, "time_zone", None) is not None)


def _preparation(column: Column) -> Callable[[Sequence[Any]], list[Any]]:
    unit, aware = unit_of(column.dtype)
    if column.kind == "datetime":
        return partial(_counted, parse=partial(times.moment, unit=unit, aware=aware))
    if column.kind == "timedelta":
        return partial(_counted, parse=partial(times.duration, unit=unit))
    if column.nonfinite:
        return lambda values: [_SPECIAL.get(value, value) if isinstance(value, str) else value for value in values]
    return list


def _counted(values: Sequence[str | None], parse: Callable[[str], int]) -> list[int | None]:
    return [None if value is None else parse(value) for value in values]


def _moments(series: Any, dtype: Any) -> Any:
    """Counts from 1970, UTC, as moments of `dtype`."""
    import polars as pl

    if type(dtype).__name__ == "Datetime" and dtype.time_zone is not None:
        naive = series.cast(pl.Datetime(dtype.time_unit))
        return naive.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    return series.cast(pl.Int32).cast(dtype) if dtype == pl.Date else series.cast(dtype)
