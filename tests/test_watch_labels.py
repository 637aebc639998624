"""Late labels give scikit-learn's own numbers on the rows they belong to, whatever way they came."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.metrics import roc_auc_score

from nbdeploy.capture.profile import Profile, profile
from nbdeploy.errors import WrongUse
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.scores import Classified, Regressed
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.watch import intervals
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.intervals import estimates, influence
from nbdeploy.watch.labels import REQUEST, Joined, join, of_frame
from nbdeploy.watch.likeness import compared, warnings_of
from nbdeploy.watch.performance import Counted, Performance, metrics_of
from nbdeploy.watch.task import Task

if TYPE_CHECKING:
    from nbdeploy.watch.drift import Drift

pytestmark = pytest.mark.slow
START = datetime(2026, 1, 1, tzinfo=UTC)


def logged(requests: int, rows: int = 2, seed: int = 0) -> pd.DataFrame:
    """A log of a binary classifier that is right four times in five; `truth` is what will turn out."""
    random = np.random.default_rng(seed)
    count = requests * rows
    truth = random.integers(0, 2, count)
    return pd.DataFrame(
        {
            "time": [START + timedelta(minutes=place // rows) for place in range(count)],
            "request_id": [f"r{place // rows}" for place in range(count)],
            "row": np.arange(count) % rows,
            "version": np.where(np.arange(count) < count // 2, "1.0.0", "1.1.0"),
            "prediction": np.where(random.random(count) < 0.8, truth, 1 - truth).astype(object),
            "key.customer": np.arange(count),
            "truth": truth,
        }
    )


def of_requests(stream: list[tuple[str, list[Any]]]) -> pd.DataFrame:
    """A label for each row of a request, as many times as they came."""
    lines = [(request, row, label) for request, labels in stream for row, label in enumerate(labels)]
    return of_frame(pd.DataFrame(lines, columns=[REQUEST, "row", "label"], dtype=object))


def performances(joined: Joined, every: timedelta | None = None) -> list[Performance]:
    counted = Counted()
    counted.add(joined.frame, every)
    return counted.performances(joined.labelled, Task("classification"), every=every)


def likeness(bins: Profile, labelled: tuple[Any, Any], rest: tuple[Any, Any]) -> Drift:
    """Rows and answers of either part."""
    one, other = (bins.counted(rows, predictions=answers) for rows, answers in (labelled, rest))
    return compared(one, other)


def number(found: Any) -> float:
    assert isinstance(found, Estimate)
    return found.value


def test_a_stream_with_delays_duplicates_and_corrections_gives_scikit_learns_numbers() -> None:
    log = logged(300)
    random = np.random.default_rng(1)
    right = {str(request): rows["truth"].tolist() for request, rows in log.groupby("request_id", sort=False)}
    asked = [request for request in right if random.random() < 0.7]
    stream: list[tuple[str, list[Any]]] = [(request, [1 - label for label in right[request]]) for request in asked[:40]]
    stream += [(request, right[request]) for request in asked]  # forty of them are corrections
    stream += [(request, right[request]) for request in asked[:25]]  # and these come twice
    late = stream[80:]
    random.shuffle(late)
    stream = [*stream[:80], *late]
    stream += [("nobody", [1]), (asked[0], [*right[asked[0]], 1]), (asked[1], [None])]
    joined = join(log, of_requests(stream))
    assert joined.to_dict() | {"coverage": 0} == {
        "rows": 600, "labelled": 2 * len(asked), "coverage": 0, "given": 2 * len(stream) - 1 - 1 + 1, "empty": 1,
        "repeated": 2 * 25 + 2, "corrections": 2 * 40, "unknown": 1, "surplus": 1, "unplaced": 0, "shared": 0,
        "unkept": 0, "refused": 0, "rowless": 0, "unjudged": 0,
    }  # fmt: skip
    rows = log[log["request_id"].isin(asked)]
    found = metrics_of(joined.labelled, "classification")
    truth, answers = rows["truth"].to_numpy(), rows["prediction"].to_numpy(dtype=int)
    assert number(found["accuracy"]) == metrics.accuracy_score(truth, answers)
    assert number(found["f1_macro"]) == pytest.approx(metrics.f1_score(truth, answers, average="macro"))
    assert number(found["precision_weighted"]) == pytest.approx(
        metrics.precision_score(truth, answers, average="weighted")
    )
    assert found["roc_auc"] == NotComputable("no request asked for probabilities")


def test_metrics_are_told_per_window_and_version_with_their_coverage() -> None:
    log = logged(120)
    labels = log[log.index % 3 == 0][["request_id", "row", "truth"]].rename(columns={"truth": "label"})
    joined = join(log, of_frame(labels))
    whole = performances(joined)
    assert [(one.version, one.rows, one.labelled) for one in whole] == [("1.0.0", 120, 40), ("1.1.0", 120, 40)]
    assert whole[0].coverage == pytest.approx(1 / 3)
    hours = performances(joined, timedelta(minutes=40))
    assert [(one.version, one.rows) for one in hours] == [("1.0.0", 80), ("1.0.0", 40), ("1.1.0", 40), ("1.1.0", 80)]
    assert hours[0].began == START
    for one, (_, rows) in zip(whole, log[log.index % 3 == 0].groupby("version"), strict=True):
        exact = metrics.accuracy_score(rows["truth"], rows["prediction"].astype(int))
        assert number(one.metrics["accuracy"]) == exact
    json.dumps(whole[0].to_dict(), allow_nan=False)
    assert "labelled" in str(whole[0])


def test_labels_join_by_a_business_key_whatever_its_type_in_the_file() -> None:
    log = logged(50)
    log.loc[10, "key.customer"] = 9  # a customer asked about twice
    table = pd.DataFrame({"customer": [3.0, np.nan, 9.0, 77_777.0], "churned": [1, 1, 0, 0]})
    joined = join(log, of_frame(table, "customer"), "customer")
    assert joined.labelled.index.tolist() == [3, 9, 10]
    assert (joined.shared, joined.unknown) == (2, 2)
    texts = of_frame(pd.DataFrame({"customer": ["3"], "label": [0]}), "customer")
    assert join(log, texts, "customer").labelled.index.tolist() == [3]


def test_one_label_for_a_request_of_several_rows_has_no_place() -> None:
    log = pd.concat([logged(3), logged(1, rows=1).assign(request_id="alone")], ignore_index=True)
    joined = join(log, of_frame(pd.DataFrame({"request_id": ["r1", "alone"], "label": [1, 1]})))
    assert (joined.unplaced, len(joined.labelled)) == (1, 1)


def test_a_table_of_labels_that_is_not_understood_is_refused() -> None:
    with pytest.raises(WrongUse, match='a column "request_id" and one called "label"; this table has a, b'):
        of_frame(pd.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(WrongUse, match=r'no key "order".*request_id, customer'):
        join(logged(2), of_frame(pd.DataFrame({"order": [1], "label": [2]}), "order"), "order")


def test_a_log_without_rows_or_labels_is_joined() -> None:
    empty = of_requests([])
    assert join(logged(2), empty).coverage == 0
    assert join(logged(2).iloc[:0], of_requests([("r1", [1])])).unknown == 1
    nothing = metrics_of(join(logged(2), empty).labelled, "classification")
    assert nothing["accuracy"] == NotComputable("no row has a label")


def test_probabilities_give_the_area_and_the_losses() -> None:
    random = np.random.default_rng(0)
    truth = random.choice(["no", "yes"], 400)
    sure = np.clip(random.normal(np.where(truth == "yes", 0.65, 0.35), 0.2), 0.01, 0.99)
    frame = pd.DataFrame({"label": truth, "prediction": [{"no": 1 - p, "yes": p} for p in sure]})
    found = metrics_of(frame, "classification")
    assert number(found["roc_auc"]) == pytest.approx(metrics.roc_auc_score(truth == "yes", sure))
    assert number(found["brier"]) == pytest.approx(metrics.brier_score_loss(truth == "yes", sure))
    assert number(found["accuracy"]) == metrics.accuracy_score(truth == "yes", sure > 0.5)
    mixed = pd.concat([frame, pd.DataFrame({"label": ["yes"], "prediction": ["no"]})])
    both = metrics_of(mixed, "classification")
    assert both["roc_auc"] == found["roc_auc"]
    assert number(both["accuracy"]) < number(found["accuracy"])


def test_a_regressions_numbers_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(10, 3, 200)
    frame = pd.DataFrame({"label": [str(value) for value in truth], "prediction": truth + random.normal(0, 1, 200)})
    found = metrics_of(pd.concat([frame, pd.DataFrame({"label": ["?"], "prediction": ["NaN"]})]), "regression")
    assert number(found["mae"]) == pytest.approx(metrics.mean_absolute_error(truth, frame["prediction"]))
    assert number(found["r2"]) == pytest.approx(metrics.r2_score(truth, frame["prediction"]))
    with pytest.raises(WrongUse, match="task clustering"):
        metrics_of(frame, "clustering")


def test_labels_in_other_words_than_the_models_are_told() -> None:
    frame = pd.DataFrame({"label": ["yes", "no"] * 5, "prediction": [1, 0] * 5})
    found = metrics_of(frame, "classification")["accuracy"]
    assert found == NotComputable("yes, no are no labels of the model, which answers 0, 1")
    frame["label"] = ["1", "0"] * 5  # as a file has them
    assert number(metrics_of(frame, "classification")["accuracy"]) == 1


SCHEMA = Schema("frame", (Column("age", "number", "float64"), Column("island", "category", "str")))


def people(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"age": random.normal(40, 12, rows), "island": random.choice(["a{}", "b"], rows)})


def test_a_labelled_part_unlike_the_rest_is_told_and_one_alike_is_not() -> None:
    rows = people(3_000, 0)
    answers = (rows["age"] > 50).astype(int).tolist()
    bins = Profile.from_dict(profile(people(2_000, 1), SCHEMA, predictions=[0, 1] * 1_000))
    chosen = rows["age"] > 45
    answered = pd.Series(answers)
    found = likeness(bins, (rows[chosen], answered[chosen].tolist()), (rows[~chosen], answered[~chosen].tolist()))
    told = warnings_of(found)
    assert [column.name for column in found.drifted] == ["input.age", "prediction"]
    assert "input.age: " in told[0]
    assert "the range of the rest" in told[0] or "sd higher" in told[0]
    alike = np.arange(3_000) % 5 == 0
    found = likeness(bins, (rows[alike], answered[alike].tolist()), (rows[~alike], answered[~alike].tolist()))
    assert warnings_of(found) == []


def test_a_part_that_is_like_the_rest_is_hardly_ever_warned_of() -> None:
    bins = Profile.from_dict(profile(people(2_000, 1), SCHEMA))
    told = 0
    for seed in range(20):
        rows = people(600, seed + 10)
        told += bool(warnings_of(likeness(bins, (rows[:100], None), (rows[100:], None))))
    assert told <= 2  # 0.2 expected at most; Poisson exceeds 2 with a probability of 0.001


def test_intervals_of_many_rows_are_those_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 2_500)
    shares = random.dirichlet([1, 1, 1], 2_500) + np.eye(3)[truth] * 0.6
    shares /= shares.sum(axis=1, keepdims=True)
    errors = random.normal(0, 1, 2_500)
    plain = np.cumsum(errors) * 0 + random.normal(0, 2, 2_500)
    for scored in (
        Classified((0, 1, 2), truth, shares.argmax(axis=1), shares),
        Classified((0, 1), truth // 2, (shares[:, 2] > 0.5).astype(int), shares[:, [0, 2]]),
        Regressed(plain, plain + errors),
    ):
        drawn = estimates(scored)
        monkeypatch.setattr(intervals, "MANY", 10)
        closed = estimates(scored)
        monkeypatch.undo()
        for name, exact in drawn.items():
            near = closed[name]
            assert isinstance(exact, Estimate)
            assert isinstance(near, Estimate)
            assert exact.low is not None
            assert exact.high is not None
            width = exact.high - exact.low
            assert near.value == exact.value
            # Ends of 1,000 draws have a standard error of 0.025 widths; these are two such ends, and four of them.
            assert near.low == pytest.approx(exact.low, abs=0.12 * width), name
            assert near.high == pytest.approx(exact.high, abs=0.12 * width), name


def test_closed_intervals_hold_the_truth_at_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "MANY", 10)
    monkeypatch.setattr(intervals, "DRAWS", 300)
    random = np.random.default_rng(0)
    right = stats.norm.cdf(0.75)  # of labels -1 and 1 with scores around them at half of the distance of 1.5 sd
    held = {"accuracy": 0, "f1_macro": 0, "roc_auc": 0, "mae": 0, "mse": 0, "r2": 0}
    truths = {"accuracy": right, "f1_macro": right, "roc_auc": stats.norm.cdf(1.5 / math.sqrt(2))}
    truths |= {"mae": math.sqrt(2 / math.pi), "mse": 1.0, "r2": 1 - 1 / 5}
    for _ in range(100):
        truth = random.integers(0, 2, 500)
        margin = random.normal(truth * 1.5 - 0.75, 1)
        found = estimates(Classified((0, 1), truth, (margin > 0).astype(int), margin=margin))
        plain = random.normal(0, 2, 500)
        target = plain + random.normal(0, 1, 500)
        found |= estimates(Regressed(target, plain))
        for name in held:
            one = found[name]
            assert isinstance(one, Estimate)
            held[name] += one.low is not None and one.high is not None and one.low <= truths[name] <= one.high
    # 100 trials at 95 %: a standard error of 2.2 %, three of them below.
    assert {name: count / 100 for name, count in held.items() if count / 100 < 0.95 - 0.066} == {}


def test_delongs_influence_adds_up_to_the_known_variance() -> None:
    """Hanley and McNeil's exact variance of the area for scores without any skill: (n + m + 1) / (12 n m)."""
    random = np.random.default_rng(0)
    positive = np.arange(4_000) % 4 == 0
    score = random.normal(size=4_000)
    error = influence(positive, score)
    assert error.mean() == pytest.approx(0, abs=1e-12)
    assert error.var() / 4_000 == pytest.approx(4_001 / (12 * 1_000 * 3_000), rel=0.05)
    tied = np.round(score)
    area = roc_auc_score(positive, tied)
    own = influence(positive, tied)
    assert own[positive].sum() * 1_000 / 4_000 == pytest.approx(0, abs=1e-9)
    assert 0.4 < area < 0.6


def test_what_is_not_defined_on_these_rows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Classified((0, 1), np.zeros(30, int), np.zeros(30, int), margin=np.zeros(30))
    for many in (3_000, 10):
        monkeypatch.setattr(intervals, "MANY", many)
        found = estimates(one)
        assert isinstance(found["roc_auc"], NotComputable)
        assert number(found["accuracy"]) == 1
        constant = estimates(Regressed(np.ones(30), np.ones(30)))
        assert number(constant["mae"]) == 0
    assert isinstance(join(logged(1), of_requests([])), Joined)
