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

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 110, 12, 34
COLOURS = ("#2f7ed8", "#c77c11", "#2e9e5b", "#a259c4", "#d64545", "#8a8a8a")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 4")
MOST_LINES = 6


def sweep(item: Sweep) -> str:
    if not item.series:
        rows = tuple(zip(map(_shown, item.points), item.labels, strict=True))
        return _table((item.column, item.method), rows)
    if not all(_number(point) for point in item.points):
        return _table((item.column, *(name for name, _ in item.series[:MOST_LINES])), _cells(item))
    return _lines(item)


def bars(scores: Sequence[tuple[str, float]]) -> str:
    """Shares of one: a bar, and the number beside it."""
    lines = "".join(
        '<div style="display:flex;align-items:center;gap:8px;margin:2px 0">'
        f'<span style="flex:0 1 8em;min-width:4em;overflow-wrap:anywhere">{markup.text(plain.cut(label, 40))}</span>'
        '<span aria-hidden="true" style="flex:1 1 60px;max-width:280px;height:10px;background:rgba(128,128,128,.2);border-radius:2px">'
        f'<span style="display:block;height:10px;border-radius:2px;background:{COLOURS[0]};width:{max(0.0, min(1.0, share)):.1%}"></span></span>'
        f'<span style="flex:0 0 4.5em">{share:.1%}</span></div>'
        for label, share in scores[:10]
    )
    more = len(scores) - 10
    return lines + (f'<div style="opacity:.75">and {more} more</div>' if more > 0 else "")


def _lines(item: Sweep) -> str:
    shown = item.series[:MOST_LINES]
    flat = [value for _, line in shown for value in line if math.isfinite(value)] or [0.0]
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
    ends = _spread([(HEIGHT - BOTTOM - (line[-1] - low) / (high - low) * (HEIGHT - TOP - BOTTOM)) for _, line in shown])
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
    texts = [
        f'<text x="{LEFT - 6}" y="{floor}" text-anchor="end" fill="currentColor">{ends[0]:.4g}</text>',
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end" fill="currentColor">{ends[1]:.4g}</text>',
        f'<text x="{LEFT}" y="{floor + 14}" fill="currentColor">{xs[0]:g}</text>',
        f'<text x="{right}" y="{floor + 14}" text-anchor="end" fill="currentColor">{xs[-1]:g}</text>',
        f'<text x="{(LEFT + right) / 2}" y="{floor + 28}" text-anchor="middle" fill="currentColor">{_text(item.column, 60)}</text>',
    ]
    frame = f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
    return frame + "".join(texts)


def _spread(ys: Sequence[float]) -> list[float]:
    """Labels that do not lie over one another."""
    placed: dict[int, float] = {}
    before = -math.inf
    for number, y in sorted(enumerate(ys), key=lambda item: item[1]):
        before = max(y, before + 13)
        placed[number] = before
    over = max(0.0, before - (HEIGHT - 6))
    return [placed[number] - over for number in range(len(ys))]


def _cells(item: Sweep) -> list[tuple[str, ...]]:
    lines = [line for _, line in item.series[:MOST_LINES]]
    return [(_shown(point), *(f"{line[n]:.4g}" for line in lines)) for n, point in enumerate(item.points)]


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    from nbdeploy.render import Table

    return markup.table(Table(headers, rows))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(value: str, room: int) -> str:
    return html.escape(plain.cut(value, room))
