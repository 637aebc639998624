"""`readings`: every window of a service in numbers, put together from what its parts found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.reading import EXPECTED, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbdeploy.judge.estimate import Estimate
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.compared import Compared
    from nbdeploy.watch.drift import ColumnDrift, Drift
    from nbdeploy.watch.performance import Performance
    from nbdeploy.watch.quality import ColumnQuality, Quality
    from nbdeploy.watch.traffic import Traffic

    Value = float | NotComputable
    Metrics = Mapping[str, Estimate | NotComputable]

SHARES = ("missing", "unseen", "out_of_range", "odd")
NO_ROWS = NotComputable("no rows in this window")


def readings(
    axis: Axis,
    traffic: Traffic | NotComputable,
    versions: Sequence[Compared],
    live: Mapping[int, Sequence[Performance]],
    expected: Mapping[int, Metrics],
) -> list[Reading]:
    """One for each window, oldest first. `live` and `expected` are by place; of several versions in a window, the last one's
    metrics count, and the column that is farthest beyond.
    """
    found = []
    lacking = dict(_lacking(versions))
    for place, (began, ended) in enumerate(axis):
        values: dict[str, Value] = {}
        if isinstance(traffic, NotComputable):
            values["requests"] = traffic
        else:
            values |= traffic.windows[place].values()
        values |= dict(_of_quality(versions, place)) | dict(_of_drift(versions, place)) | lacking
        values |= dict(_of_labels(live.get(place, ())))
        values |= dict(_named(expected.get(place, {}), EXPECTED))
        found.append(Reading(began, ended, _version(traffic, place), values))
    return found


def _version(traffic: Traffic | NotComputable, place: int) -> str | None:
    if isinstance(traffic, NotComputable):
        return None
    asked = [name for name, split in traffic.versions.items() if split.windows[place].requests]
    return asked[0] if len(asked) == 1 else None


def _of_quality(versions: Sequence[Compared], place: int) -> Iterator[tuple[str, Value]]:
    """Shares of the rows of all versions that have the column."""
    qualities = [own.qualities[own.places.index(place)] for own in versions if place in own.places]
    if qualities:
        yield "duplicates", _duplicates(qualities)
    for name, columns in _by_column(qualities).items():
        for share, value in zip(SHARES, _shares(columns), strict=True):
            yield f"{share}@{name}", value


def _duplicates(qualities: Sequence[Quality]) -> Value:
    """Of the versions whose rows can be told apart; the reason where there are none."""
    counted = [(one.duplicates, one.rows) for one in qualities if not isinstance(one.duplicates, NotComputable)]
    if rows := sum(count for _, count in counted):
        return sum(repeated for repeated, _ in counted) / rows
    return next((one.duplicates for one in qualities if isinstance(one.duplicates, NotComputable)), NO_ROWS)


def _lacking(versions: Sequence[Compared]) -> Iterator[tuple[str, Value]]:
    """What is read in no window: columns whose values every version that has them lacks, and repeated rows that none tells."""
    whole = [own.quality.duplicates for own in versions if not isinstance(own.quality, NotComputable)]
    untold = [reason for reason in whole if isinstance(reason, NotComputable)]
    if whole and len(untold) == len(whole):
        yield "duplicates", untold[-1]
    tracked = [{track.column for track in own.tracks} for own in versions]
    for name in dict.fromkeys(name for own in versions for name in own.lacking):
        reasons = [own.lacking.get(name) for own, names in zip(versions, tracked, strict=True) if name in names]
        if (last := reasons[-1]) is not None and None not in reasons:
            yield from ((f"{reading}@{name}", last) for reading in (*SHARES, "drift"))


def _by_column(qualities: Iterable[Quality]) -> dict[str, list[ColumnQuality]]:
    found: dict[str, list[ColumnQuality]] = {}
    for one in qualities:
        for column in one.columns:
            found.setdefault(column.name, []).append(column)
    return found


def _shares(columns: Sequence[ColumnQuality]) -> tuple[Value, ...]:
    """In the order of SHARES."""
    total = Counter[str]()
    for column in columns:
        total.update(
            rows=column.rows,
            missing=column.missing,
            unseen=column.unseen or 0,
            out_of_range=column.below + column.above,
            odd=column.odd,
        )
    if not total["rows"]:
        return (NO_ROWS,) * len(SHARES)
    cut = any(column.unseen is None for column in columns)
    return tuple(
        NotComputable("training had more values than are listed")
        if share == "unseen" and cut
        else total[share] / total["rows"]
        for share in SHARES
    )


def _of_drift(versions: Sequence[Compared], place: int) -> Iterator[tuple[str, Value]]:
    drifts = [own.drifts[own.places.index(place)] for own in versions if place in own.places]
    names = dict.fromkeys(column.name for drift in drifts for column in drift.columns)
    for name in names:
        columns = [column for drift in drifts for column in drift.columns if column.name == name]
        ratios = [ratio for column in columns if (ratio := _ratio(column)) is not None]
        verdicts = [column.verdict for column in columns if isinstance(column.verdict, NotComputable)]
        yield f"drift@{name.removeprefix('input.')}", max(ratios) if ratios else [*verdicts, NO_ROWS][0]
    if drifts:
        yield "drifted_columns", _drifted(drifts)


def _ratio(column: ColumnDrift) -> float | None:
    """None where too few values say nothing: that few of them are missing is no sign that the others are as in training."""
    leading = column.leading
    return None if leading is None or (column.partial and not leading.exceeded) else leading.ratio


def _drifted(drifts: Sequence[Drift]) -> Value:
    names = {column.name for drift in drifts for column in drift.drifted}
    columns = [column for drift in drifts for column in drift.columns]
    if names or any(isinstance(column.verdict, str) for column in columns):
        return float(len(names))
    few = [column.verdict for column in columns if column.partial and isinstance(column.verdict, NotComputable)]
    return few[0] if few else 0.0


def _of_labels(parts: Sequence[Performance]) -> Iterator[tuple[str, Value]]:
    if parts:
        yield from parts[-1].values().items()
        rows = sum(part.rows for part in parts)
        yield "coverage", sum(part.labelled for part in parts) / rows if rows else NO_ROWS


def _named(metrics: Metrics, prefix: str) -> Iterator[tuple[str, Value]]:
    """With the ends of their intervals."""
    for name, value in metrics.items():
        if isinstance(value, NotComputable):
            yield f"{prefix}{name}", value
            continue
        yield f"{prefix}{name}", value.value
        for end, number in (("low", value.low), ("high", value.high)):
            if number is not None:
                yield f"{prefix}{name}.{end}", number
