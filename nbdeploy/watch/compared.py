"""`Compared`: a version's rows beside what they should be like, column by column along the time axis."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.watch.baseline import part_of
from nbdeploy.watch.cells import FEWEST
from nbdeploy.watch.computable import NotComputable, plain
from nbdeploy.watch.doubt import doubted
from nbdeploy.watch.drift import DRIFTED, SUSPECTED, ColumnDrift, Drift, history
from nbdeploy.watch.quality import Quality, quality
from nbdeploy.watch.swapped import Swap, swaps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from nbdeploy.watch.calibration import Calibration
    from nbdeploy.watch.served import Served

NO_ROWS = NotComputable("no rows")


@dataclass(frozen=True)
class Track:
    """A column along the axis. `now` is the last window in which it could be compared, of a column whose values never are
    the last one that had the same tests; `since` is when what is beyond its threshold there began. `ratios` are the leading
    test over its threshold, by place.
    """

    name: str
    now: ColumnDrift
    since: datetime | None
    ratios: Mapping[int, float] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """Its own name, without that of the log's part."""
        return self.name.removeprefix("input.")

    @property
    def what(self) -> str:
        """What happened to it, in words."""
        return "; ".join(shift.text for shift in self.now.shifts)

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.now.to_dict(),
            "since": self.since and self.since.isoformat(),
            "ratios": {str(place): ratio for place, ratio in self.ratios.items()},
        }


@dataclass(frozen=True)
class Compared:
    """`drifts` has one for each of `places`, `tracks` one for each column. `called` is what it is compared with;
    `reason` says why it could not be, `lacking` why a column never is, whichever rows come.
    """

    version: str
    called: str
    budget: str = ""
    rows: int = 0
    places: tuple[int, ...] = ()
    drifts: tuple[Drift, ...] = ()
    qualities: tuple[Quality, ...] = ()
    quality: Quality | NotComputable = NO_ROWS
    tracks: tuple[Track, ...] = ()
    swapped: tuple[Swap, ...] = ()
    reason: NotComputable | None = None
    lacking: Mapping[str, NotComputable] = field(default_factory=dict)

    @property
    def drifted(self) -> tuple[Track, ...]:
        return tuple(track for track in self.tracks if track.now.verdict == DRIFTED)

    @property
    def drifting(self) -> tuple[int, ...]:
        """Windows in which a column had drifted."""
        return tuple(place for place, drift in zip(self.places, self.drifts, strict=True) if drift.drifted)

    @property
    def suspected(self) -> tuple[Track, ...]:
        return tuple(track for track in self.tracks if track.now.verdict == SUSPECTED)

    @property
    def ranked(self) -> tuple[Track, ...]:
        """The worst first; of those alike, in the schema's order."""
        return tuple(sorted(self.tracks, key=_rank))

    def track(self, name: str) -> Track:
        return next(track for track in self.tracks if name in {track.name, track.column})

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "against": self.called,
            "budget": self.budget,
            "not_computable": None if self.reason is None else self.reason.reason,
            "rows": self.rows,
            "drifted": [track.name for track in self.drifted],
            "columns": [track.to_dict() for track in self.tracks],
            "swapped": [swap.text for swap in self.swapped],
            "quality": plain(self.quality) if isinstance(self.quality, NotComputable) else self.quality.to_dict(),
        }


def compared(
    served: Served, calibration: Calibration, refused: Mapping[int, Mapping[str, int]] | None = None
) -> Compared:
    """Every window of a version judged in its turn. `refused`: by place the requests refused for a column."""
    baseline, windows, places = served.baseline, served.windows(), served.places
    said = calibration.budget.said()
    if not windows:
        return Compared(baseline.version, baseline.called, said)
    found = history(calibration, windows)
    drifts = [_explained(drift, served) for drift in (doubted(found, calibration) if baseline.fitted else found)]
    whole, blurred = served.whole(), baseline.blurred
    repeated = [served.distinct(place).duplicates for place in places]
    qualities = [
        quality(baseline.profile, window, refused=(refused or {}).get(place), duplicates=blurred or count)
        for place, window, count in zip(places, windows, repeated, strict=True)
    ]
    tracks = tuple(tracked(column.name, places, drifts) for column in drifts[-1].columns)
    beyond = [track.now for track in tracks if track.now.verdict in {DRIFTED, SUSPECTED}]
    return Compared(
        version=baseline.version,
        called=baseline.called,
        budget=said,
        rows=served.rows,
        places=tuple(places),
        drifts=tuple(drifts),
        qualities=tuple(qualities),
        quality=NO_ROWS
        if whole is None
        else quality(baseline.profile, whole, refused=_in_all(refused or {}), duplicates=blurred or sum(repeated)),
        tracks=tracks,
        swapped=tuple(swaps(beyond)),
        lacking={track.column: served.broken[track.name] for track in tracks if track.name in served.broken},
    )


def _in_all(refused: Mapping[int, Mapping[str, int]]) -> Counter[str]:
    found = Counter[str]()
    for counts in refused.values():
        found.update(counts)
    return found


def _explained(drift: Drift, served: Served) -> Drift:
    """With the reason for each column that was not counted, also of those that the profile lacks."""
    found = {column.name: column for column in drift.columns}
    found |= {name: ColumnDrift(name, reason, 0) for name, reason in served.broken.items()}
    order = dict.fromkeys([*map(part_of, served.baseline.names), *found])
    return Drift(drift.window, tuple(found[name] for name in order), drift.budget)


def tracked(name: str, places: list[int], drifts: list[Drift]) -> Track:
    """A column over the windows of a version, oldest first."""
    found = [next(column for column in drift.columns if column.name == name) for drift in drifts]
    ratios = {
        place: leading.ratio
        for place, column in zip(places, found, strict=True)
        if (leading := column.leading) is not None
    }
    last = next((number for number in reversed(range(len(found))) if isinstance(found[number].verdict, str)), None)
    if last is None:
        return Track(name, found[-1], None, ratios)
    last = _retested(found, last)
    first = last
    while first > 0 and found[first - 1].verdict in {DRIFTED, SUSPECTED}:
        first -= 1
    beyond = found[last].verdict in {DRIFTED, SUSPECTED}
    return Track(name, found[last], drifts[first].window.began if beyond else None, ratios)


def _retested(found: list[ColumnDrift], last: int) -> int:
    """The last place with all tests of `last`. A moment's values are never compared, only how many are missing: without a
    verdict it is within the thresholds again. Too few values leave tests out, and too few rows say nothing.
    """
    made = {test.name for test in found[last].tests}
    later = range(last + 1, len(found))
    again = [at for at in later if found[at].rows >= FEWEST and made <= {test.name for test in found[at].tests}]
    return again[-1] if made and again else last


def _rank(track: Track) -> tuple[int, float]:
    leading = track.now.leading
    order = {DRIFTED: 0, SUSPECTED: 1}.get(str(track.now.verdict), 2 if leading is not None else 3)
    return order, -(leading.ratio if leading is not None else 0.0)
