"""`Lane`: one line of the page along the time axis, for all that shows it; its words say what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from nbdeploy.judge.metrics import metric
from nbdeploy.render.plain import counted, figures, percent
from nbdeploy.watch import received
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.reading import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nbdeploy.watch.health import Health

    Points = tuple[float | None, ...]

LEADING = ("accuracy", "f1_macro", "r2", "mae", "rmse")
TOP = 2.0  # times its threshold: the upper end of a column's own sparkline
HIGHEST = 3.0  # times its threshold: beyond that a column is far beyond, and the rest should still be seen


@dataclass(frozen=True)
class Series:
    """A point for each window, None where there is none. kind: bars | line | dashed. `low` and `high` bound a band."""

    name: str
    kind: str
    points: Points
    low: Points = ()
    high: Points = ()
    tone: str = "plain"


@dataclass(frozen=True)
class Lane:
    """`top` is the value at the upper end, None: the largest. `limit` is drawn as a line across; `form` writes a value."""

    title: str
    words: str
    series: tuple[Series, ...] = ()
    bottom: float = 0.0
    top: float | None = None
    limit: float | None = None
    form: Callable[[float], str] = figures

    @property
    def scale(self) -> tuple[float, float]:
        """The values at the lower and at the upper end."""
        points = [point for one in self.series for point in (*one.points, *one.high) if point is not None]
        top = self.top if self.top is not None else max(points, default=1.0)
        return self.bottom, top if top > self.bottom else self.bottom + 1.0

    @property
    def scaled(self) -> str:
        """Between which values it is drawn."""
        low, high = self.scale
        return f"{self.form(low) if low else '0'} to {self.form(high)}"

    @property
    def legend(self) -> tuple[Series, ...]:
        """What must be told apart; nothing of one alone."""
        drawn = tuple(one for one in self.series if any(point is not None for point in one.points))
        return drawn if len(drawn) > 1 else ()

    @property
    def empty(self) -> bool:
        return not any(point is not None for one in self.series for point in one.points)

    @property
    def said(self) -> str:
        """What is drawn, for who does not see it."""
        return (
            "; ".join(_said(one) for one in self.series if any(point is not None for point in one.points)) or "nothing"
        )


def lanes(health: Health) -> list[Lane]:
    return [
        _requests(health),
        _latency(health),
        _refusals(health),
        _quality(health),
        _drift(health),
        *_metrics(health),
    ]


def _requests(health: Health) -> Lane:
    if isinstance(health.traffic, NotComputable):
        return Lane("requests", str(health.traffic))
    whole = health.traffic.whole
    points = _points(health, "requests_per_second")
    peak = max((point for point in points if point is not None), default=0.0)
    words = f"{whole.requests:,}, {counted(whole.rows, 'row')} answered" if whole.requests else "none"
    return Lane("requests per second", f"{words}; peak {rate(peak)}", (Series("requests", "bars", points),), form=rate)


def _latency(health: Health) -> Lane:
    if isinstance(health.traffic, NotComputable):
        return Lane("latency", str(health.traffic))
    whole = health.traffic.whole
    if isinstance(whole.p50_ms, NotComputable):
        return Lane("latency in ms", str(whole.p50_ms))
    words = f"p50 {_ms(whole.p50_ms)}, p95 {_ms(whole.p95_ms)}, p99 {_ms(whole.p99_ms)} ms"
    series = (
        Series("p95", "line", _points(health, "p95_ms"), tone="accent"),
        Series("p50", "line", _points(health, "p50_ms")),
    )
    return Lane("latency in ms", words, series)


def _ms(value: float | NotComputable) -> str:
    return "-" if isinstance(value, NotComputable) else figures(value)


def _refusals(health: Health) -> Lane:
    if isinstance(health.traffic, NotComputable):
        return Lane("failed and refused", str(health.traffic))
    whole = health.traffic.whole
    if not whole.requests:
        return Lane("failed and refused", "no requests")
    words = f"{whole.errors:,} failed (5xx), {whole.refused:,} refused (4xx)"
    series = (
        Series("refused (4xx)", "bars", _points(health, "refused_rate"), tone="accent"),
        Series("failed (5xx)", "bars", _points(health, "error_rate"), tone="bad"),
    )
    largest = max((point or 0.0 for one in series for point in one.points), default=0.0)
    return Lane("failed and refused", words, series, top=max(largest, 0.05), form=percent)


def _quality(health: Health) -> Lane:
    """The column with the largest share of rows that training would not lead one to expect."""
    places: dict[int, float] = {}
    worst: tuple[float, str] = (0.0, "")
    for version in health.versions:
        for place, quality in zip(version.places, version.qualities, strict=True):
            for column in quality.columns:
                share = column.wrong / column.rows if column.rows else 0.0
                places[place] = max(places.get(place, 0.0), share)
                worst = max(worst, (share, column.name))
    if not places:
        return Lane("odd rows, worst column", "no rows to look at")
    points = tuple(places.get(place) for place in range(health.axis.count))
    words = f"at most {percent(worst[0])} of a window, in {worst[1]}" if worst[0] else "none: as in training"
    top = max(worst[0], 0.1)
    return Lane(
        "odd rows, worst column", words, (Series("odd rows", "bars", points, tone="accent"),), top=top, form=percent
    )


def _drift(health: Health) -> Lane:
    title = "drift, worst column"
    found: dict[int, float] = {}
    for version in health.versions:
        for track in version.tracks:
            for place, ratio in track.ratios.items():
                found[place] = max(found.get(place, 0.0), ratio)
    if not found:
        reason = health.version.reason if health.version else None
        return Lane(title, str(reason) if reason else "no rows to compare")
    points = tuple(
        None if (value := found.get(place)) is None else min(value, HIGHEST) for place in range(health.axis.count)
    )
    beyond = tuple(point if point is not None and point >= 1 else None for point in points)
    top = max(1.5, *(point for point in points if point is not None))
    series = (Series("times its threshold", "bars", points), Series("beyond it", "bars", beyond, tone="bad"))
    return Lane(title, f"{_drifted(health)} (line: threshold)", series, top=top, limit=1.0)


def _drifted(health: Health) -> str:
    """How many columns of the live version; where none of its rows came yet, that, and whose the bars are."""
    version = health.version
    now = health.incumbent.version if health.incumbent else version.version if version else ""
    drawn = [one for one in health.versions if one.tracks]
    own = next((one for one in drawn if one.version == now), None)
    if own is None:
        return f"no rows of {now} yet; the bars are of {', '.join(one.version for one in drawn)}"
    count = len(own.drifted)
    return f"{count} column{'' if count == 1 else 's'} drifted now" if count else "no column drifted"


def _metrics(health: Health) -> Iterator[Lane]:
    """The leading metric with its interval, beside what is expected without labels; and how many rows have a label."""
    if (name := leading(health)) is None:
        yield Lane(
            "live metrics", str(health.live) if isinstance(health.live, NotComputable) else "no row has a label yet"
        )
        return
    series = [
        Series(
            "live",
            "line",
            _points(health, name),
            low=_points(health, f"{name}.low"),
            high=_points(health, f"{name}.high"),
            tone="accent",
        ),
        Series("expected", "dashed", _points(health, f"{EXPECTED}{name}")),
    ]
    known = metric(name)
    values = [point for one in series for point in (*one.points, *one.low, *one.high) if point is not None]
    share = known is not None and known.unit == "" and name != "r2" and known.greater_is_better is not None
    top = 1.0 if share else max(values, default=1.0)
    bottom = min([0.5 if share else 0.0, *values])
    yield Lane(known.title.lower() if known else name, _metric_words(health, name), tuple(series), bottom, top)
    if not isinstance(health.live, NotComputable):
        words = f"{health.live.labelled:,} of {health.live.rows:,} ({received.share(health.live.coverage)})"
        coverage = Series("coverage", "bars", _points(health, "coverage"))
        yield Lane("rows with a label", words, (coverage,), top=1.0, form=percent)


def leading(health: Health) -> str | None:
    """The metric that is shown."""
    for name in LEADING:
        for reading in health.readings:
            for key in (name, f"{EXPECTED}{name}"):
                if not isinstance(reading.value(key), NotComputable):
                    return name
    return None


def _metric_words(health: Health, name: str) -> str:
    said = []
    live = health.live
    if not isinstance(live, NotComputable) and live.versions:
        last = live.versions[-1]
        value = last.metrics.get(name)
        if value is not None:
            said.append(f"live {value}")
    said += [
        f"expected without labels {found.metrics[name]}"
        for found in list(health.expected.values())[-1:]
        if not isinstance(found, NotComputable) and name in found.metrics
    ]
    return "; ".join(said) or "-"


def _points(health: Health, name: str) -> Points:
    values = (reading.values.get(name) for reading in health.readings)
    return tuple(None if value is None or isinstance(value, NotComputable) else float(value) for value in values)


def rate(value: float) -> str:
    """Per second, or in the unit in which it is no fraction."""
    for factor, unit in ((1, "a second"), (60, "a minute"), (3_600, "an hour"), (86_400, "a day")):
        if value * factor >= 1 or unit == "a day":
            return f"{figures(value * factor)} {unit}"
    return "0"


def _said(series: Series) -> str:
    points = [point for point in series.points if point is not None]
    return f"{series.name} {figures(min(points))} to {figures(max(points))}, last {figures(points[-1])}"


def thinned(points: Sequence[float | None], most: int, of: Callable[[list[float]], float] = max) -> Points:
    """At most `most` of them: neighbours together, the largest of each."""
    if len(points) <= most:
        return tuple(points)
    bounds = [round(place * len(points) / most) for place in range(most + 1)]
    parts = [[point for point in points[a:b] if point is not None] for a, b in pairwise(bounds)]
    return tuple(of(part) if part else None for part in parts)
