"""The tables of the page, for all that shows it: columns, metrics, quality, versions and events, and how sure all this is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.counts import Bins
from nbdeploy.judge.metrics import metric
from nbdeploy.render.plain import counted, figures, percent
from nbdeploy.watch.axis import clock, said
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.drift import DRIFTED, SUSPECTED
from nbdeploy.watch.expected import Expected
from nbdeploy.watch.findings import blind
from nbdeploy.watch.received import share
from nbdeploy.watch.tenure import moment
from nbdeploy.watch.traffic import HEADERS, cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbdeploy.render import Tone
    from nbdeploy.watch.compared import Compared, Track
    from nbdeploy.watch.health import Health
    from nbdeploy.watch.performance import Performance
    from nbdeploy.watch.promise import Promise
    from nbdeploy.watch.quality import Quality
    from nbdeploy.watch.traffic import Flow

COLUMNS = 12  # that are shown; the rest is counted
QUIET = 6  # of them, where nothing is wrong
NAMED = 4  # of the rest, for each reason why they are not computable
EVENTS = 12
METRICS = (
    *("accuracy", "f1_macro", "precision_macro", "recall_macro", "roc_auc", "log_loss", "brier"),
    *("mae", "rmse", "r2", "mape"),
)
TONES: dict[str, Tone] = {DRIFTED: "bad", SUSPECTED: "warning"}
CLEANED = "log cleaned"
SHOWN_EVENTS = {
    "published": "published",
    "live": "went live",
    "rolled back": "rolled back to",
    "taken down": "taken down",
    "stopped": "stopped",
    "validated": "judged",
    "gate skipped": "published without its gate",
    CLEANED: "old rows of the log removed, as its retention says",
}


@dataclass(frozen=True)
class Section:
    """`notes` stand below the table, or alone."""

    title: str
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    notes: tuple[str, ...] = ()


def chosen(found: Compared) -> tuple[list[Track], str]:
    """The columns that are shown, the worst first, and what is said of the rest."""
    beyond = len(found.drifted) + len(found.suspected)
    most = COLUMNS if beyond > QUIET else max(beyond, QUIET)
    shown, rest = list(found.ranked[:most]), found.ranked[most:]
    if not rest:
        return shown, ""
    drifted = sum(track.now.verdict == DRIFTED for track in rest)
    parts = [f"{drifted} drifted"] if drifted else []
    parts += [f"{count} suspected"] if (count := sum(track.now.verdict == SUSPECTED for track in rest)) else []
    parts += [f"{count} like {found.called}"] if (count := sum(track.now.verdict == "stable" for track in rest)) else []
    parts += list(_unknown(rest))
    return shown, f"and {counted(len(rest), 'more column')}: {'; '.join(parts)}"


def _unknown(tracks: Iterable[Track]) -> Iterator[str]:
    """How many there are for each reason, and which."""
    reasons: dict[NotComputable, list[str]] = {}
    for track in tracks:
        if isinstance(track.now.verdict, NotComputable):
            reasons.setdefault(track.now.verdict, []).append(track.column)
    for reason, names in reasons.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"{len(names)} {reason}: {', '.join(names[:NAMED])}{more}"


def tone_of(track: Track) -> Tone:
    return TONES.get(str(track.now.verdict), "neutral" if isinstance(track.now.verdict, NotComputable) else "good")


def numbers(track: Track) -> tuple[str, str]:
    """The leading test beside its threshold, and the smallest shift that would be seen."""
    test = track.now.leading
    ranged = isinstance(track.now.counts[0], Bins)
    name = "" if test is None else "out of range" if ranged and test.name == "unseen" else test.name.replace("_", "-")
    value = "" if test is None else f"{name} {figures(test.value)}, threshold {figures(test.limit.high)}"
    visible = "" if track.now.visible is None else f"{figures(track.now.visible, 2)}{_unit(track)}"
    return value, visible


def _unit(track: Track) -> str:
    return " sd" if any(test.name == "wasserstein" for test in track.now.tests) else " of the rows"


def what(track: Track, called: str) -> str:
    """One sentence on a column."""
    if isinstance(track.now.verdict, NotComputable):
        return str(track.now.verdict)
    since = "" if track.since is None else f", since {clock(track.since)}"
    doubt = f"; {track.now.doubt}" if track.now.doubt else ""
    return f"{track.what}{since}{doubt}" if track.what else f"like {called}"


def sections(health: Health) -> list[Section]:
    made = [_metrics(health), _traffic(health), _quality(health), _events(health), _alerts(health), _sure(health)]
    return [section for section in made if section.rows or section.notes]


def _metrics(health: Health) -> Section:
    """Of the version that answered last: what labels say, what is expected without, what was before it went live."""
    version = health.version.version if health.version else ""
    live = health.live
    found = (
        None
        if isinstance(live, NotComputable)
        else next((one for one in live.versions if one.version == version), None)
    )
    ahead, promise = health.expected.get(version), health.promises.get(version)
    expected = ahead.metrics if isinstance(ahead, Expected) else {}
    labelled = found.metrics if found is not None and found.labelled else {}
    names = [name for name in METRICS if name in labelled or name in expected]
    rows = tuple(
        (
            known.title if (known := metric(name)) else name,
            _shown(labelled.get(name)),
            _shown(expected.get(name)),
            _shown(promise.metrics.get(name) if promise else None),
        )
        for name in names
    )
    drifted = bool(health.version and health.version.drifted)
    notes = [*_of_labels(health, found), *_of_before(ahead, promise, shown=bool(rows), drifted=drifted)]
    headers = ("metric", "live", "expected", "before")
    return Section(f"Metrics of {version}" if version else "Metrics", headers if rows else (), rows, tuple(notes))


def _of_labels(health: Health, found: Performance | None) -> Iterator[str]:
    """How many rows have one; where none has, how they come."""
    if isinstance(health.live, NotComputable):
        yield f"Live metrics: {health.live}."
        if "no label" in health.live.reason:
            yield f"Labels come with: nbdeploy feedback {health.name} labels.csv --on request_id"
    elif found is not None:
        yield f"{found.labelled:,} of {counted(found.rows, 'row')} ({share(found.coverage)}) {'has' if found.labelled == 1 else 'have'} a label."


def _of_before(
    ahead: Expected | NotComputable | None, promise: Promise | None, *, shown: bool, drifted: bool
) -> Iterator[str]:
    """What the columns expected and before stand on; `shown`: whether there are metrics."""
    if isinstance(ahead, NotComputable):
        yield f"Without labels: {ahead}."
    elif ahead is not None and shown:
        yield f"Without labels it is assumed: {'; '.join(ahead.assumptions)}."
        if drifted:
            yield "Columns have drifted, so that these assumptions are in doubt: believe labels."
    if shown:
        narrow = "; what is expected has too narrow ones while there are about a hundred labels"
        yield f"Intervals are of 95 %{narrow if isinstance(ahead, Expected) else ''}."
    if shown and promise and promise.metrics:
        yield f"Before: {promise.of}."


def _shown(value: Any) -> str:
    if value is None or isinstance(value, NotComputable):
        return "-"
    low, high = value.low, value.high
    said = figures(value.value)
    return said if low is None or high is None else f"{said} ({figures(low)} to {figures(high)})"


def _traffic(health: Health) -> Section:
    """Of each version and each worker, where there are several; the busiest of many."""
    parts = [] if isinstance(health.traffic, NotComputable) else health.traffic.parts
    busiest = sorted(parts, key=lambda split: -split.whole.requests)[:COLUMNS]
    rows = tuple((split.title, *_told(split.whole)) for split in parts if split in busiest)
    notes = (f"and {counted(len(parts) - COLUMNS, 'more worker')}",) if len(parts) > COLUMNS else ()
    return Section("Requests by version and worker", ("of", *HEADERS) if rows else (), rows, notes)


def _told(flow: Flow) -> tuple[str, ...]:
    """Without saying beside each quantile of how few requests it is."""
    return tuple(
        "-" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell).partition(" (")[0]
        for cell in cells(flow)
    )


def _quality(health: Health) -> Section:
    found = health.version
    if found is None or isinstance(found.quality, NotComputable):
        return Section("Rows")
    wrong = [column for column in found.quality.columns if column.wrong or column.constant]
    wrong.sort(key=lambda column: -column.wrong)
    rows = tuple(
        (
            column.name,
            _of(column.missing, column.rows),
            percent(column.trained_missing, 1),
            _of(column.odd, column.rows),
            _of(column.below + column.above, column.rows),
            "-" if column.unseen is None else _of(column.unseen, column.rows),
            "yes" if column.constant else "",
        )
        for column in wrong[:COLUMNS]
    )
    notes = [f"and {len(wrong) - COLUMNS} more columns"] if len(wrong) > COLUMNS else []
    if not rows:
        notes.append(_as_trained(found.quality, whole=not found.lacking))
    if refused := sorted((column for column in found.quality.columns if column.refused), key=lambda one: -one.refused):
        named = ", ".join(f"{column.name} {column.refused:,}" for column in refused[:COLUMNS])
        notes.append(f"Refused requests by the columns that did not fit: {named}.")
    if isinstance(repeated := found.quality.duplicates, NotComputable):
        notes.append(f"Rows that came before: {repeated}.")
    headers = ("column", "missing", "in training", "another type", "out of range", "unseen", "constant")
    return Section(
        f"Rows of {found.version}, in all {found.quality.rows:,}", headers if rows else (), rows, tuple(notes)
    )


def _as_trained(found: Quality, *, whole: bool) -> str:
    """`whole`: every column of the rows could be compared."""
    known = [column for column in found.columns if column.rows]
    if not known and found.columns:
        return "Nothing is known of their values: the log keeps none that could be compared."
    kept = "" if whole and len(known) == len(found.columns) else " in the columns that the log keeps"
    told = "The 1 row has" if found.rows == 1 else f"All {found.rows:,} rows have"
    return f"{told} values as in training{kept}."


def _of(count: int, rows: int) -> str:
    return f"{count:,} ({percent(count / rows, 1)})" if count and rows else "0"


def _events(health: Health) -> Section:
    cleaned = [event for event in health.events if event.kind == CLEANED][:-1]  # the last one is enough
    shown = [event for event in health.events if event.kind in SHOWN_EVENTS and event not in cleaned]
    rows = tuple(
        (f"{moment(event):%Y-%m-%d %H:%M}", f"{SHOWN_EVENTS[event.kind]} {event.version or ''}".strip(), event.user)
        for event in reversed(shown[-EVENTS:])
    )
    notes = (f"and {len(shown) - EVENTS} more before",) if len(shown) > EVENTS else ()
    return Section("Versions and events", ("time (UTC)", "event", "by") if rows else (), rows, notes)


def _alerts(health: Health) -> Section:
    return Section("Alerts", notes=tuple(line.text for line in health.alerts))


def _sure(health: Health) -> Section:
    """What a reader must know to trust the rest."""
    notes = []
    found = health.version
    if found is not None and found.reason is None and found.rows:
        notes = [
            f"Drift: at most one false alarm in 30 days is accepted over all columns ({found.budget}, of {said(health.axis.every)} each)."
        ]
        notes += [f"{blind(found)}."] if blind(found) else []
    for other in health.versions[:-1]:
        count = len(other.drifted)
        word = (
            str(other.reason)
            if other.reason
            else f"{counted(count, 'column')} had drifted"
            if count
            else "no column had drifted"
        )
        notes.append(f"{other.version}, which answered before, {counted(other.rows, 'row')}: {word}.")
    return Section("How sure this is", notes=tuple(notes))


def axis_labels(health: Health) -> Iterator[str]:
    """The two ends and the middle of the time axis."""
    axis = health.axis
    days = (axis.ended - axis.began).days
    form = "%Y-%m-%d" if days >= 4 else "%m-%d %H:%M" if days >= 1 else "%H:%M"
    for time in (axis.began, axis.began + (axis.ended - axis.began) / 2, axis.ended):
        yield f"{time:{form}}"


def spans(health: Health) -> Sequence[tuple[float, float, str]]:
    """Versions as parts of the axis, from 0 to 1."""
    axis = health.axis
    whole = (axis.ended - axis.began) / axis.every
    return [
        ((one.began - axis.began) / axis.every / whole, (one.ended - axis.began) / axis.every / whole, one.version)
        for one in health.tenures
    ]


def marks(health: Health) -> list[float]:
    """Where a version went live, from 0 to 1."""
    whole = (health.axis.ended - health.axis.began).total_seconds()
    found = [
        (moment(event) - health.axis.began).total_seconds() / whole
        for event in health.events
        if event.kind in {"live", "rolled back"}
    ]
    return sorted({round(mark, 3) for mark in found})[-40:]
