"""The page of a service as HTML: no script, nothing from elsewhere, small enough to be saved with a notebook."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from nbdeploy.render import plain
from nbdeploy.render.markup import text
from nbdeploy.watch import charts, findings, lanes
from nbdeploy.watch.histogram import histogram
from nbdeploy.watch.sections import axis_labels, chosen, marks, numbers, sections, spans, tone_of, what

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbdeploy.render import Tone
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.compared import Compared, Track
    from nbdeploy.watch.divergence import Divergence
    from nbdeploy.watch.findings import Finding
    from nbdeploy.watch.health import Health
    from nbdeploy.watch.lanes import Lane
    from nbdeploy.watch.sections import Section

HERE = Path(__file__).parent
LONGEST = 300  # characters of one text; the rest is cut
POINTS = 48  # of a sparkline


def document(health: Health) -> str:
    return _whole(f"{health.name}: {health.verdict}", fragment(health))


def fragment(health: Health) -> str:
    """What a notebook shows."""
    parts = [
        _head(health),
        _findings(health.findings),
        _lanes(health),
        *([_columns(health.version, health.axis)] if health.version else []),
        *(_section(one) for one in sections(health)),
    ]
    return _framed("".join(parts))


def divergence(found: Divergence) -> str:
    state = _mark(found.tone, found.status)
    head = f"<header><h1>{_cut(found.name)}: drift</h1>{state}{_soft(found.axis.text)}</header>"
    against = f"<p>{plain.counted(found.compared.rows, 'row')} of {_cut(found.compared.version)} beside {_cut(found.compared.called)}</p>"
    swapped = "".join(f"<p>{_mark('bad', swap.text)}</p>" for swap in found.compared.swapped)
    return _framed(f"{head}{against}{swapped}{_columns(found.compared, found.axis)}")


def _whole(title: str, content: str) -> str:
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(title=_cut(title), content=content)


def _framed(content: str) -> str:
    return f'<div class="nbd-watch"><style>{_style()}</style>{content}</div>'


@cache
def _style() -> str:
    return " ".join((HERE / "page.css").read_text(encoding="utf-8").split())


# the head


def _head(health: Health) -> str:
    state = health.service
    shown = f"{health.name} {state.version}" if state.version else health.name
    word = _mark(state.tone, state.state)
    verdict = f'<p class="head">{_mark(findings.tone(health), health.verdict)}</p>'
    return f"<header><h1>{_cut(shown)}</h1>{word}{_soft(health.axis.text)}</header>{verdict}"


def _findings(found: Sequence[Finding]) -> str:
    if not found:
        return ""
    lines = "".join(f'<li class="{one.tone}">{_icon(one.tone)} {_cut(one.text)}{_next(one.next)}</li>' for one in found)
    return f'<ul class="findings">{lines}</ul>'


def _next(step: str) -> str:
    return f'<span class="next">next: {_cut(step)}</span>' if step else ""


# the time axis


def _lanes(health: Health) -> str:
    at = marks(health)
    rows = "".join(_lane(one, at) for one in lanes.lanes(health))
    begin, middle, end = axis_labels(health)
    times = f'<div class="times"><span>{begin}</span><span>{middle}</span><span>{end}</span></div>'
    return (
        f"<h2>Over time</h2>{rows}{_versions(health, at)}"
        f'<div class="lane axis"><span class="soft">UTC</span>{times}<span></span></div>'
    )


def _lane(shown: Lane, at: Sequence[float]) -> str:
    drawn = "<span></span>" if shown.empty else f"<div>{charts.lane(shown, at)}{_key(shown)}</div>"
    return f'<div class="lane"><b>{_cut(shown.title)}</b>{drawn}<span>{_cut(shown.words)}</span></div>'


def _key(shown: Lane) -> str:
    """Which line is which, and what is at the upper end."""
    names = "".join(f'<span><i class="{one.tone} {one.kind}"></i>{_cut(one.name)}</span>' for one in shown.legend)
    return f'<div class="key">{names}<span>{_cut(shown.scaled)}</span></div>'


def _versions(health: Health, at: Sequence[float]) -> str:
    stretches = spans(health)
    if not stretches:
        return ""
    said = ", ".join(version for _, _, version in stretches[-8:])
    more = f"{len(stretches) - 8} more, then " if len(stretches) > 8 else ""
    drawn = charts.strip(
        [(begin, end, number) for number, (begin, end, _) in enumerate(stretches[-40:])],
        at,
        "versions live",
        more + said,
    )
    return f'<div class="lane strip"><b>version live</b>{drawn}<span>{_cut(more + said)}</span></div>'


# columns


def _columns(found: Compared, axis: Axis) -> str:
    if not found.tracks:
        reason = f"not computable ({found.reason.reason})" if found.reason else "no rows to compare"
        return f"<h2>Columns</h2><p>{_cut(reason)}</p>"
    shown, rest = chosen(found)
    rows = "".join(_column(track, found, axis) for track in shown)
    heads = ("column", "what", f"{found.called} (behind), now", "over time", "test", "visible from")
    more = _soft(rest) if rest else ""
    return (
        f"<h2>Columns of {_cut(found.version)} beside {_cut(found.called)}</h2>{_table('columns', heads, rows)}{more}"
    )


def _column(track: Track, found: Compared, axis: Axis) -> str:
    value, visible = numbers(track)
    drawn = histogram(*track.now.counts)
    picture = (
        ""
        if drawn is None
        else charts.histogram(drawn, f"{_short(track.column)}, {found.called} and now", what(track, found.called))
    )
    along = lanes.thinned([track.ratios.get(place) for place in range(axis.count)], POINTS)
    there = [point for point in along if point is not None]
    said = f"{min(there):.2g} to {max(there):.2g} times its threshold" if there else "nothing"
    line = charts.spark(along, 1.0, lanes.TOP, f"{_short(track.column)} over time", said) if there else ""
    return (
        f'<tr><th scope="row">{_cut(track.column)}</th><td class="what">{_mark(tone_of(track), what(track, found.called))}</td>'
        f"<td>{picture}</td><td>{line}</td><td>{_cut(value)}</td><td>{_cut(visible)}</td></tr>"
    )


def _short(name: str) -> str:
    return plain.cut(name, 40)


# the rest


def _section(shown: Section) -> str:
    table = ""
    if shown.rows:
        rows = "".join(f"<tr>{_cells(row)}</tr>" for row in shown.rows)
        table = _table(shown.title, shown.headers, rows)
    notes = "".join(f"<p>{text(plain.cut(note, 3 * LONGEST))}</p>" for note in shown.notes)
    return f"<h2>{_cut(shown.title)}</h2>{table}{notes}"


def _table(called: str, headers: Iterable[str], rows: str) -> str:
    """Where it is wider than the screen it scrolls in its box, by keys too."""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{_cut(called)}">'
        f"<table><thead>{_heads(headers)}</thead><tbody>{rows}</tbody></table></div>"
    )


def _heads(headers: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{_cut(head)}</th>' for head in headers)
    return f"<tr>{cells}</tr>"


def _cells(row: Sequence[Any]) -> str:
    first, *others = row
    return f'<th scope="row">{_cut(first)}</th>' + "".join(f"<td>{_cut(cell)}</td>" for cell in others)


def _mark(tone: Tone, shown: str) -> str:
    """A tone is an icon and words; its colour is on the icon alone."""
    return f"<span>{_icon(tone)} {_cut(shown)}</span>"


def _icon(tone: Tone) -> str:
    return f'<span class="icon {tone}" aria-hidden="true">{plain.ICONS[tone]}</span>'


def _soft(shown: str) -> str:
    return f'<span class="soft">{_cut(shown)}</span>'


def _cut(value: Any) -> str:
    return text(plain.cut(value, LONGEST))
