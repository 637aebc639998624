"""Answers that differ from training though no column does: a model that knows its rows by heart raises no alarm."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from nbdeploy.capture.profile import Profile, profile
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.watch.budget import Budget
from nbdeploy.watch.calibration import Calibration
from nbdeploy.watch.doubt import doubted
from nbdeploy.watch.drift import DRIFTED, STABLE, SUSPECTED, Drift, history
from nbdeploy.watch.window import Window, parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TAUGHT, ELSE = 0.35, 0.1  # shares of "late" among the answers to the training rows, and to all others
NUMBER, TEXT = Column("height", "number", "float64"), Column("remark", "text", "str")


class Service:
    """A model that answers its training rows with a share of "late", whatever they hold."""

    def __init__(self, column: Column, rows: int = 300) -> None:
        self.column, self.rows = column, rows
        self.random = np.random.default_rng(0)
        self.schema = Schema("frame", (column,))
        frame = self._frame(3_000, 0.0)
        self.profile = Profile.from_dict(profile(frame, self.schema, predictions=self._answers(3_000, TAUGHT)))
        self.calibration = Calibration(parts_of(self.profile), Budget(30, 1, 2, 0.5), sizes=2)

    def found(self, shares: Sequence[float], moved: float = 0.0) -> list[Drift]:
        """A window for each share of "late"; `moved` is what the column differs by."""
        windows = [
            Window(self.profile.counted(self._frame(self.rows, moved), predictions=self._answers(self.rows, share)))
            for share in shares
        ]
        return doubted(history(self.calibration, windows), self.calibration)

    def _frame(self, rows: int, moved: float) -> pd.DataFrame:
        values: object = self.random.normal(moved, 1, rows)
        if self.column is TEXT:
            values = ["x" * int(length) for length in self.random.integers(1, 200, rows)]
        return pd.DataFrame({self.column.name: values})

    def _answers(self, rows: int, share: float) -> NDArray[np.str_]:
        return np.where(self.random.random(rows) < share, "late", "in time")


def verdicts(found: Sequence[Drift]) -> list[object]:
    return [one["prediction"].verdict for one in found]


def test_answers_that_never_were_those_of_training_are_suspected_alone_and_it_is_said_why() -> None:
    found = Service(NUMBER).found([ELSE] * 8)
    assert verdicts(found) == [SUSPECTED] * 8
    assert "by heart" in found[-1]["prediction"].doubt
    assert "'late'" in str(found[-1]["prediction"].shifts) or "'in time'" in str(found[-1]["prediction"].shifts)
    assert "by heart" in str(found[-1]["prediction"].to_dict()["doubt"])
    assert not any(one.drifted for one in found)


def test_answers_that_change_alone_have_drifted() -> None:
    found = Service(NUMBER).found([TAUGHT] * 5 + [ELSE] * 3)
    assert verdicts(found)[:5] == [STABLE] * 5
    assert verdicts(found)[6:] == [DRIFTED] * 2
    assert not found[-1]["prediction"].doubt


def test_answers_that_follow_their_columns_have_drifted_from_the_first_window_on() -> None:
    assert verdicts(Service(NUMBER).found([ELSE] * 4, moved=1.0))[1:] == [DRIFTED] * 3


def test_where_nothing_but_texts_can_be_compared_the_answers_count() -> None:
    assert verdicts(Service(TEXT).found([ELSE] * 4))[1:] == [DRIFTED] * 3


def test_nothing_is_doubted_without_answers() -> None:
    service = Service(NUMBER)
    calibration = Calibration({"input.height": service.profile.columns["height"]})
    frame = pd.DataFrame({"height": np.arange(100.0)})
    found = history(calibration, [Window(service.profile.counted(frame))])
    assert doubted(found, calibration) == found


@pytest.mark.thorough
def test_a_model_that_knows_its_rows_by_heart_stays_within_the_budget() -> None:
    """Some windows of few rows look like training, so that the answers are beyond again and again."""
    began, before = 0, False
    for one in Service(NUMBER, 50).found(list(repeat(ELSE + 0.1, 500))):
        began += bool(one.drifted) and not before
        before = bool(one.drifted)
    assert began <= 500 / 30 + 3 * (500 / 30) ** 0.5
