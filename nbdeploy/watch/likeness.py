"""Is the labelled part like the rest? Metrics of rows that are not speak of these alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.watch.budget import Budget
from nbdeploy.watch.calibration import Calibration
from nbdeploy.watch.drift import Drift, drift
from nbdeploy.watch.window import Window, parts_of

if TYPE_CHECKING:
    from nbdeploy.capture.profile import Profile

ONCE_IN = 100.0  # looks at a part that is like the rest, one false warning


def likeness(bins: Profile, labelled: tuple[Any, Any], rest: tuple[Any, Any]) -> Drift:
    """The labelled rows and their predictions beside those without a label, over the training sample's bins.

    Its `drifted` columns are those in which the labelled part is another one.
    """
    others = bins.counted(rest[0], predictions=rest[1])
    budget = Budget(windows=ONCE_IN, alarms=1.0, persistence=1)
    calibration = Calibration(parts_of(others), budget, called="the rest")
    return drift(calibration, [Window(bins.counted(labelled[0], predictions=labelled[1]))])


def warnings_of(found: Drift) -> list[str]:
    """A sentence for each column that differs; empty where the labelled part speaks for all."""
    return [
        f"The labelled rows are unlike the rest in {column.name}: {'; '.join(shift.text for shift in column.shifts)}."
        for column in found.drifted
    ]
