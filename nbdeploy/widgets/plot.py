"""Small plots as SVG, drawn here: no script, nothing to load, in the page's own colours.

Lines differ by dashes and are named at their ends: colour is never alone.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from nbdeploy.render import markup, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.widgets.asking import Sweep

    Series = tuple[str, tuple[float, ...]]

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 110, 24, 34
COLOURS = ("#2f7ed8", "#c77c11", "#2e9e5b", "#a259c4", "#d64545", "#8a8a8a")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 4")
MOST_LINES = 6
CHARACTER = 6.5  # px of width, about, at 11 px


def sweep(item: Sweep) -> str:
    if not item.series:
        rows = tuple(zip((_point(item, point) for point in item.points), item.labels, strict=True))
        return _table((item.column, item.method), rows)
    shown = _highest(item.series)
    numbers = all(_number(point) for point in item.points)
    drawn = _lines(item, shown) if numbers else _table((item.column, *(name for name, _ in shown)), _cells(item, shown))
    less = len(item.series) - len(shown)
    return drawn + (f'<div style="opacity:.75">and {less} more, which never come as high</div>' if less else "")


def bars(scores: Sequence[tuple[str, float]]) -> str:
    """Shares of one: a bar, and the number beside it."""
    lines = "".join(
        '<div style="display:flex;align-items:center;gap:8px;margin:2px 0">'
        f'<span style="flex:0 1 8em;min-width:4em;overflow-wrap:anywhere">{markup.text(plain.cut(label, 40))}</span>'
        '<span aria-hidden="true" style="flex:1 1 60px;max-width:280px;height:10px;background:rgba(128,128,128,.2);border-radius:2px">'
        f'<span style="display:block;height:10px;border-radius:2px;background:{COLOURS[0]};width:{max(0.0, min(1.0, share)):.1%}"></span></span>'
        f'<span style="flex:0 0 4.5em">{_share(share)}</span></div>'
        for label, share in scores[:10]
    )
    more = len(scores) - 10
    return lines + (f'<div style="opacity:.75">and {more} more</div>' if more > 0 else "")


def _highest(series: Sequence[Series]) -> list[Series]:
    """As many as can be told apart, in their own order."""
    kept = sorted(series, key=lambda line: -max(_finite(line), default=0.0))[:MOST_LINES]
    return [line for line in series if line in kept]


def _finite(line: Series) -> list[float]:
    return [value for value in line[1] if math.isfinite(value)]


def _lines(item: Sweep, shown: Sequence[Series]) -> str:
    flat = [value for line in shown for value in _finite(line)] or [0.0]
    low, high = (0.0, 1.0) if item.method == "predict_proba" else (min(flat), max(flat))
    high = high if high > low else low + 1.0
    xs = [float(point) for point in item.points]

    def place(x: float, y: float) -> str:
        across = LEFT + (x - xs[0]) / ((xs[-1] - xs[0]) or 1) * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM):.1f}"

    drawn = [
        f'<polyline fill="none" stroke="{COLOURS[n]}" stroke-width="2" stroke-dasharray="{DASHES[n]}" '
        f'points="{" ".join(place(x, y) for x, y in zip(xs, line, strict=True) if math.isfinite(y))}"/>'
        for n, (_, line) in enumerate(shown)
    ]
    last = [(_finite(line) or [low])[-1] for line in shown]
    ends = _spread([HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM) for value in last])
    names = [
        f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4:.1f}" fill="currentColor">{_text(name, 15)}</text>'
        f'<line x1="{WIDTH - RIGHT}" y1="{y:.1f}" x2="{WIDTH - RIGHT + 6}" y2="{y:.1f}" stroke="{COLOURS[n]}" stroke-width="3"/>'
        for n, ((name, _), y) in enumerate(zip(shown, ends, strict=True))
    ]
    said = "; ".join(f"{name} from {line[0]:.3g} to {line[-1]:.3g}" for name, line in shown)
    about = f"{item.method} while {item.column} goes from {xs[0]:g} to {xs[-1]:g}: {said}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(plain.cut(about))}" '
        f'style="width:100%;max-width:{WIDTH}px;height:auto;font-size:11px;color:inherit">'
        f"{_axes(item, xs, (low, high))}{''.join(drawn)}{''.join(names)}</svg>"
    )


def _axes(item: Sweep, xs: Sequence[float], ends: tuple[float, float]) -> str:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    shares = item.method == "predict_proba"
    low, high = ("0 %", "100 %") if shares else (f"{end:.4g}" for end in ends)
    titled = "probability" if shares else plain.cut(item.method, 30)
    texts = [
        f'<text x="2" y="{TOP - 10}" fill="currentColor">{html.escape(titled)}</text>',
        f'<text x="{LEFT - 6}" y="{floor}" text-anchor="end" fill="currentColor">{low}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end" fill="currentColor">{high}</text>',
        f'<text x="{LEFT}" y="{floor + 14}" fill="currentColor">{xs[0]:g}</text>',
        f'<text x="{right}" y="{floor + 14}" text-anchor="end" fill="currentColor">{xs[-1]:g}</text>',
        f'<text x="{(LEFT + right) / 2}" y="{floor + 28}" text-anchor="middle" fill="currentColor">{_text(item.column, 60)}</text>',
    ]
    frame = f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
    return frame + "".join(texts) + _now(item, xs, len(titled))


def _now(item: Sweep, xs: Sequence[float], titled: int) -> str:
    """Where the row as it stands is; its name beside the axis's title, which has so many characters."""
    if not _number(item.now) or not xs[0] <= item.now <= xs[-1]:
        return ""
    across, name = LEFT + (item.now - xs[0]) / ((xs[-1] - xs[0]) or 1) * (WIDTH - LEFT - RIGHT), f"now {item.now:g}"
    named = max(across, 2 + CHARACTER * (titled + 2 + len(name) / 2))
    return (
        f'<path d="M{across:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="currentColor" stroke-opacity=".5" stroke-dasharray="2 4"/>'
        f'<text x="{named:.1f}" y="{TOP - 10}" text-anchor="middle" fill="currentColor">{name}</text>'
    )


def _spread(ys: Sequence[float]) -> list[float]:
    """Labels that do not lie over one another."""
    placed: dict[int, float] = {}
    before = -math.inf
    for number, y in sorted(enumerate(ys), key=lambda item: item[1]):
        before = max(y, before + 13)
        placed[number] = before
    over = max(0.0, before - (HEIGHT - 6))
    return [placed[number] - over for number in range(len(ys))]


def _cells(item: Sweep, shown: Sequence[Series]) -> list[tuple[str, ...]]:
    said = _share if item.method == "predict_proba" else "{:.4g}".format
    return [(_point(item, point), *(said(line[n]) for _, line in shown)) for n, point in enumerate(item.points)]


def _point(item: Sweep, point: Any) -> str:
    """Marked where it is that of the row as it stands."""
    return f"{_shown(point)} (now)" if point == item.now else _shown(point)


def _share(value: float) -> str:
    return plain.percent(value, 1)


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    from nbdeploy.render import Table

    return markup.table(Table(headers, rows))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(value: str, room: int) -> str:
    return html.escape(plain.cut(value, room))
