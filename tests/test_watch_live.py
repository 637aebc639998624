"""Live metrics of a log that is read in passing: scikit-learn's own numbers, whatever way the labels came."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livemetrics import START, live, say, write
from sklearn import metrics

from nbdeploy.errors import WrongUse
from nbdeploy.judge.estimate import Estimate
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.predictions import Predictions
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.live import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)


@contextmanager
def homes() -> Iterator[tuple[Path, Feedback]]:
    """A log's folder and its labels; hypothesis has no fixture for each example."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "predictions").mkdir()
        yield folder / "predictions", Feedback(folder / "feedback")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "predictions"
    made.mkdir()
    return made


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / "feedback")


def number(found: Any) -> float:
    assert isinstance(found, Estimate), found
    return found.value


# any stream


LABELS: dict[str, Sequence[Any]] = {
    "texts": ["no", "yes", "maybe"],
    "numbers": [0, 1, 2],
    "floats": [0.0, 1.0, 2.5],
    "booleans": [False, True],
    "figures": ["1", "01", "2"],
}


def by_a_file(label: Any) -> Any:
    """As some other program writes it: 1.0 for 1, 1 for True."""
    if isinstance(label, bool):
        return str(int(label))
    return label if isinstance(label, str) else f"{label:.1f}"


WAYS = (lambda label: label, str, lambda label: float(label) if type(label) is int else label, by_a_file)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Any], list[list[Any]], list[tuple[int, int | None, Any]]]:
    """Labels of the model, answers of each request, and what comes in: request (beyond the last: unknown), row, label."""
    labels = list(LABELS[draw(st.sampled_from(sorted(LABELS)))])
    answers = draw(st.lists(st.lists(st.sampled_from(labels), min_size=1, max_size=3), min_size=1, max_size=6))
    said = st.one_of(st.sampled_from(labels), st.sampled_from(labels), st.none())
    event = st.tuples(st.integers(0, len(answers)), st.sampled_from([0, 0, 1, 2, 3, None]), said)
    fewest = draw(st.sampled_from([0, 5, 25]))
    return labels, answers, draw(st.lists(event, min_size=fewest, max_size=60))


def settled(
    answers: list[list[Any]], events: list[tuple[int, int | None, Any]]
) -> tuple[dict[tuple[int, int], Any], dict[str, int]]:
    """What the stream comes to, one event after the other."""
    state: dict[tuple[int, int], Any] = {}
    counts = dict.fromkeys(("given", "empty", "repeated", "corrections", "unplaced"), 0)
    for request, row, label in events:
        counts["given"] += 1
        if label is None:
            counts["empty"] += 1
        elif row is None and request < len(answers) and len(answers[request]) > 1:
            counts["unplaced"] += 1
        else:
            place = (request, row or 0)
            there = place[0] < len(answers) and place[1] < len(answers[place[0]])
            if place in state and state[place] == label:
                counts["repeated"] += 1
            elif place in state and there:
                counts["corrections"] += 1
            state[place] = label
    return state, counts


@settings(max_examples=60)
@given(streams(), st.integers(0, len(WAYS) - 1), st.integers(1, 5))
@pytest.mark.thorough
def test_any_stream_of_labels_gives_scikit_learns_numbers(stream: Any, way: int, size: int) -> None:
    labels, answers, events = stream
    with homes() as (folder, feedback), pytest.MonkeyPatch.context() as patch:
        write(folder, *({"request_id": f"r{place}", "predictions": given} for place, given in enumerate(answers)))
        for part in np.array_split(np.arange(len(events)), max(1, len(events) // 20)):  # they come in parts
            chosen = [events[place] for place in part]
            if chosen:
                say(
                    feedback,
                    {
                        "request_id": [f"r{request}" for request, _, _ in chosen],
                        "row": pd.Series([row for _, row, _ in chosen], dtype=object),
                        "label": pd.Series(
                            [None if label is None else WAYS[way](label) for _, _, label in chosen], dtype=object
                        ),
                    },
                )
        whole = Predictions.batches
        patch.setattr(Predictions, "batches", lambda self, columns=None: whole(self, columns, size))
        found = live(Predictions(folder), feedback, "classification", classes=labels)
    state, counts = settled(answers, events)
    matched = {
        place: label for place, label in state.items() if place[0] < len(answers) and place[1] < len(answers[place[0]])
    }
    assert found.rows == sum(map(len, answers))
    assert found.labelled == len(matched)
    assert {name: found.labels[name] for name in counts} == counts
    assert found.labels["surplus"] == sum(
        request < len(answers) and row >= len(answers[request]) for request, row in state
    )
    assert found.labels["unknown"] == sum(request >= len(answers) for request, _ in state)
    (version,) = found.versions
    if not matched:
        assert version.metrics["accuracy"] == NotComputable("no row has a label")
        return
    coded = {label: place for place, label in enumerate(labels)}
    truth = [coded[label] for label in matched.values()]
    said = [coded[answers[request][row]] for request, row in matched]
    assert number(version.metrics["accuracy"]) == metrics.accuracy_score(truth, said)
    for how in ("macro", "weighted"):
        exact = metrics.precision_recall_fscore_support(truth, said, average=how, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), exact[:3], strict=True):
            assert number(version.metrics[f"{name}_{how}"]) == pytest.approx(value)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6),
            st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-(10**6), 10**6)),
        ),
        min_size=5,
        max_size=30,
    )
)
def test_a_regressions_numbers_are_scikit_learns(pairs: list[tuple[float, Any]]) -> None:
    with homes() as (folder, feedback):
        write(folder, *({"request_id": f"r{place}", "predictions": [said]} for place, (said, _) in enumerate(pairs)))
        say(
            feedback,
            {
                "request_id": [f"r{place}" for place in range(len(pairs))],
                "label": pd.Series([label for _, label in pairs], dtype=object),
            },
        )
        (version,) = live(Predictions(folder), feedback, "regression").versions
    known = [(said, label) for said, label in pairs if label is not None]
    assert version.labelled == len(known)
    if len(known) < 2:
        return
    said, truth = (np.array(part, dtype=float) for part in zip(*known, strict=True))
    assert number(version.metrics["mae"]) == pytest.approx(metrics.mean_absolute_error(truth, said))
    assert number(version.metrics["mse"]) == pytest.approx(metrics.mean_squared_error(truth, said))
    assert number(version.metrics["r2"]) == pytest.approx(metrics.r2_score(truth, said))


@pytest.mark.parametrize("classes", [["no", "yes"], [0, 1], [0.0, 1.0], [False, True]])
@pytest.mark.parametrize("known", [True, False], ids=["classes", "answers alone"])
def test_labels_are_those_of_probabilities_whatever_their_type(
    folder: Path, feedback: Feedback, classes: list[Any], known: bool
) -> None:
    """Answers of predict_proba have their labels as texts, answers of predict have them as they are."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 60)
    sure = np.clip(random.normal(np.where(truth, 0.65, 0.35), 0.2), 0.01, 0.99)
    shares = [{str(classes[0]): 1 - p, str(classes[1]): p} for p in sure]
    write(
        folder,
        *({"request_id": f"p{n}", "method": "predict_proba", "predictions": [one]} for n, one in enumerate(shares)),
    )
    write(folder, *({"request_id": f"s{n}", "predictions": [classes[int(p > 0.5)]]} for n, p in enumerate(sure)))
    ids = [f"{kind}{place}" for kind in "ps" for place in range(60)]
    say(feedback, {"request_id": ids, "label": [classes[place] for place in truth] * 2})
    (version,) = live(Predictions(folder), feedback, "classification", classes=classes if known else ()).versions
    assert number(version.metrics["accuracy"]) == metrics.accuracy_score(truth, sure > 0.5)
    assert number(version.metrics["roc_auc"]) == pytest.approx(metrics.roc_auc_score(truth, sure))
    assert number(version.metrics["log_loss"]) == pytest.approx(metrics.log_loss(truth, sure))
    assert number(version.metrics["brier"]) == pytest.approx(metrics.brier_score_loss(truth, sure))


# which rows


def test_rows_are_counted_by_version_and_window_also_without_labels(folder: Path, feedback: Feedback) -> None:
    for hour, version in ((0, "1.0.0"), (1, "1.0.0"), (1, "1.1.0"), (3, "1.1.0")):
        at = (START + hour * HOUR + timedelta(minutes=10)).timestamp()
        write(folder, {"request_id": f"{version}-{hour}", "time": at, "version": version, "predictions": ["no", "yes"]})
    say(feedback, {"request_id": ["1.0.0-0", "1.1.0-1", "1.1.0-1"], "row": [0, 0, 1], "label": ["no", "no", "no"]})
    found = live(Predictions(folder), feedback, "classification", every=HOUR)
    assert [(one.version, one.rows, one.labelled) for one in found.versions] == [("1.0.0", 4, 1), ("1.1.0", 4, 2)]
    assert [((one.began - START) // HOUR, one.version, one.rows, one.labelled) for one in found.windows] == [
        (0, "1.0.0", 2, 1), (1, "1.0.0", 2, 0), (1, "1.1.0", 2, 2), (3, "1.1.0", 2, 0),
    ]  # fmt: skip
    assert {one.ended - one.began for one in found.windows} == {HOUR}
    assert (found.rows, found.labelled, found.coverage) == (8, 3, 0.375)
    first, _, third, last = found.windows
    assert [first.coverage, third.coverage] == [0.5, 1.0]
    assert number(third.metrics["accuracy"]) == 0.5
    assert last.values()["accuracy"] == NotComputable("no row has a label")
    assert isinstance(first.values()["accuracy.low"], NotComputable), "an interval of one row"
    json.dumps(found.to_dict(), allow_nan=False)
    assert "1.1.0" in str(found)
    assert "2026-01-01 01:00" in found._repr_html_()


def test_a_view_of_the_log_has_its_own_numbers(folder: Path, feedback: Feedback) -> None:
    for hour in range(4):
        at = (START + hour * HOUR).timestamp()
        write(folder, {"request_id": f"r{hour}", "time": at, "predictions": ["yes" if hour else "no"]})
    say(feedback, {"request_id": [f"r{hour}" for hour in range(4)], "label": ["yes"] * 4})
    whole = live(Predictions(folder), feedback, "classification")
    late = live(Predictions(folder).within(START + HOUR), feedback, "classification")
    assert [number(found.versions[0].metrics["accuracy"]) for found in (whole, late)] == [0.75, 1.0]
    assert (late.rows, late.labels["unknown"]) == (3, 1)


def test_what_is_no_answer_to_hold_a_label_against_is_left_out(folder: Path, feedback: Feedback) -> None:
    write(
        folder,
        {"request_id": "a", "predictions": ["no"]},
        {"request_id": "b", "method": "decision_function", "predictions": [0.7]},
        {"request_id": "c", "method": "transform", "predictions": [[1.0, 2.0]]},
        {"request_id": "d", "status": 422, "code": "invalid_rows", "predictions": [], "rows": []},
        {"request_id": "e", "rows": [], "predictions": [], "count": 1},
    )
    say(feedback, {"request_id": list("abcde"), "label": ["no"] * 5})
    found = live(Predictions(folder), feedback, "classification")
    counts = [found.labels[name] for name in ("unknown", "unkept", "refused", "unjudged", "rowless")]
    assert (found.rows, found.labelled, counts) == (1, 1, [0, 1, 1, 2, 0])


def test_answers_the_log_did_not_keep_are_no_wrong_answers(folder: Path, feedback: Feedback) -> None:
    write(folder, {"request_id": "a", "predictions": [[0.1, 0.9]]})
    say(feedback, {"request_id": ["a"], "label": ["no"]})
    (version,) = live(Predictions(folder), feedback, "classification").versions
    assert version.metrics["accuracy"] == NotComputable("there are answers that are no single label")


def test_nothing_at_all_is_told_as_such(folder: Path, feedback: Feedback) -> None:
    found = live(Predictions(folder), feedback, "classification", every=HOUR)
    assert (found.rows, found.labelled, found.versions, found.windows, found.coverage) == (0, 0, (), (), 0)
    assert "no row has a label yet" in str(found)
    say(feedback, {"customer": ["k"], "label": ["no"]}, "customer")
    assert live(Predictions(folder), feedback, "classification").labels["unknown"] == 1
    write(folder, {"predictions": ["no"]})
    assert live(Predictions(folder), feedback, "classification").labels["unknown"] == 1, "a log that never had that key"
    with pytest.raises(WrongUse, match="task clustering"):
        live(Predictions(folder), feedback, "clustering")


def test_labels_by_large_numbers_are_found_beside_keys_with_a_point(folder: Path, feedback: Feedback) -> None:
    write(folder, {"predictions": ["a"], "keys": [{"order": 2**62 + 1}]})
    write(folder, {"predictions": ["a"], "keys": [{"order": 2.5}]})
    say(feedback, {"order": [str(2**62 + 1), "2.5"], "label": ["a", "a"]}, "order")
    found = live(Predictions(folder), feedback, "classification")
    assert (found.labelled, found.labels["unknown"]) == (2, 0)


# of a long log


def test_only_rows_that_may_have_a_label_are_held(folder: Path, feedback: Feedback) -> None:
    write(
        folder,
        *({"request_id": f"r{place}", "predictions": ["no"], "rows": [{"x": "long" * 100}]} for place in range(500)),
    )
    say(feedback, {"request_id": ["r7", "r400", "none"], "label": ["no"] * 3})
    log = Log(feedback.frame())
    assert log.columns is not None
    assert not [name for name in log.columns if name.startswith("input")]
    for batch in Predictions(folder).batches(log.columns, 50):
        log.add(batch)
    assert (log.rows, len(log.kept())) == (500, 2)
    assert log.joined.labelled["request_id"].tolist() == ["r7", "r400"]
