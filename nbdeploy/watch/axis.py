"""`Axis`: the one time axis, windows of one length on clock time (UTC), so that yesterday's never change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

SIZES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 360, 1_440, 10_080))
MOST = 60  # windows that are chosen
CHOSEN = 100  # rows of a window that are worth waiting for
FEWEST = 4  # windows that must be left when rows are waited for
LIMIT = 1_000  # windows that may be asked for
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@dataclass(frozen=True)
class Axis:
    """`now` lies in the last window, which is still open. Windows are known by their place, 0 to `count` - 1."""

    began: datetime
    ended: datetime
    every: timedelta
    now: datetime

    @property
    def count(self) -> int:
        return (self.ended - self.began) // self.every

    def __iter__(self) -> Iterator[tuple[datetime, datetime]]:
        """Begin and end of each window."""
        return ((self.begin(place), self.begin(place + 1)) for place in range(self.count))

    def begin(self, place: int) -> datetime:
        return self.began + place * self.every

    def places(self, times: pd.Series[Any]) -> NDArray[np.int64]:
        """Of times with a zone; -1 and less, or `count` and more, lie outside."""
        micros = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)
        begin = round(self.began.timestamp() * 1e6)
        return np.asarray((micros - begin) // (self.every // timedelta(microseconds=1)))

    @property
    def monthly(self) -> float:
        """Windows in thirty days: what a budget of one false alarm a month is spent on."""
        return MONTH / self.every

    def said(self) -> str:
        return f"{said(self.now - self.began)} in windows of {said(self.every)}"

    @property
    def text(self) -> str:
        return f"as of {self.now:%Y-%m-%d %H:%M:%S} UTC · last {self.said()}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "as_of": self.now.isoformat(),
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "every_seconds": self.every.total_seconds(),
        }


def floored(time: datetime, every: timedelta) -> datetime:
    return time - (time - EPOCH) % every


def axis(now: datetime, last: timedelta, every: timedelta | None = None, requests: pd.DataFrame | None = None) -> Axis:
    """The last `last` of time, from the first window that it touches on.

    Without `every` the windows are as short as leaves MOST of them and, where there is enough traffic in `requests`
    (`time`, `rows`), CHOSEN rows in those that have any; what lies before the first request is left out.

    Raises:
        WrongUse: the windows would be too many.
    """
    since = floored(now - last, every or SIZES[0])
    if every is None:
        if requests is not None and len(requests):
            since = max(since, requests["time"].min().to_pydatetime())
        every = _chosen(now, max(now - since, SIZES[0]), requests)
    began, ended = floored(since, every), floored(now, every) + every
    if (count := (ended - began) // every) > LIMIT:
        raise WrongUse(
            f"Windows of {said(every)} over {said(last)} are {count:,}; at most {LIMIT:,} are looked at. Give a longer "
            "--every or a shorter --last."
        )
    return Axis(began, ended, every, now)


def _chosen(now: datetime, span: timedelta, requests: pd.DataFrame | None) -> timedelta:
    place = next((place for place, size in enumerate(SIZES) if span / size <= MOST), len(SIZES) - 1)
    while (
        requests is not None
        and len(requests)
        and place + 1 < len(SIZES)
        and span / SIZES[place + 1] >= FEWEST
        and _rows(requests, floored(now, SIZES[place]), SIZES[place]) < CHOSEN
    ):
        place += 1
    return SIZES[place]


def _rows(requests: pd.DataFrame, began: datetime, size: timedelta) -> float:
    """Of a window that has any."""
    busy = np.unique(Axis(began, began + size, size, began).places(requests["time"]))
    return float(requests["rows"].sum()) / max(len(busy), 1)


def clock(time: datetime) -> str:
    """With seconds where it is no whole minute."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time.second else f"{time:%Y-%m-%d %H:%M} UTC"


_UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute"))


def said(span: timedelta) -> str:
    """Such as "6 hours", "1 day"; rounded to the largest unit of which there are two, or to whole ones."""
    for unit, word in _UNITS:
        if span >= 2 * unit or span == unit:
            count = round(span / unit)
            return f"{count} {word}{'' if count == 1 else 's'}"
    count = round(span.total_seconds())
    return f"{count} second{'' if count == 1 else 's'}"
