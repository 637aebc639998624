"""Cross-validation at bundle time: scikit-learn's own numbers, within bounds, and only where they are wanted."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from models import classifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from nbdeploy.capture import bundle, folds
from nbdeploy.capture.folds import cross_validation

if TYPE_CHECKING:
    from pathlib import Path


class Slow:
    """Takes a thousandth of a second for each row it learns from."""

    fitted = 0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def fit(self, X: Any, y: Any) -> Slow:
        Slow.fitted += 1
        time.sleep(len(X) / 1000)
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))


def test_the_folds_scores_are_scikit_learns() -> None:
    fitted = classifier()
    found = cross_validation(fitted.model, fitted.X, fitted.y, "classification")
    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    expected = cross_val_score(fitted.model, fitted.X, fitted.y, cv=parts)
    accuracy = found["values"]["accuracy"]
    assert accuracy["folds"] == pytest.approx(expected.tolist())
    assert accuracy["mean"] == pytest.approx(expected.mean())
    assert accuracy["std"] == pytest.approx(expected.std(ddof=1))
    assert {"f1_macro", "roc_auc", "log_loss"} < set(found["values"])
    assert found["not_computable"] == {}


def drawn() -> list[int]:
    """The state of numpy's global generator, which models use."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return [*state[1].tolist(), state[2]]


def test_the_model_and_the_random_generators_are_left_as_they_were() -> None:
    fitted = classifier()
    weights, state, own = fitted.model[-1].coef_.copy(), drawn(), random.getstate()
    cross_validation(fitted.model, fitted.X, fitted.y, "classification")
    assert (fitted.model[-1].coef_ == weights).all()
    assert drawn() == state
    assert random.getstate() == own


def test_fits_that_take_too_long_are_not_begun() -> None:
    X, y = pd.DataFrame({"x": range(3000)}), pd.Series(range(3000), dtype=float)
    Slow.fitted = 0
    found = cross_validation(Slow(), X, y, "regression", seconds=2.0)
    assert found["values"] == {}
    assert "5 folds would take about" in found["not_computable"]["all"]
    assert Slow.fitted == 1


@pytest.mark.parametrize(
    ("model", "target", "task", "said"),
    [
        (LinearRegression(), None, "regression", "no target"),
        (LinearRegression(), [1.0, 2.0, 3.0], "clustering", "task clustering"),
        (object(), [1.0, 2.0, 3.0], "regression", "cannot be copied"),
        (LinearRegression(), [1.0, 2.0, 3.0], "regression", "n_splits"),
    ],
)
def test_what_cannot_be_fitted_anew_is_said(model: Any, target: Any, task: str, said: str) -> None:
    found = cross_validation(model, pd.DataFrame({"x": [1, 2, 3]}), target, task)
    assert found["values"] == {}
    assert said in found["not_computable"]["all"]


def test_a_bundle_has_folds_only_where_a_gate_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = classifier()
    asked = []

    def scored(*given: Any) -> dict[str, int]:
        asked.append(given)
        return {"folds": 5}

    monkeypatch.setattr(folds, "cross_validation", scored)
    plain = bundle.stage(bundle.Model(fitted.model, "plain", fitted.X, fitted.y), tmp_path)
    assert "cross_validation" not in plain.manifest.metrics
    assert asked == []
    gated = bundle.stage(bundle.Model(fitted.model, "plain", fitted.X, fitted.y, cross_validated=True), tmp_path)
    assert gated.manifest.metrics["cross_validation"] == {"folds": 5}
    assert gated.digest == plain.digest
