"""Is the labelled part like the rest? Metrics of rows that are not speak of these alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.watch.budget import Budget
from nbdeploy.watch.calibration import Calibration
from nbdeploy.watch.drift import Drift, drift
from nbdeploy.watch.task import top
from nbdeploy.watch.window import Window, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from nbdeploy.capture.profile import Profile
    from nbdeploy.watch.task import Task

ONCE_IN = 100.0  # looks at a part that is like the rest, one false warning
FEWEST = 20  # rows of either part


def compared(labelled: Profile, rest: Profile) -> Drift:
    """The labelled rows and their predictions beside those without a label, over the training sample's bins.

    Its `drifted` columns are those in which the labelled part is another one.
    """
    budget = Budget(windows=ONCE_IN, alarms=1.0, persistence=1)
    calibration = Calibration(parts_of(rest), budget, called="the rest")
    return drift(calibration, [Window(labelled)])


def warnings_of(found: Drift) -> list[str]:
    """A sentence for each column that differs; empty where the labelled part speaks for all."""
    return [
        f"The labelled rows are unlike the rest in {column.name}: {'; '.join(shift.text for shift in column.shifts)}."
        for column in found.drifted
    ]


class Part:
    """Rows of the log, counted as they come; columns the log does not keep count nothing."""

    def __init__(self, bins: Profile, tasks: Mapping[str, Task] | None = None) -> None:
        self._bins = bins
        self._labels = {version: task.labels for version, task in (tasks or {}).items()}
        self.profile = bins.counted([], predictions=[])

    def add(self, rows: pd.DataFrame) -> None:
        if len(rows):
            counted = self._bins.counted(inputs_of(rows), predictions=self._answers(rows))
            self.profile = self.profile.merged(counted)

    def _answers(self, rows: pd.DataFrame) -> Any:
        if rows["prediction"].dtype != object:
            return rows["prediction"]
        answered = zip(rows["prediction"].tolist(), rows["version"].tolist(), strict=True)
        return [self._answer(answer, version) for answer, version in answered]

    def _answer(self, answer: Any, version: str) -> Any:
        return top(answer, self._labels.get(version, {})) if isinstance(answer, dict) else answer


def unlike(labelled: Part, rest: Part) -> list[str]:
    """Where they differ; nothing where one of them has too few rows to say."""
    if min(labelled.profile.rows, rest.profile.rows) < FEWEST:
        return []
    return warnings_of(compared(labelled.profile, rest.profile))


def inputs_of(rows: pd.DataFrame) -> Any:
    """What the model was given, as far as the log has it: a frame, or an array of what has no names."""
    named = {name: str(name).removeprefix("input.") for name in rows.columns if str(name).startswith("input.")}
    if "input" in rows.columns and rows["input"].notna().any():
        return np.asarray(rows["input"].tolist())
    present = [name for name in named if rows[name].notna().any()]
    return rows[present].rename(columns=named)
