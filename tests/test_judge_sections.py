"""The sections of the gate notebooks, on models served in this process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from judging import Said, held_out, listen, serving
from models import classifier, frame
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nbdeploy.errors import NotFound, UnsupportedData, WrongUse
from nbdeploy.judge import plots
from nbdeploy.judge.classification import Classification
from nbdeploy.judge.regression import Regression
from nbdeploy.judge.unsupervised import Unsupervised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
TEST = frame(150, seed=1)
LABELS = np.where(TEST["mass"] > 4200, "heavy", "light")
NUMBERS = ["mass", "age"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def honest(folder: Path) -> Iterator[str]:
    fitted = classifier()
    with serving(fitted.model, fitted.X, folder / "honest", target=fitted.y) as url:
        yield url


@pytest.fixture(scope="module")
def trivial(folder: Path) -> Iterator[str]:
    """Answers the most frequent label, whatever it is asked."""
    fitted = classifier()
    with serving(DummyClassifier().fit(fitted.X, fitted.y), fitted.X, folder / "trivial", target=fitted.y) as url:
        yield url


@pytest.fixture(scope="module")
def strict(folder: Path) -> Iterator[str]:
    """Takes no missing value and no island it has not seen."""
    X, y = classifier().X[["island", "mass"]], classifier().y
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["island"]), (StandardScaler(), ["mass"])), LogisticRegression()
    )
    with serving(model.fit(X, y), X, folder / "strict", target=y) as url:
        yield url


@pytest.fixture(scope="module")
def data(folder: Path) -> str:
    return held_out(TEST, LABELS, folder / "held.csv")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return listen(monkeypatch)


def evaluated(url: str, data: str, **options: Any) -> Classification:
    return Classification(url, data, "label", resamples=200, **options)


def test_the_recorded_scores_are_scikit_learns_on_the_models_own_answers(honest: str, data: str, said: Said) -> None:
    evaluation = evaluated(honest, data)
    section = evaluation.scores()
    model = classifier().model
    answers, shares = model.predict(TEST), model.predict_proba(TEST)
    found = {name: it.value for name, it in said.found.items()}
    assert found["accuracy"] == metrics.accuracy_score(LABELS, answers)
    assert found["f1_macro"] == metrics.f1_score(LABELS, answers, average="macro")
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(LABELS == "light", shares[:, 1]), abs=1e-12)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(LABELS, shares))
    assert said.found["accuracy"].n == 150
    assert said.found["accuracy"].low < found["accuracy"] < said.found["accuracy"].high
    assert said.expected == {"better than always the most frequent label": True}
    assert next(iter(section.frame["metric"])) == "accuracy"


def test_slices_are_the_same_numbers_on_fewer_rows(honest: str, data: str, said: Said) -> None:
    evaluated(honest, data).slices()
    answers = classifier().model.predict(TEST)
    for island in ("Biscoe", "Dream", "Torgersen"):
        own = (TEST["island"] == island).to_numpy()
        found = said.found[f"accuracy@island={island}"]
        assert found.value == metrics.accuracy_score(LABELS[own], answers[own])
        assert found.n == own.sum()
        assert said.found[f"f1_macro@island={island}"].value == metrics.f1_score(
            LABELS[own], answers[own], average="macro"
        )
    assert not [name for name in said.found if "@bill" in name or "@mass" in name]


def test_a_small_slice_is_marked_and_a_missing_value_is_one(honest: str, folder: Path, said: Said) -> None:
    rows = TEST.assign(shop=pd.Series(["a"] * 5 + [None] * 40 + ["b"] * 105))
    section = evaluated(honest, held_out(rows, LABELS, folder / "shops.csv")).slices()
    table = section.frame.set_index("slice")
    assert table.loc["shop=a", "small"]
    assert not table.loc["shop=missing", "small"]
    assert said.found["accuracy@shop=missing"].n == 40


def test_a_model_that_answers_one_label_is_no_better_than_that(trivial: str, data: str, said: Said) -> None:
    evaluated(trivial, data).scores()
    assert said.expected == {"better than always the most frequent label": False}


def test_an_honest_model_breaks_no_expectation(honest: str, data: str, said: Said) -> None:
    evaluation = evaluated(honest, data)
    evaluation.overview()
    evaluation.training()
    evaluation.quality()
    evaluation.scores()
    evaluation.confusion()
    evaluation.curves()
    evaluation.calibration()
    evaluation.importance(rows=60)
    evaluation.robustness()
    evaluation.latency(10_000.0)
    evaluation.challenge()
    assert set(said.expected.values()) == {True}
    assert len(said.expected) >= 6
    confused = {(row["truth"], row["answer"]): row["rows"] for row in said.found["confusion"]}
    assert sum(confused.values()) == 150
    lost = {row["column"]: row["loss"] for row in said.found["importance"]}
    assert max(lost, key=lambda name: lost[name]) == "mass"
    assert lost["mass"] > 0.2
    assert 0 < said.found["latency_p50_ms"] <= said.found["latency_p95_ms"] <= said.found["latency_p99_ms"]
    assert not [name for name in said.found if name.startswith("live.")]


def test_rows_the_service_refuses_are_counted_and_fail_the_gate(strict: str, folder: Path, said: Said) -> None:
    rows = TEST[["island", "mass"]].copy()
    rows.loc[[3, 140], "island"] = "Elsewhere"
    rows.loc[7, "mass"] = np.nan
    evaluation = evaluated(strict, held_out(rows, LABELS, folder / "refused.csv"))
    evaluation.overview()
    assert said.found["rows_refused"] == 3
    assert said.expected == {"every row is answered": False}
    assert sorted(evaluation.judged.refused) == [3, 7, 140]
    assert "mass" in evaluation.judged.refused[7]
    assert len(evaluation.scored) == 147
    evaluation.quality()
    assert (said.found["missing_cells"], said.found["unseen_categories"]) == (1, 2)


def test_a_promised_refusal_is_a_promise_kept(strict: str, data: str, said: Said) -> None:
    table = evaluated(strict, data).robustness().frame.set_index("case")
    assert table.loc["island unseen", "promised"] == "a refusal that names the column"
    assert table.loc["mass missing", "promised"] == "a refusal that names the column"
    assert table["kept"].all()
    assert set(said.expected.values()) == {True}


def test_a_broken_promise_fails_the_gate(strict: str, data: str, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = evaluated(strict, data)
    for column in evaluation.served.schema.columns:
        object.__setattr__(column, "nullable", True)
    evaluation.robustness()
    assert said.expected["promises about missing and unseen values are kept"] is False
    assert said.found["broken_promises"] == 2


def test_an_answer_that_depends_on_the_order_fails_the_gate(
    honest: str, data: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = evaluated(honest, data)
    asked = evaluation.served.client.predictions

    def by_place(method: str, rows: list[Any]) -> list[Any]:
        return [f"{answer} {place}" for place, answer in enumerate(asked(method, rows))]

    monkeypatch.setattr(evaluation.served.client, "predictions", by_place)
    evaluation.robustness()
    assert said.expected["the order of rows and columns makes no difference"] is False


@pytest.mark.parametrize(
    ("column", "how"),
    [
        (LABELS, "equals the target"),
        (np.where(LABELS == "heavy", 7, 3), "is the target under other names"),
        (np.where(LABELS == "heavy", 100, 0) + np.random.default_rng(0).normal(0, 9, 150), "predicts the target alone"),
    ],
)
def test_a_column_that_gives_the_target_away_is_found(column: Any, how: str) -> None:
    from nbdeploy.judge.quality import leaks

    columns = {"age": TEST["age"].tolist(), "given": np.asarray(column).tolist()}
    (found,) = leaks(columns, LABELS.tolist(), numeric=False)
    assert (found.column, found.how) == ("given", how)


def test_a_leak_fails_the_gate_unless_the_column_is_trusted(honest: str, data: str, said: Said) -> None:
    """The labels of these rows are a rule on mass, and with more rows a tree finds it."""
    evaluation = evaluated(honest, data)
    evaluation.examples.columns["mass"][:] = [float(label == "heavy") for label in LABELS]
    evaluation.quality()
    assert said.expected == {"no column gives the target away": False}
    assert said.found["leaks"] == 1
    said.outputs.clear()
    evaluation.quality(trusted="age, mass")
    assert said.expected == {"no column gives the target away": True}


def test_a_copy_of_a_numeric_target_is_a_leak_and_a_good_column_is_none() -> None:
    from nbdeploy.judge.quality import leaks

    rng = np.random.default_rng(0)
    target = rng.normal(size=200)
    columns = {"cents": (target * 100).tolist(), "good": (target + rng.normal(0, 0.3, 200)).tolist()}
    assert [leak.column for leak in leaks(columns, target.tolist(), numeric=True)] == ["cents"]
    assert leaks({"cents": columns["cents"]}, target.tolist(), numeric=True) == []


def test_duplicates_and_contradictions_are_counted(honest: str, folder: Path, said: Said) -> None:
    rows = pd.concat([TEST, TEST.iloc[[0, 1]]], ignore_index=True)
    labels = [*LABELS, LABELS[0], "light" if LABELS[1] == "heavy" else "heavy"]
    evaluated(honest, held_out(rows, labels, folder / "twice.csv")).quality()
    assert (said.found["duplicates"], said.found["contradictions"]) == (1, 1)


def test_a_worse_challenger_is_refused_and_a_better_one_let_through(
    honest: str, trivial: str, data: str, folder: Path, said: Said
) -> None:
    evaluation = evaluated(trivial, data, live_url=honest, out=str(folder / "out"))
    evaluation.challenge()
    assert said.expected == {"not clearly worse than the live version": False}
    assert said.found["live.accuracy"].value == metrics.accuracy_score(LABELS, classifier().model.predict(TEST))
    assert said.found["challenge_p"] < 0.001
    flips = pd.read_csv(folder / "out" / "flips.csv")
    assert len(flips) == said.found["flips"] > 0
    assert flips["change"].iloc[0] == "lost"
    said.outputs.clear()
    better = evaluated(honest, data, live_url=trivial)
    better.challenge()
    better.slices()
    assert said.expected == {"not clearly worse than the live version": True}
    assert said.found["live.accuracy@island=Dream"].n == (TEST["island"] == "Dream").sum()


def test_a_live_version_that_cannot_be_asked_these_rows_is_named(
    strict: str, honest: str, folder: Path, said: Said
) -> None:
    data = held_out(TEST[["island", "mass"]], LABELS, folder / "narrow.csv")
    evaluated(strict, data, live_url=honest).challenge()
    assert said.expected == {"the live version can be asked the same rows": False}
    assert not [name for name in said.found if name.startswith("live.")]


def test_without_data_or_labels_there_is_nothing_to_judge(honest: str, data: str, folder: Path) -> None:
    with pytest.raises(WrongUse, match="data is empty"):
        Classification(honest, "", "label")
    with pytest.raises(WrongUse, match="The labels are missing"):
        Classification(honest, data)
    with pytest.raises(NotFound, match="data file"):
        Classification(honest, str(folder / "none.csv"), "label")
    with pytest.raises(WrongUse, match="url is empty"):
        Classification("", data, "label")
    with pytest.raises(UnsupportedData, match="missing in every row"):
        Classification(honest, held_out(TEST, [None] * 150, folder / "unlabelled.csv"), "label")
    with pytest.raises(UnsupportedData, match="none of the labels the model answers with"):
        Classification(honest, held_out(TEST, ["other"] * 150, folder / "others.csv"), "label")
    with pytest.raises(UnsupportedData, match="lacks mass"):
        Classification(honest, held_out(TEST.drop(columns="mass"), LABELS, folder / "lacking.csv"), "label")
    with pytest.raises(UnsupportedData, match="has no rows"):
        Classification(honest, held_out(TEST.head(0), [], folder / "empty.csv"), "label")


def test_rows_without_a_label_are_left_out_and_counted(honest: str, folder: Path, said: Said) -> None:
    labels = [None, *LABELS[1:]]
    evaluation = evaluated(honest, held_out(TEST, labels, folder / "one.csv"))
    evaluation.overview()
    assert said.found["rows_unlabelled"] == 1
    assert said.found["rows"] == 149
    assert evaluation.examples.numbers[0] == 1


def test_of_many_rows_some_are_drawn_the_same_for_a_seed(honest: str, data: str) -> None:
    numbers = [evaluated(honest, data, max_rows=40, seed=seed).examples.numbers for seed in (1, 1, 2)]
    assert len(numbers[0]) == 40
    assert numbers[0] == numbers[1] != numbers[2]


def test_a_budget_that_is_not_held_fails_the_gate(
    honest: str, data: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdeploy.judge import latency

    monkeypatch.setattr(latency, "REQUESTS", 5)
    evaluated(honest, data).latency(0.0001)
    assert set(said.expected.values()) == {False}


def test_a_regression_is_judged_by_its_errors(folder: Path, said: Said) -> None:
    X = frame(200)[NUMBERS]
    y = 3 * X["mass"] - 50 * X["age"] + np.random.default_rng(0).normal(0, 500, 200)
    model = LinearRegression().fit(X, y)
    test = TEST[NUMBERS]
    truth = 3 * test["mass"] - 50 * test["age"] + np.random.default_rng(1).normal(0, 500, 150)
    data = held_out(test, truth, folder / "numbers.csv")
    with (
        serving(model, X, folder / "linear", target=y) as url,
        serving(DummyRegressor().fit(X, y), X, folder / "mean", target=y) as mean,
    ):
        evaluation = Regression(url, data, "label", live_url=mean, resamples=200)
        for section in (
            evaluation.scores,
            evaluation.residuals,
            evaluation.slices,
            evaluation.quality,
            evaluation.importance,
            evaluation.challenge,
        ):
            assert str(section())
        assert said.found["mae"].value == pytest.approx(metrics.mean_absolute_error(truth, model.predict(test)))
        assert said.found["r2"].value == pytest.approx(metrics.r2_score(truth, model.predict(test)))
        assert set(said.expected.values()) == {True}
        said.outputs.clear()
        worse = Regression(mean, data, "label", live_url=url, resamples=200)
        worse.scores()
        worse.challenge()
        assert said.expected == {"better than always the mean": False, "not clearly worse than the live version": False}


class Lost(LinearRegression):  # type: ignore[misc]  # scikit-learn has no types
    """Has no number for heavy rows."""

    def predict(self, X: Any) -> Any:
        return np.where(X["mass"] > 4500, np.nan, super().predict(X))


def test_answers_that_are_no_numbers_make_the_metric_nan_and_fail_the_gate(folder: Path, said: Said) -> None:
    X = frame(100)[NUMBERS]
    with serving(Lost().fit(X, X["mass"]), X, folder / "lost", target=X["mass"]) as url:
        evaluation = Regression(
            url, held_out(TEST[NUMBERS], TEST["mass"] * 2, folder / "lost.csv"), "label", resamples=50
        )
        evaluation.scores()
        evaluation.residuals()
    assert math.isnan(said.found["mae"].value)
    assert said.found["mae"].low is None
    assert said.expected == {"better than always the mean": False, "every answer is a finite number": False}


def test_clusters_are_judged_by_their_distances(folder: Path, said: Said) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(np.concatenate([rng.normal(at, 1, (60, 2)) for at in (0, 8)]), columns=["a", "b"])
    model = make_pipeline(StandardScaler(), KMeans(2, n_init=1, random_state=0)).fit(X)
    X.to_csv(folder / "points.csv", index=False)
    with serving(model, X, folder / "groups") as url:
        evaluation = Unsupervised(url, str(folder / "points.csv"), resamples=100)
        for section in (
            evaluation.overview,
            evaluation.quality,
            evaluation.outputs,
            evaluation.clusters,
            evaluation.importance,
            evaluation.robustness,
        ):
            assert str(section())
    points = StandardScaler().fit_transform(X)
    answers = model.predict(X)
    assert said.found["silhouette"].value == pytest.approx(metrics.silhouette_score(points, answers))
    assert said.found["davies_bouldin"].value == pytest.approx(metrics.davies_bouldin_score(points, answers))
    assert said.found["calinski_harabasz"].value == pytest.approx(metrics.calinski_harabasz_score(points, answers))
    assert said.found["clusters"] == 2
    assert said.found["largest_cluster"] == 0.5
    assert set(said.expected.values()) == {True}


def test_a_transformer_answers_finite_rows_of_its_shape(folder: Path, said: Said) -> None:
    X = frame(80)[NUMBERS]
    X.to_csv(folder / "plain.csv", index=False)
    with serving(StandardScaler().fit(X), X, folder / "scaler") as url:
        evaluation = Unsupervised(url, str(folder / "plain.csv"))
        for section in (evaluation.outputs, evaluation.clusters, evaluation.importance, evaluation.robustness):
            assert str(section())
    assert set(said.expected.values()) == {True}


def test_an_array_model_is_judged_from_a_file_of_its_features(folder: Path, said: Said) -> None:
    X, y = frame(120)[NUMBERS].to_numpy(), classifier().y
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    with serving(model, X, folder / "array", target=y) as url:
        evaluation = Classification(url, held_out(TEST[NUMBERS], LABELS, folder / "array.csv"), "label", resamples=50)
        for section in (
            evaluation.overview,
            evaluation.quality,
            evaluation.scores,
            evaluation.slices,
            evaluation.importance,
            evaluation.robustness,
        ):
            assert str(section())
    assert said.found["accuracy"].value == metrics.accuracy_score(LABELS, model.predict(TEST[NUMBERS].to_numpy()))
    assert set(said.expected.values()) == {True}


def test_a_plot_is_a_small_picture_with_words_for_it_whatever_the_labels_are() -> None:
    labels = ["$x^", "a_b", "\n", "<script>", "ä" * 50]
    plot = plots.confusion(np.eye(5) * 3, labels)
    assert plot.png.startswith(b"\x89PNG")
    assert len(plot.png) < 60_000
    assert str(plot) == "Confusion matrix of 5 labels: 15 of 15 rows on the diagonal."
    assert plots.spans([plots.Span("$a$=_{", 0.5, None, None)], 0.5, "accuracy", "told").png
