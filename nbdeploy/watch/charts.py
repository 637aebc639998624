"""Charts as SVG, drawn here: they stretch with the page, hold no text that would be stretched, and say what they show."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from nbdeploy.render.markup import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbdeploy.watch.histogram import Histogram
    from nbdeploy.watch.lanes import Lane, Series

WIDTH, HEIGHT = 1_000, 100  # of the drawing; the page stretches it
GAP = 0.15  # of a bar's room
SEPARATE = 45  # bars that are drawn apart; more stand side by side


def lane(shown: Lane, marks: Sequence[float] = ()) -> str:
    """`marks` are places of events on the axis, from 0 to 1."""
    scale = shown.scale
    parts = [f'<path class="mark" d="M{_x(mark)} 0V{HEIGHT}"/>' for mark in marks]
    if shown.limit is not None:
        parts.append(f'<path class="limit" d="M0 {_y(shown.limit, scale)}H{WIDTH}"/>')
    for one in shown.series:
        parts += _drawn(one, scale)
    return _svg(f"{shown.title}, {shown.words}", shown.said, "".join(parts))


def strip(shares: Iterable[tuple[float, float, int]], marks: Sequence[float], title: str, said: str) -> str:
    """Stretches of the axis, from 0 to 1, in turn light and dark; `marks` across."""
    parts = [
        f'<rect class="v{number % 2}" x="{_x(begin)}" y="20" width="{max(_x(end) - _x(begin), 2)}" height="60"/>'
        for begin, end, number in shares
    ]
    parts += [f'<path class="mark" d="M{_x(mark)} 0V{HEIGHT}"/>' for mark in marks]
    return _svg(title, said, "".join(parts))


def spark(points: Sequence[float | None], limit: float, top: float, title: str, said: str) -> str:
    """A column's way along the axis, with its threshold."""
    scale = (0.0, top)
    bars = _bars([None if point is None else min(point, top) for point in points], scale)
    return _svg(title, said, f'<path class="plain" d="{bars}"/><path class="limit" d="M0 {_y(limit, scale)}H{WIDTH}"/>')


def histogram(shown: Histogram, title: str, said: str) -> str:
    """Training as an area behind, now as bars."""
    top = max(*shown.before, *shown.now, 1e-9)
    scale = (0.0, top)
    before = _bars(shown.before, scale, gap=0.0)
    return _svg(
        title, said, f'<path class="before" d="{before}"/><path class="accent" d="{_bars(shown.now, scale, gap=0.4)}"/>'
    )


def _svg(title: str, said: str, parts: str) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"><title>{text(title)}</title>'
        f"<desc>{text(said)}</desc>{parts}</svg>"
    )


def _drawn(series: Series, scale: tuple[float, float]) -> Iterator[str]:
    if series.kind == "bars":
        yield f'<path class="{series.tone}" d="{_bars(series.points, scale)}"/>'
        return
    if series.low:
        yield f'<path class="band" d="{_band(series, scale)}"/>'
    yield f'<path class="line {series.tone} {series.kind}" d="{_line(series.points, scale)}"/>'


def _bars(points: Sequence[float | None], scale: tuple[float, float], gap: float = GAP) -> str:
    """One outline over all of them, from left to right; with a gap between them where there is room for one."""
    room = WIDTH / max(len(points), 1)
    gap = gap if len(points) <= SEPARATE else 0.0
    found, level = "M0 100", HEIGHT
    for place, point in enumerate(points):
        y = HEIGHT if point is None else _y(point, scale)
        begin, end = round((place + gap / 2) * room), round((place + 1 - gap / 2) * room)
        if y != level:
            found += f"H{begin}V{y}"
            level = y
        if gap and y != HEIGHT:
            found += f"H{end}V{HEIGHT}"
            level = HEIGHT
    return f"{found}H{WIDTH}V{HEIGHT}z"


def _line(points: Sequence[float | None], scale: tuple[float, float]) -> str:
    """Broken where there is no point; one alone is a short stroke."""
    found = []
    for stretch in _stretches(points):
        where = [(_middle(place, len(points)), _y(value, scale)) for place, value in stretch]
        if len(where) == 1:
            ((x, y),) = where
            half = max(round(WIDTH / len(points) / 3), 4)
            found.append(f"M{x - half} {y}h{2 * half}")
        else:
            found.append("M" + "L".join(f"{x} {y}" for x, y in where))
    return "".join(found)


def _band(series: Series, scale: tuple[float, float]) -> str:
    """Between low and high, where there are both; as wide as its window."""
    both = [None if low is None or high is None else 1.0 for low, high in zip(series.low, series.high, strict=True)]
    count, found = len(both), []
    for stretch in _stretches(both):
        places = [place for place, _ in stretch]
        half = 0.5 / count
        xs = [round((place + 0.5) / count * WIDTH) for place in places]
        xs = [_x(places[0] / count), *xs, _x(places[-1] / count + 2 * half)]
        ends = [places[0], *places, places[-1]]
        upper = [(x, _y(series.high[place] or 0.0, scale)) for x, place in zip(xs, ends, strict=True)]
        lower = [(x, _y(series.low[place] or 0.0, scale)) for x, place in zip(xs, ends, strict=True)]
        found.append("M" + "L".join(f"{x} {y}" for x, y in [*upper, *reversed(lower)]) + "z")
    return "".join(found)


def _stretches(points: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    numbered = list(enumerate(points))
    for there, part in groupby(numbered, key=lambda item: item[1] is not None):
        if there:
            yield [(place, point) for place, point in part if point is not None]


def _middle(place: int, count: int) -> int:
    return round((place + 0.5) / count * WIDTH)


def _x(share: float) -> int:
    return round(min(max(share, 0.0), 1.0) * WIDTH)


def _y(value: float, scale: tuple[float, float]) -> int:
    low, high = scale
    share = (value - low) / (high - low)
    return round((1 - min(max(share, 0.0), 1.0)) * (HEIGHT - 4)) + 4 if share > 0 else HEIGHT
