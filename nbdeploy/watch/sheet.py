"""The page of a service as plain text, for 80 columns."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from nbdeploy.render import Table, plain
from nbdeploy.watch import findings, lanes
from nbdeploy.watch.histogram import histogram
from nbdeploy.watch.sections import axis_labels, chosen, numbers, sections, spans, tone_of, what

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbdeploy.render import Tone
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.compared import Compared, Track
    from nbdeploy.watch.divergence import Divergence
    from nbdeploy.watch.findings import Finding
    from nbdeploy.watch.health import Health
    from nbdeploy.watch.lanes import Lane
    from nbdeploy.watch.sections import Section

WIDTH = 80
CHART = 30  # characters of a lane's chart
TITLE = 22
BLOCKS = "▁▂▃▄▅▆▇█"
NOTHING = "·"  # where there is no point


def sheet(health: Health, *, colour: bool = False) -> str:
    state = health.service
    shown = f"{health.name} {state.version}" if state.version else health.name
    blocks = [
        f"{plain.text(shown)}  {_mark(state.tone, state.state, colour=colour)}",
        health.axis.text,
        "",
        _mark(findings.tone(health), health.verdict, colour=colour),
        *_findings(health.findings, colour=colour),
        "",
        *_lanes(health),
        *(["", *_columns(health.version, health.axis, colour=colour)] if health.version else []),
    ]
    for section in sections(health):
        blocks += ["", *_section(section)]
    return "\n".join(line.rstrip() for line in blocks)


def divergence(found: Divergence, *, colour: bool = False) -> str:
    own = found.compared
    lines = [
        f"{plain.text(found.name)}: drift  {_mark(found.tone, found.status, colour=colour)}",
        found.axis.text,
        f"{plain.counted(own.rows, 'row')}{f' of {plain.text(own.version)}' if own.version else ''} beside {plain.text(own.called)}",
    ]
    for swap in own.swapped:
        lines += _told("bad", swap.text, "", colour=colour)
    return "\n".join([*lines, "", *_columns(own, found.axis, colour=colour)])


def bars(points: Sequence[float | None], bottom: float, top: float) -> str:
    """A sparkline; the lowest block is what is there and small, a dot is nothing."""
    span = (top - bottom) or 1.0
    steps = (None if point is None else min(max((point - bottom) / span, 0.0), 1.0) for point in points)
    return "".join(NOTHING if step is None else BLOCKS[min(int(step * len(BLOCKS)), len(BLOCKS) - 1)] for step in steps)


def _findings(found: Sequence[Finding], *, colour: bool) -> Iterator[str]:
    for one in found:
        yield from _told(one.tone, one.text, "  ", colour=colour)
        if one.next:
            yield from _wrapped(f"next: {plain.text(one.next)}", "    ", "    ")


def _lanes(health: Health) -> Iterator[str]:
    for one in lanes.lanes(health):
        yield from _lane(one)
    begin, middle, end = axis_labels(health)
    gap = CHART - len(begin) - len(middle) - len(end)
    if gap >= 2:
        yield f"{'UTC':<{TITLE}} {begin}{' ' * (gap // 2)}{middle}{' ' * (gap - gap // 2)}{end}"
    else:
        yield f"{'UTC':<{TITLE}} {begin}{' ' * max(CHART - len(begin) - len(end), 1)}{end}"
    if stretches := spans(health):
        said = ", ".join(version for _, _, version in stretches[-4:])
        yield from _wrapped(f"{'version live':<{TITLE}} {plain.text(said)}", "", " " * (TITLE + 1))


def _lane(shown: Lane) -> Iterator[str]:
    """Chart and words on one line where there is room; the second series has no room."""
    title = f"{shown.title:<{TITLE}}"
    if shown.empty:
        yield from _wrapped(f"{title} {plain.text(shown.words)}", "", " " * (TITLE + 1))
        return
    first = next(one for one in shown.series if any(point is not None for point in one.points))
    points = lanes.thinned(first.points, CHART)
    top = shown.top if shown.top is not None else max(point for point in points if point is not None)
    drawn = bars(points, shown.bottom, top)
    room = " " * (TITLE + 1 + max(len(drawn), CHART) + 1)
    yield from _wrapped(f"{title} {drawn:<{CHART}} {plain.text(shown.words)}", "", room)


def _columns(found: Compared, axis: Axis, *, colour: bool) -> Iterator[str]:
    if not found.tracks:
        yield f"Columns: {found.reason}" if found.reason else "Columns: no rows to compare"
        return
    yield f"Columns of {plain.text(found.version)} beside {plain.text(found.called)}"
    shown, rest = chosen(found)
    for track in shown:
        yield from _column(track, found, axis, colour=colour)
    if rest:
        yield from _wrapped(plain.cut(rest), "  ")


def _column(track: Track, found: Compared, axis: Axis, *, colour: bool) -> Iterator[str]:
    name = plain.cut(track.column, TITLE + 8)
    yield from _told(tone_of(track), f"{name}: {what(track, found.called)}", "  ", colour=colour)
    value, visible = numbers(track)
    drawn = histogram(*track.now.counts)
    if drawn is not None:
        top = max(*drawn.before, *drawn.now, 1e-9)
        before, now = bars(drawn.before, 0.0, top), bars(drawn.now, 0.0, top)
        yield f"    {plain.cut(found.called, 20)} {before}  now {now}"
    along = lanes.thinned([track.ratios.get(place) for place in range(axis.count)], CHART)
    if any(point is not None for point in along):
        seen = f"; visible from {visible}" if visible else ""
        yield from _wrapped(f"{bars(along, 0.0, lanes.TOP)}  {value}{seen}", "    ", "    ")


def _section(shown: Section) -> Iterator[str]:
    yield plain.text(shown.title)
    if shown.rows:
        yield from (f"  {line}" for line in plain.table(Table(shown.headers, shown.rows)).splitlines())
    for note in shown.notes:
        yield from _wrapped(plain.text(note), "  ", "  ")


def _mark(tone: Tone, shown: str, *, colour: bool) -> str:
    return f"{plain.icon(tone, colour=colour)} {plain.text(shown)}"


def _told(tone: Tone, shown: str, indent: str, *, colour: bool) -> list[str]:
    """Broken into lines before it is coloured: what a terminal does not show takes no room."""
    first, *rest = _wrapped(_mark(tone, shown, colour=False), indent, f"{indent}  ")
    icon = plain.icon(tone, colour=False)
    return [first.replace(icon, plain.icon(tone, colour=colour), 1), *rest]


def _wrapped(shown: str, first: str, rest: str | None = None) -> list[str]:
    return wrap(
        shown, WIDTH, initial_indent=first, subsequent_indent=first if rest is None else rest, break_on_hyphens=False
    )
