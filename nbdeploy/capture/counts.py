"""Exactly additive counts: numbers over fixed edges, values of a fixed list."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

QUANTILES = 20
OUTER = (0.001, 0.005, 0.01, 0.025)  # more of them at both ends, whose bins would be wide
TAILS = (
    *(step * 10.0**power for power in range(-1, 3) for step in (1, 2, 5)),
    1e3,
    1e4,
    1e6,
)  # spans beyond the range seen
MOST_VALUES = 50
TEXT_EDGES = (0.5, 1.5, *(float(2**power) + 0.5 for power in range(1, 21)))  # lengths: 0, 1, 2, 3-4, 5-8, ...


@dataclass(frozen=True)
class Bins:
    """counts[i] values lie in [edges[i-1], edges[i]); the first and last bins are open. kind: number (also of days and
    durations, in seconds), datetime (seconds since 1970), text (lengths). `odd` values are of another type.

    `scale` and `centres` belong to the bins as the edges do: the standard deviation of the training values, and their
    mean in each bin, None where there were none.
    """

    kind: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int = 0
    low: float | None = None
    high: float | None = None
    odd: int = 0
    scale: float | None = None
    centres: tuple[float | None, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts) + self.missing + self.odd

    def counted(self, values: Sequence[Any]) -> Bins:
        """Sorting a column costs a third of looking every value up, and gives its ends as well."""
        import numpy as np

        given = numbers_of(self.kind, values)
        numbers = np.sort(given)  # NaN last
        present = numbers[: np.searchsorted(numbers, np.nan)]
        below = np.searchsorted(present, np.asarray(self.edges))
        finite = present[np.searchsorted(present, -np.inf, side="right") : np.searchsorted(present, np.inf)]
        absent = len(numbers) - len(present)
        odd = _odd(values, np.isnan(given)) if absent else 0
        return replace(
            self,
            counts=tuple(np.diff(below, prepend=0, append=len(present)).tolist()),
            missing=absent - odd,
            low=float(finite[0]) if len(finite) else None,
            high=float(finite[-1]) if len(finite) else None,
            odd=odd,
        )

    def merged(self, other: Counts) -> Bins:
        if not isinstance(other, Bins) or (self.kind, self.edges) != (other.kind, other.edges):
            raise ValueError("counts over different bins cannot be merged")
        return replace(
            self,
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            missing=self.missing + other.missing,
            odd=self.odd + other.odd,
            low=min((item for item in (self.low, other.low) if item is not None), default=None),
            high=max((item for item in (self.high, other.high) if item is not None), default=None),
        )


@dataclass(frozen=True)
class Tally:
    """counts[i] rows hold seen[i], `other` another value, `missing` none."""

    kind: str
    seen: tuple[Any, ...]
    counts: tuple[int, ...]
    other: int = 0
    missing: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts) + self.other + self.missing

    def counted(self, values: Sequence[Any]) -> Tally:
        found = _frequencies(values)
        missing = found.pop(None, 0)
        counts = tuple(found.pop(value, 0) for value in self.seen)
        return replace(self, counts=counts, other=sum(found.values()), missing=missing)

    def merged(self, other: Counts) -> Tally:
        if not isinstance(other, Tally) or self.seen != other.seen:
            raise ValueError("counts of different values cannot be merged")
        return replace(
            self,
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            other=self.other + other.other,
            missing=self.missing + other.missing,
        )


Counts = Bins | Tally


def counts_of(kind: str, values: Sequence[Any], known: Sequence[Any] | None) -> Counts:
    """Bins or values chosen from the training values, and these counted; `known` are a category's values."""
    if kind in {"category", "boolean", "any"}:
        return Tally("category", _frequent(values, known), ()).counted(values)
    unit = kind if kind in {"text", "datetime"} else "number"
    numbers = numbers_of(unit, values)
    edges = TEXT_EDGES if unit == "text" else _edges(numbers)
    return replace(Bins(unit, edges, ()).counted(values), **_measures(numbers, edges))


def _measures(numbers: NDArray[np.float64], edges: Sequence[float]) -> dict[str, Any]:
    """Scale and centres; twelve figures, so that another order of the rows gives the same text."""
    import numpy as np

    finite = np.sort(numbers[np.isfinite(numbers)])
    at = np.searchsorted(np.asarray(edges), finite, side="right")
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.bincount(at, finite, minlength=len(edges) + 1)
        counts = np.bincount(at, minlength=len(edges) + 1)
        means = [_figures(sum_ / count) if count else None for sum_, count in zip(sums, counts, strict=True)]
        return {"scale": _figures(np.std(finite)) if len(finite) else None, "centres": tuple(means)}


def _figures(value: Any) -> float | None:
    return float(f"{value:.12g}") if math.isfinite(value) else None


def _frequent(values: Sequence[Any], known: Sequence[Any] | None) -> tuple[Any, ...]:
    """The most frequent first; equal frequencies by text, so that the order of rows does not matter."""
    found = _frequencies(values)
    found.pop(None, None)
    for value in known or ():
        found.setdefault(value, 0)
    return tuple(sorted(found, key=lambda value: (-found[value], str(value)))[:MOST_VALUES])


def _frequencies(values: Sequence[Any]) -> dict[Any, int]:
    """JSON value -> count; None for missing. Hashed by pandas: a million texts take 50 ms."""
    import pandas as pd

    series = pd.Series(list(values) if not hasattr(values, "dtype") else values)
    if series.dtype.kind == "f" and not hasattr(values, "dtype"):  # whole numbers beside missing ones would be rounded
        series = pd.Series(list(values), dtype=object)
    try:
        counted = series.value_counts(dropna=False, sort=False)
    except TypeError:  # lists, dicts: counted by their text
        counted = series.astype(str).value_counts(dropna=False, sort=False)
    found: dict[Any, int] = {}
    for value, count in zip(counted.index.tolist(), counted.tolist(), strict=True):
        plain = _plain(value)
        found[plain] = found.get(plain, 0) + int(count)
    return found


def _plain(value: Any) -> Any:
    import pandas as pd

    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _edges(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles, and a few edges beyond the range, ever farther apart."""
    import numpy as np

    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return (0.0,)
    with np.errstate(over="ignore", invalid="ignore"):
        levels = np.concatenate([np.linspace(0, 1, QUANTILES + 1), OUTER, 1 - np.asarray(OUTER)])
        inner = np.unique(np.quantile(finite, levels))
        low, high = float(finite.min()), float(finite.max())
        span = (high / 2 - low / 2) * 2 or abs(low) or 1.0
        tails = span * np.asarray(TAILS)
        edges = np.concatenate([low - tails, inner, [np.nextafter(high, np.inf)], high + tails])
    return tuple(np.unique(edges[np.isfinite(edges)]).tolist())


def numbers_of(kind: str, values: Sequence[Any]) -> NDArray[np.float64]:
    """Floats, NaN for missing: lengths of texts, seconds of datetimes and durations, numbers as they are."""
    import numpy as np
    import pandas as pd

    if kind == "number" and getattr(values, "dtype", None) == np.float64:
        return np.asarray(values)
    series = pd.Series(list(values) if not hasattr(values, "dtype") else values)
    if kind == "text":
        return np.asarray(series.map(lambda item: len(item) if isinstance(item, str) else np.nan), dtype=np.float64)
    if kind == "datetime":
        stamps = pd.to_datetime(series, utc=True, errors="coerce", format="ISO8601" if series.dtype == object else None)
        return _seconds(stamps.dt.tz_localize(None).to_numpy(dtype="datetime64[us]"))
    if series.dtype.kind == "m":
        return _seconds(series.to_numpy(dtype="timedelta64[us]"))
    try:
        numbers = pd.to_numeric(series, errors="coerce")
    except (TypeError, OverflowError):  # lists, dicts, whole numbers beyond the largest float
        numbers = series.map(_number)
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _odd(values: Sequence[Any], nameless: NDArray[np.bool_]) -> int:
    """How many of the values without a number are something else than missing. "NaN" is how records write a missing one
    where null means something else.
    """
    import pandas as pd

    if getattr(getattr(values, "dtype", None), "kind", "O") in "fiubmM":
        return 0
    left = pd.Series(list(values) if not hasattr(values, "dtype") else values)[nameless]
    return int((left.notna() & (left.astype(object) != "NaN")).sum())


def _seconds(times: NDArray[Any]) -> NDArray[np.float64]:
    import numpy as np

    return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6)
