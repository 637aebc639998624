from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbdeploy.capture.metrics import parameters_of, task_of, training_metrics

X, y = load_iris(return_X_y=True, as_frame=True)


class Plain:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self.answer)


class Broken:
    def predict(self, rows: Any) -> Any:
        raise RuntimeError("no\nluck")

    def get_params(self, *, deep: bool) -> dict[str, Any]:
        raise RuntimeError("none")


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (LogisticRegression(), "classification"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "classification"),
        (GridSearchCV(LogisticRegression(), {"C": [1]}), "classification"),
        (LinearRegression(), "regression"),
        (KMeans(), "clustering"),
        (StandardScaler(), "transform"),
        (make_pipeline(StandardScaler()), "transform"),
        (IsolationForest(), "other"),
        (Plain(1), "other"),
        (Broken(), "other"),
        (object(), "other"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_the_task_comes_from_the_model(model: Any, task: str) -> None:
    assert task_of(model) == task


def test_the_target_decides_for_a_model_that_says_nothing() -> None:
    assert task_of(Plain(1), [0.5, 1.5]) == "regression"
    assert task_of(Plain(1), pd.Series(["a", "b"])) == "classification"
    assert task_of(Plain(1), [1, 2]) == "other"


def test_xgboost_and_lightgbm_are_known() -> None:
    import lightgbm
    import xgboost

    assert task_of(xgboost.XGBClassifier()) == task_of(lightgbm.LGBMClassifier()) == "classification"
    assert task_of(xgboost.XGBRegressor()) == task_of(lightgbm.LGBMRegressor()) == "regression"
    json.dumps([parameters_of(xgboost.XGBClassifier()), parameters_of(lightgbm.LGBMClassifier())], allow_nan=False)


def test_classification_metrics_equal_scikit_learns() -> None:
    model = LogisticRegression(max_iter=1000).fit(X, y)
    found = training_metrics(model, X, y)
    answers, given = model.predict(X), model.predict_proba(X)
    assert found["not_computable"] == {}
    assert found["values"] == {
        "accuracy": theirs.accuracy_score(y, answers),
        "precision_macro": theirs.precision_score(y, answers, average="macro"),
        "precision_weighted": theirs.precision_score(y, answers, average="weighted"),
        "recall_macro": theirs.recall_score(y, answers, average="macro"),
        "recall_weighted": theirs.recall_score(y, answers, average="weighted"),
        "f1_macro": theirs.f1_score(y, answers, average="macro"),
        "f1_weighted": theirs.f1_score(y, answers, average="weighted"),
        "roc_auc": theirs.roc_auc_score(y, given, multi_class="ovr"),
        "log_loss": theirs.log_loss(y, given),
    }
    assert (found["kind"], found["task"], found["rows"], found["of"]) == ("training", "classification", 150, 150)


def test_two_classes_of_text_have_a_brier_score() -> None:
    labels = np.where(y == 2, "virginica", "other")
    model = LogisticRegression(max_iter=1000).fit(X, labels)
    found = training_metrics(model, X, labels)["values"]
    assert found["f1_macro"] == theirs.f1_score(labels, model.predict(X), average="macro")
    assert found["precision_weighted"] == theirs.precision_score(labels, model.predict(X), average="weighted")
    assert found["log_loss"] == theirs.log_loss(labels, model.predict_proba(X))
    given = model.predict_proba(X)[:, 1]
    assert found["brier"] == theirs.brier_score_loss(labels, given, pos_label="virginica")
    assert found["roc_auc"] == theirs.roc_auc_score(labels == "virginica", given)


def test_classes_out_of_order_are_put_in_order() -> None:
    class Reversed:
        _estimator_type = "classifier"

        def __init__(self) -> None:
            self.inner = LogisticRegression(max_iter=1000).fit(X, y)
            self.classes_ = self.inner.classes_[::-1]

        def predict(self, rows: Any) -> Any:
            return self.inner.predict(rows)

        def predict_proba(self, rows: Any) -> Any:
            return self.inner.predict_proba(rows)[:, ::-1]

    model = Reversed()
    assert training_metrics(model, X, y)["values"] == training_metrics(model.inner, X, y)["values"]


def test_labels_a_model_never_saw_are_counted_as_wrong() -> None:
    model = LogisticRegression(max_iter=1000).fit(X[y < 2], y[y < 2])
    found = training_metrics(model, X, y)
    assert found["values"]["accuracy"] == theirs.accuracy_score(y, model.predict(X))
    assert "log_loss" in found["not_computable"]


def test_a_classifier_without_probabilities_is_measured_by_its_decisions() -> None:
    model = RidgeClassifier().fit(X, y == 2)
    found = training_metrics(model, X, y == 2)["values"]
    assert found["roc_auc"] == theirs.roc_auc_score(y == 2, model.decision_function(X))
    assert "log_loss" not in found


def test_regression_metrics_equal_scikit_learns() -> None:
    rows, target = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(rows, target)
    answers = model.predict(rows)
    assert training_metrics(model, rows, target)["values"] == {
        "mae": theirs.mean_absolute_error(target, answers),
        "mse": theirs.mean_squared_error(target, answers),
        "rmse": theirs.root_mean_squared_error(target, answers),
        "r2": theirs.r2_score(target, answers),
        "mape": theirs.mean_absolute_percentage_error(target, answers),
    }


def test_clusters_are_measured_as_the_last_step_sees_the_rows() -> None:
    model = make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(X)
    found = training_metrics(model, X)["values"]
    scaled = StandardScaler().fit_transform(X)
    assert found["silhouette"] == pytest.approx(theirs.silhouette_score(scaled, model.predict(X)))
    assert found["clusters"] == 3


def test_many_rows_are_chosen_by_a_seed() -> None:
    rows = pd.DataFrame({"x": np.arange(50_000.0)})
    model = LinearRegression().fit(rows, rows["x"] ** 2)
    found = training_metrics(model, rows, rows["x"] ** 2)
    assert (found["rows"], found["of"]) == (10_000, 50_000)
    assert found["values"] == training_metrics(model, rows, rows["x"] ** 2)["values"]


def test_a_target_may_be_a_column_of_the_sample_a_list_or_one_column() -> None:
    rows = X.assign(label=y)
    model = LogisticRegression(max_iter=1000).fit(rows, y)
    whole = training_metrics(model, rows, y)["values"]
    assert training_metrics(model, rows, "label")["values"] == whole
    assert training_metrics(model, rows, y.tolist())["values"] == whole
    assert training_metrics(model, rows, y.to_frame())["values"] == whole


@pytest.mark.parametrize(
    ("model", "target", "task", "reason"),
    [
        (LogisticRegression(max_iter=1000).fit(X, y), None, None, "no target was given"),
        (LogisticRegression(max_iter=1000).fit(X, y), y[:10], None, "10 values for 150 rows"),
        (LogisticRegression(max_iter=1000).fit(X, y), "no such", None, "0 values"),
        (LogisticRegression(max_iter=1000).fit(X, y), object(), None, "Error"),
        (Broken(), y, "classification", "RuntimeError: no luck"),
        (Plain(1), y, None, "no metric for the task other"),
    ],
)
def test_odd_targets_and_models_give_a_reason_not_an_error(model: Any, target: Any, task: Any, reason: str) -> None:
    found = training_metrics(model, X, target, task)
    assert reason in found["not_computable"]["all"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "target", [[None] * 150, [float("nan")] * 150, [[1, 2]] * 150, ["a"] * 150, [0] * 150, [{}] * 150]
)
def test_metrics_that_make_no_sense_are_left_out_one_by_one(target: Any) -> None:
    model = LogisticRegression(max_iter=1000).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = training_metrics(model, X, target)
    assert found["not_computable"]
    json.dumps(found, allow_nan=False)


def test_parameters_are_json_and_the_same_for_the_same_model() -> None:
    def scorer(_rows: Any) -> float:
        return 0.0

    class Odd:
        def get_params(self, *, deep: bool) -> dict[str, Any]:
            return {
                "nan": float("nan"),
                "function": scorer,
                "object": object(),
                "set": {"b", "a"},
                "number": np.float64(1.5),
                "estimator": StandardScaler(),
                "weights": {0: 1.0, "x": float("inf")},
                "array": np.arange(3),
            }

    found = parameters_of(Odd())
    json.dumps(found, allow_nan=False)
    assert found == parameters_of(Odd())
    assert found["nan"] == "nan"
    assert found["set"] == ["a", "b"]
    assert found["number"] == 1.5
    assert found["estimator"] == "StandardScaler"
    assert "0x" not in json.dumps(found)
    assert parameters_of(LogisticRegression(C=2))["C"] == 2
    assert parameters_of(Broken()) == parameters_of(Plain(1)) == {}
