"""What is expected without labels comes true when the assumptions do, and is said to rest on them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special
from sklearn import metrics

from nbdeploy.errors import WrongUse
from nbdeploy.judge.estimate import Estimate
from nbdeploy.watch.calibrator import Calibrator
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.expected import _ranks, area, expected

pytestmark = pytest.mark.slow
Floats = NDArray[np.float64]


def right(rows: int, labels: int, random: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    """Probabilities that are right, and labels drawn from them."""
    shares = special.softmax(random.normal(0, 1.5, (rows, labels)), axis=1)
    truth = (random.random(rows)[:, None] > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
    return shares, truth


def distorted(shares: Floats, by: float = 3.0) -> Floats:
    """As sure as an overfitted model."""
    return np.asarray(special.softmax(by * np.log(shares), axis=1))


def realised(shares: Floats, truth: NDArray[np.intp]) -> dict[str, float]:
    answers = shares.argmax(axis=1)
    found = {"accuracy": metrics.accuracy_score(truth, answers)}
    found["f1_macro"] = metrics.f1_score(truth, answers, average="macro")
    found["precision_macro"] = metrics.precision_score(truth, answers, average="macro", zero_division=0)
    if shares.shape[1] == 2:
        found["roc_auc"] = metrics.roc_auc_score(truth, shares[:, 1])
    return {name: float(value) for name, value in found.items()}


@pytest.mark.thorough
@pytest.mark.parametrize("labels", [2, 4])
def test_what_comes_true_lies_in_the_interval_at_its_rate(labels: int) -> None:
    random = np.random.default_rng(labels)
    held: dict[str, int] = {}
    for _ in range(80):
        shares, truth = right(200, labels, random)
        found = expected(shares).metrics
        for name, value in realised(shares, truth).items():
            one = found[name]
            assert isinstance(one, Estimate)
            held[name] = held.get(name, 0) + ((one.low or 0) <= value <= (one.high or 1))
    # 80 trials at 95 %: a standard error of 2.4 %, three of them; 200 draws place each end within 1.5 %.
    assert all(count / 80 >= 0.95 - 0.075 for count in held.values()), held


def test_overconfident_probabilities_are_corrected_by_labelled_rows() -> None:
    random = np.random.default_rng(0)
    shares, truth = right(2_000, 3, random)
    before, before_truth = right(2_000, 3, random)
    calibrator = Calibrator.fit(distorted(before), before_truth)
    accuracy = realised(shares, truth)["accuracy"]
    trusted = expected(distorted(shares)).metrics["accuracy"]
    corrected = expected(distorted(shares), calibrator).metrics["accuracy"]
    assert isinstance(trusted, Estimate)
    assert isinstance(corrected, Estimate)
    assert trusted.value > accuracy + 0.1
    assert corrected.low is not None
    assert corrected.high is not None
    assert corrected.low <= accuracy <= corrected.high
    assert trusted.high is not None
    assert trusted.low is not None
    assert corrected.high - corrected.low > trusted.high - trusted.low  # the correction is not known for sure either


@pytest.mark.thorough
def test_corrected_intervals_hold_what_comes_true_at_their_rate() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        (shares, truth), (before, before_truth) = right(300, 2, random), right(400, 2, random)
        one = expected(distorted(shares), Calibrator.fit(distorted(before), before_truth)).metrics["accuracy"]
        assert isinstance(one, Estimate)
        held += (one.low or 0) <= realised(shares, truth)["accuracy"] <= (one.high or 1)
    assert held / 60 >= 0.95 - 0.085  # three standard errors of 60 trials


def test_a_harder_window_is_expected_to_go_worse() -> None:
    random = np.random.default_rng(0)
    easy, hard = expected(right(500, 2, random)[0]), expected(right(500, 2, random)[0] * 0.2 + 0.4)
    assert isinstance(easy.metrics["accuracy"], Estimate)
    assert isinstance(hard.metrics["accuracy"], Estimate)
    assert hard.metrics["accuracy"].value < easy.metrics["accuracy"].value - 0.1


def test_the_area_of_certain_rows_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    score, positive = np.round(random.random(300), 1), (random.random(300) > 0.6).astype(float)
    assert area(_ranks(score), positive) == pytest.approx(metrics.roc_auc_score(positive, score))
    assert area(_ranks(score), np.ones(300)) == 0.5


def test_the_assumptions_are_said() -> None:
    random = np.random.default_rng(0)
    shares, truth = right(150, 2, random)
    plain, corrected = expected(shares), expected(shares, Calibrator.fit(shares, truth))
    assert "four in five have that label" in plain.assumptions[0]
    assert "learnt from 150 labelled rows" in corrected.assumptions[0]
    assert "concept drift" in str(plain)
    json.dumps(corrected.to_dict(), allow_nan=False)


def test_what_cannot_be_expected_is_named() -> None:
    assert expected(np.ones((5, 2))).metrics["accuracy"] == NotComputable("too few rows: 5, at least 20 are needed")
    assert isinstance(expected(np.ones((50, 1))).metrics["accuracy"], NotComputable)
    assert expected(np.vstack([np.full((30, 2), 0.5), [[np.nan, 1.0]]])).rows == 30
    with pytest.raises(WrongUse, match="10 rows with 1 labels are too few"):
        Calibrator.fit(np.full((10, 2), 0.5), np.zeros(10, np.intp))
