"""`Traffic`: how many requests of the log there were, how long they took and what became of them, window by window.

Windows begin at whole multiples of their length since 1970 (UTC), so days begin at midnight UTC and weeks on a Thursday; the
first and the last are cut at the ends of the time asked for. Rates are over the seconds a window really has, and one
without requests stands there as zero. Latency is that of answered requests, as in `/metrics`: refusals would blur it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.errors import WrongUse
from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import counted, percent
from nbdeploy.watch.axis import floored
from nbdeploy.watch.computable import NotComputable, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

MOST = 5_000  # windows at once
SHOWN = 48  # of them in a card
QUANTILES = (0.5, 0.95, 0.99)
UNANSWERED = NotComputable("no request was answered")
UNASKED = NotComputable("no requests")
HEADERS = ("requests", "per second", "5xx", "4xx", "p50 ms", "p95 ms", "p99 ms")


@dataclass(frozen=True)
class Flow(Shown):
    """The requests of [began, ended): `answered` those with status 200, `errors` 5xx, `refused` 4xx; `rows` of the answered.

    `version` and `worker` (its pid) are those it was narrowed to. Latencies interpolate between neighbours, as NumPy does.
    """

    began: datetime
    ended: datetime
    requests: int = 0
    answered: int = 0
    errors: int = 0
    refused: int = 0
    rows: int = 0
    p50_ms: float | NotComputable = UNANSWERED
    p95_ms: float | NotComputable = UNANSWERED
    p99_ms: float | NotComputable = UNANSWERED
    version: str | None = None
    worker: int | None = None

    @property
    def seconds(self) -> float:
        return (self.ended - self.began).total_seconds()

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def error_rate(self) -> float | NotComputable:
        return self.errors / self.requests if self.requests else UNASKED

    @property
    def refused_rate(self) -> float | NotComputable:
        return self.refused / self.requests if self.requests else UNASKED

    @property
    def thin(self) -> tuple[str, ...]:
        """The quantiles with less than one request beyond them: they are nearly the largest, whatever there was."""
        return tuple(_name(share) for share in QUANTILES if 0 < self.answered * (1 - share) < 1 - 1e-9)

    def values(self) -> dict[str, float | NotComputable]:
        """Under the names of a `Reading`."""
        names = ("requests", "requests_per_second", "error_rate", "refused_rate", "p50_ms", "p95_ms", "p99_ms", "rows")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        times = {"began": self.began.isoformat(), "ended": self.ended.isoformat(), "thin": list(self.thin)}
        return {name: plain(value) for name, value in (own | self.values()).items()} | times

    def card(self) -> Card:
        facts = tuple(zip(HEADERS, cells(self), strict=True))
        return Card(f"traffic, {_span(self)}", facts=(*facts, ("rows", self.rows)), notes=notes(self))


@dataclass(frozen=True)
class Traffic(Shown):
    """`whole` is all of it, `windows` the same in pieces. `versions` and `workers` have their own windows, all of the same
    times. `outside` counts requests whose time lies outside: after a clock that was set, or of other times than asked for.
    """

    whole: Flow
    windows: tuple[Flow, ...]
    versions: Mapping[str, Split] = field(default_factory=dict)
    workers: Mapping[int, Split] = field(default_factory=dict)
    outside: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "whole": self.whole.to_dict(),
            "windows": [flow.to_dict() for flow in self.windows],
            "versions": {name: split.to_dict() for name, split in self.versions.items()},
            "workers": {str(pid): split.to_dict() for pid, split in self.workers.items()},
            "outside": self.outside,
        }

    @property
    def parts(self) -> list[Split]:
        """Versions, and workers, where there are several."""
        return [split for several in (self.versions, self.workers) if len(several) > 1 for split in several.values()]

    def card(self) -> Card:
        parts = self.parts
        tables = []
        if len(self.windows) > 1:
            lines = [(_moment(flow.began), *cells(flow)) for flow in self.windows[-SHOWN:]]
            tables.append(Table(("from (UTC)", *HEADERS), lines))
        if parts:
            tables.append(Table(("of", *HEADERS), [(split.title, *cells(split.whole)) for split in parts]))
        told = notes(self.whole)
        if len(self.windows) > SHOWN:
            told.append(("neutral", f"the last {SHOWN} of {len(self.windows)} windows; .windows has them all"))
        if self.outside:
            told.append(
                (
                    "warning",
                    f"{counted(self.outside, 'request')} {'has' if self.outside == 1 else 'have'} a time outside this span and {'is' if self.outside == 1 else 'are'} not counted",
                )
            )
        return Card(
            title=f"traffic, {_span(self.whole)}",
            status=counted(self.whole.requests, "request"),
            facts=tuple(zip(HEADERS[1:], cells(self.whole)[1:], strict=True)),
            tables=tuple(tables),
            notes=told,
        )


@dataclass(frozen=True)
class Split:
    """The traffic of one version or one worker."""

    whole: Flow
    windows: tuple[Flow, ...]

    @property
    def title(self) -> str:
        return f"version {self.whole.version}" if self.whole.version is not None else f"worker {self.whole.worker}"

    def to_dict(self) -> dict[str, Any]:
        return {"whole": self.whole.to_dict(), "windows": [flow.to_dict() for flow in self.windows]}


def traffic(requests: pd.DataFrame, began: datetime, ended: datetime, every: timedelta | None = None) -> Traffic:
    """Of `Predictions.requests()`, in any order; one window where `every` is None.

    Raises:
        WrongUse: a time without its zone, a span that does not end after it begins, or too many windows.
    """
    ends = edges(began, ended, every)
    counted = _Requests.of(requests, ends)
    return Traffic(
        whole=next(counted.whole(ends)),
        windows=tuple(counted.flows(ends)),
        versions={str(name): counted.split(ends, "version", name) for name in counted.known("version")},
        workers={int(pid): counted.split(ends, "worker", pid) for pid in counted.known("worker")},
        outside=len(requests) - len(counted.window),
    )


def edges(began: datetime, ended: datetime, every: timedelta | None = None) -> list[datetime]:
    """Where windows begin, and where the last one ends, in UTC: a day with a change of clocks has as long a day as any.

    Raises:
        WrongUse: as `traffic`.
    """
    if began.tzinfo is None or ended.tzinfo is None:
        raise WrongUse(f"{began if began.tzinfo is None else ended} has no time zone: give one, such as datetime.UTC.")
    first, last = began.astimezone(UTC), ended.astimezone(UTC)
    if last <= first:
        raise WrongUse(f"The time from {first.isoformat()} to {last.isoformat()} does not end after it begins.")
    if every is None:
        return [first, last]
    if every <= timedelta(0):
        raise WrongUse(f"A window of {every} has no length; write it like 30m, 1h or 1d.")
    count = (last - first) // every
    if count > MOST:
        raise WrongUse(
            f"{last - first} in windows of {every} are {count}, and {MOST} is the most: take longer windows."
        )
    inner = floored(first, every) + every
    found = [first]
    while inner < last:
        found.append(inner)
        inner += every
    return [*found, last]


@dataclass(frozen=True)
class _Requests:
    """Those within the edges, the quickest first: the window of each, and what is counted of it.

    `labels` have a number for each request and what the numbers stand for.
    """

    window: NDArray[np.int16]
    status: NDArray[np.int64]
    rows: NDArray[np.int64]
    milliseconds: NDArray[np.float64]
    labels: Mapping[str, tuple[NDArray[np.int64], Sequence[Any]]]

    @classmethod
    def of(cls, frame: pd.DataFrame, ends: Sequence[datetime]) -> _Requests:
        import pandas as pd

        times = pd.DatetimeIndex(pd.to_datetime(frame["time"], utc=True)).as_unit("us").asi8
        bounds = pd.DatetimeIndex(list(ends)).as_unit("us").asi8
        window = np.searchsorted(bounds, times, side="right") - 1
        kept = np.flatnonzero((window >= 0) & (window < len(bounds) - 1))
        named = {name: pd.factorize(frame[name].iloc[kept]) for name in ("version", "worker") if name in frame}
        order = np.argsort(frame["milliseconds"].to_numpy(dtype=np.float64)[kept])
        kept = kept[order]
        return cls(
            window=window[kept].astype(np.int16),
            status=frame["status"].to_numpy(dtype=np.int64)[kept],
            rows=frame["rows"].fillna(0).to_numpy(dtype=np.int64)[kept],
            milliseconds=frame["milliseconds"].to_numpy(dtype=np.float64)[kept],
            labels={name: (codes[order], list(names)) for name, (codes, names) in named.items()},
        )

    def known(self, label: str) -> list[Any]:
        """In the order they first appear."""
        return list(self.labels[label][1]) if label in self.labels else []

    def where(self, label: str, value: Any) -> _Requests:
        codes, names = self.labels[label]
        kept = codes == names.index(value)
        return _Requests(self.window[kept], self.status[kept], self.rows[kept], self.milliseconds[kept], {})

    def split(self, ends: Sequence[datetime], label: str, value: Any) -> Split:
        own = self.where(label, value)
        named = {label: str(value) if label == "version" else int(value)}
        return Split(next(own.whole(ends, **named)), tuple(own.flows(ends, **named)))

    def whole(self, ends: Sequence[datetime], **named: Any) -> Iterator[Flow]:
        one = _Requests(np.zeros_like(self.window), self.status, self.rows, self.milliseconds, {})
        return one.flows([ends[0], ends[-1]], **named)

    def flows(self, ends: Sequence[datetime], **named: Any) -> Iterator[Flow]:
        """Every window, those without requests too."""
        count = len(ends) - 1
        answered = self.status == 200

        def counts(of: NDArray[np.bool_]) -> list[int]:
            return [int(number) for number in np.bincount(self.window[of], minlength=count)]

        every = counts(np.ones_like(answered))
        good, bad = counts(answered), counts(self.status >= 500)
        refused = counts((self.status >= 400) & (self.status < 500))
        rows = np.bincount(self.window, weights=self.rows * answered, minlength=count)
        latencies = _quantiles(self.window[answered], self.milliseconds[answered], count)
        for place in range(count):
            times: dict[str, Any] = {**latencies[place], **named}
            yield Flow(
                began=ends[place],
                ended=ends[place + 1],
                requests=every[place],
                answered=good[place],
                errors=bad[place],
                refused=refused[place],
                rows=int(rows[place]),
                **times,
            )


def _quantiles(window: NDArray[np.int16], values: NDArray[np.float64], count: int) -> list[dict[str, Any]]:
    """Of every window at once: `values` ascend, so sorted by window (a radix sort) a quantile is a place in its stretch."""
    ordered = values[np.argsort(window, kind="stable")]
    ends = np.cumsum(np.bincount(window, minlength=count))
    found: list[dict[str, Any]] = []
    for begin, end in zip(np.concatenate(([0], ends[:-1])), ends, strict=True):
        stretch = ordered[begin:end]
        found.append({_name(share): _at(stretch, share) for share in QUANTILES} if len(stretch) else {})
    return found


def _at(ordered: NDArray[np.float64], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def _name(share: float) -> str:
    return f"p{round(share * 100)}_ms"


def cells(flow: Flow) -> tuple[Any, ...]:
    """In the order of HEADERS; a quantile of too few requests says of how many."""
    latencies = []
    for share in QUANTILES:
        name = _name(share)
        value = getattr(flow, name)
        few = f" (of {flow.answered})" if name in flow.thin else ""
        latencies.append(None if isinstance(value, NotComputable) else f"{_figures(value)}{few}")
    shares = [
        None if isinstance(share, NotComputable) else percent(share, 2)
        for share in (flow.error_rate, flow.refused_rate)
    ]
    return flow.requests, _figures(flow.requests_per_second), *shares, *latencies


def notes(flow: Flow) -> list[tuple[Any, str]]:
    if not flow.requests:
        return [("neutral", "no request in this time")]
    if not flow.thin:
        return []
    named = " and ".join(name.removesuffix("_ms") for name in flow.thin)
    return [("neutral", f"{named} of {flow.answered} answered requests say little more than the slowest of them")]


def _figures(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _span(flow: Flow) -> str:
    return f"{_moment(flow.began)} to {_moment(flow.ended)} UTC"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M" if not moment.second else "%Y-%m-%d %H:%M:%S")
