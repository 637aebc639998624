"""`Drift`: is the traffic still like the training sample? Column by column, within a budget of false alarms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown, Table
from nbdeploy.watch.computable import NotComputable, plain
from nbdeploy.watch.distance import distances
from nbdeploy.watch.null import statistics
from nbdeploy.watch.shift import Shift, absent, shifts
from nbdeploy.watch.window import parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.capture.counts import Counts
    from nbdeploy.watch.calibration import Calibration, Limit
    from nbdeploy.watch.window import Window

STABLE, SUSPECTED, DRIFTED = "stable", "suspected", "drifted"


@dataclass(frozen=True)
class Test:
    """One statistic beside its limit. `lasting`: windows on end that exceeded it, this one included."""

    name: str
    value: float
    limit: Limit
    lasting: int = 0

    @property
    def exceeded(self) -> bool:
        return self.limit.exceeded(self.value)

    @property
    def far(self) -> bool:
        """So far beyond that one window is enough."""
        return self.limit.far(self.value)

    @property
    def ratio(self) -> float:
        """Over the threshold, on the side where it is nearer to it; 1 and more is beyond."""
        above = self.value / self.limit.high if self.limit.high else float(self.exceeded)
        if self.limit.low is None or self.limit.low <= 0:
            return above
        return max(above, 2 - self.value / self.limit.low)

    def to_dict(self) -> dict[str, Any]:
        return {
            "test": self.name,
            "value": self.value,
            "threshold": self.limit.high,
            "low": self.limit.low,
            "visible": self.limit.visible,
            "lasting": self.lasting,
        }


@dataclass(frozen=True)
class ColumnDrift:
    """`name` as in `predictions().frame()`. `tests` decide; `measures`, all distances by their names, are for reading.

    verdict: stable | suspected (beyond a threshold, not for as many windows as the budget asks, nor far) | drifted, or why
    there is none. `shifts` say what a drifted or suspected column looks like, the plainest explanation first; `doubt`, why it
    is not held to have drifted though it lasts (see doubt.py). `partial`: too few values for the tests that it has elsewhere.
    """

    name: str
    verdict: str | NotComputable
    rows: int
    tests: tuple[Test, ...] = ()
    shifts: tuple[Shift, ...] = ()
    counts: tuple[Counts | None, Counts | None] = field(
        default=(None, None), repr=False
    )  # the reference's, the window's
    doubt: str = ""
    partial: bool = False

    @property
    def measures(self) -> Mapping[str, float | NotComputable]:
        return distances(*self.counts)

    @property
    def leading(self) -> Test | None:
        """The test that is farthest beyond its limit, or nearest to it."""
        ranked = sorted(self.tests, key=lambda test: (test.exceeded, test.ratio))
        return ranked[-1] if ranked else None

    @property
    def visible(self) -> float | None:
        """The smallest shift seen at this traffic: of the mean, in training standard deviations; of a category's share."""
        return next((test.limit.visible for test in self.tests if test.name == "jensen_shannon"), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": plain(self.verdict),
            "rows": self.rows,
            "visible": self.visible,
            "tests": [test.to_dict() for test in self.tests],
            "measures": {name: plain(value) for name, value in self.measures.items()},
            "shifts": [{"kind": item.kind, "text": item.text, "size": item.size} for item in self.shifts],
            "doubt": self.doubt,
        }


@dataclass(frozen=True)
class Drift(Shown):
    """Every column, in the schema's order, then `prediction` and `target`."""

    window: Window
    columns: tuple[ColumnDrift, ...]
    budget: str

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        return tuple(column for column in self.columns if column.verdict == DRIFTED)

    @property
    def suspected(self) -> tuple[ColumnDrift, ...]:
        return tuple(column for column in self.columns if column.verdict == SUSPECTED)

    def __getitem__(self, name: str) -> ColumnDrift:
        known = {column.name: column for column in self.columns}
        return known[name] if name in known else known[f"input.{name}"]

    def to_dict(self) -> dict[str, Any]:
        return {
            "began": self.window.began and self.window.began.isoformat(),
            "ended": self.window.ended and self.window.ended.isoformat(),
            "rows": self.window.profile.rows,
            "budget": self.budget,
            "drifted": [column.name for column in self.drifted],
            "columns": [column.to_dict() for column in self.columns],
        }

    def card(self) -> Card:
        count = len(self.drifted)
        headers = ("column", "verdict", "test", "value", "threshold", "visible", "what")
        return Card(
            title="drift",
            status=f"{count} drifted" if count else f"{len(self.suspected)} suspected" if self.suspected else "stable",
            tone="bad" if count else "warning" if self.suspected else "good",
            facts=(("rows", self.window.profile.rows), ("budget", self.budget)),
            tables=(Table(headers, [_line(column) for column in self.columns]),),
        )


def history(
    calibration: Calibration, windows: Sequence[Window], *, schema: str | None = None, visible: bool = True
) -> list[Drift]:
    """Each window in its turn, oldest first; what lasts is counted along. `schema` is the reference's id. Of the last one
    it is also said what is `visible`, which takes as long as all else.
    """
    found = []
    runs: dict[tuple[str, str], int] = {}
    for window in windows:
        last = visible and window is windows[-1]
        parts = parts_of(window.profile)
        other = schema is not None and window.schema is not None and window.schema != schema
        reason = NotComputable(f"logged with schema {window.schema}, the reference has {schema}") if other else None
        columns = [
            ColumnDrift(name, reason, 0)
            if reason
            else _judged(name, calibration, parts.get(name), window.repeats, visible=last)
            for name in calibration.parts
        ]
        runs = {
            (column.name, test.name): runs.get((column.name, test.name), 0) + 1
            for column in columns
            for test in column.tests
            if test.exceeded
        }
        lasting = tuple(_lasted(column, runs, calibration.budget.persistence) for column in columns)
        found.append(Drift(window, lasting, calibration.budget.said()))
    return found


def drift(
    calibration: Calibration, windows: Sequence[Window], *, schema: str | None = None, visible: bool = True
) -> Drift:
    """The last of `windows`; those before it, oldest first, tell what lasts."""
    return history(calibration, windows, schema=schema, visible=visible)[-1]


def _judged(
    name: str, calibration: Calibration, counts: Counts | None, repeats: float, *, visible: bool
) -> ColumnDrift:
    reference = calibration.parts[name]
    if counts is None or not counts.total:
        return ColumnDrift(name, NotComputable("it is not in this window"), 0)
    cells = calibration.cells[name]
    values = cells if isinstance(cells, NotComputable) else cells.counted(counts)
    rows, present = (max(1, int(count / repeats)) for count in (counts.total, counts.total - absent(counts)))
    limits = calibration.limits(name, rows, present, visible=visible)
    found = {"missing": absent(counts) / counts.total}
    if not isinstance(cells, NotComputable) and not isinstance(values, NotComputable):
        found["unseen"] = float(values[cells.unseen].sum()) / counts.total
        found |= {name: float(value) for name, value in statistics(cells, values).items()}
    tests = tuple(Test(test, found[test], limit) for test, limit in limits.items() if test in found)
    beyond = {test.name for test in tests if test.exceeded}
    verdict: str | NotComputable = SUSPECTED if beyond else values if isinstance(values, NotComputable) else STABLE
    told = shifts(reference, counts, beyond, calibration.called) if beyond else ()
    partial = isinstance(values, NotComputable) and not isinstance(cells, NotComputable)
    return ColumnDrift(name, verdict, counts.total, tests, told, (reference, counts), partial=partial)


def _lasted(column: ColumnDrift, runs: Mapping[tuple[str, str], int], needed: int) -> ColumnDrift:
    tests = tuple(replace(test, lasting=runs.get((column.name, test.name), 0)) for test in column.tests)
    lasts = any(test.lasting >= needed or test.far for test in tests)
    return replace(column, tests=tests, verdict=DRIFTED if lasts else column.verdict)


def _line(column: ColumnDrift) -> tuple[Any, ...]:
    told = "; ".join(shift.text for shift in column.shifts)
    test = column.leading
    if test is None:
        return (column.name, str(column.verdict), None, None, None, None, told)
    numbers = (
        f"{test.value:.3g}",
        f"{test.limit.high:.3g}",
        None if column.visible is None else f"{column.visible:.2g}",
    )
    return (column.name, str(column.verdict), test.name.replace("_", "-"), *numbers, told)
