"""Answers that differ from those in training though no column does: what the model was taught, or something that happened?

What is known of training are the answers to the rows the model was fitted on. A model that knows these by heart (a forest
grown to its leaves) answers others otherwise from the first one on, and nothing has happened. So answers that drifted alone
count where they also changed since the service began to answer; else they are suspected, and it is said why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nbdeploy.capture.counts import Bins
from nbdeploy.capture.profile import Profile
from nbdeploy.watch.calibration import Calibration
from nbdeploy.watch.drift import DRIFTED, SUSPECTED, ColumnDrift, Drift, drift
from nbdeploy.watch.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.capture.counts import Counts
    from nbdeploy.watch.budget import Budget

PREDICTION = "prediction"
PART = 4  # of the false alarms that are accepted, one in so many for answers that change alone
WHY = "no column drifted, and the answers were no nearer to {called} before; a model that knows its training rows by heart answers others so"


def doubted(drifts: Sequence[Drift], calibration: Calibration) -> list[Drift]:
    """The windows with their verdicts, oldest first. What is beyond is held against the windows before it began."""
    found, past = [], _Past(calibration)
    for one in drifts:
        own = next((column for column in one.columns if column.name == PREDICTION), None)
        counts = None if own is None else own.counts[1]
        if own is None or counts is None:
            found.append(one)
            continue
        beyond = own.verdict in {SUSPECTED, DRIFTED}
        doubt = own.verdict == DRIFTED and _alone(one) and not past.changed(counts, one.window.repeats)
        past.add(counts, beyond=beyond)
        found.append(_suspected(one, own, calibration.called) if doubt else one)
    return found


class _Past:
    """The answers of the windows so far; those that are beyond on end are kept apart, until one is not."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._before: Counts | None = None
        self._run: Counts | None = None
        self._usual: Calibration | None = None  # made when it is first asked for

    def add(self, counts: Counts, *, beyond: bool) -> None:
        self._run = _merged(self._run, counts)
        if not beyond:
            self._before, self._run, self._usual = _merged(self._before, self._run), None, None

    def changed(self, counts: Counts, repeats: float) -> bool:
        """Whether they are others than before; not where there is no before."""
        if self._before is None:
            return False
        if self._usual is None:
            budget, sizes = _budget(self._calibration.budget), self._calibration.sizes
            self._usual = Calibration({PREDICTION: self._before}, budget, sizes=sizes)
        window = Window(Profile(rows=counts.total, predictions=counts), repeats=repeats)
        return drift(self._usual, [window])[PREDICTION].verdict == DRIFTED


def _alone(one: Drift) -> bool:
    """Whether columns could be compared, and none drifted. Of texts the lengths are, which say little."""
    inputs = [column for column in one.columns if column.name != PREDICTION and isinstance(column.verdict, str)]
    told = [column for column in inputs if not _is_text(column.counts[0])]
    return bool(told) and not any(column.verdict == DRIFTED for column in inputs)


def _is_text(counts: Counts | None) -> bool:
    return isinstance(counts, Bins) and counts.kind == "text"


def _budget(budget: Budget) -> Budget:
    return replace(budget, alarms=budget.alarms / PART, persistence=1, at_once=0.0)


def _suspected(one: Drift, own: ColumnDrift, called: str) -> Drift:
    doubt = replace(own, verdict=SUSPECTED, doubt=WHY.format(called=called))
    return replace(one, columns=tuple(doubt if column is own else column for column in one.columns))


def _merged(first: Counts | None, second: Counts | None) -> Counts | None:
    if first is None or second is None:
        return first or second
    return first.merged(second)
