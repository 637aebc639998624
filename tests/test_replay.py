"""Logged requests asked again: what changed, for whom, how fast, and what could not be asked."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from models import classifier

from nbdeploy import cli
from nbdeploy.errors import Refused, WrongUse
from nbdeploy.front.verbs import exit_code
from nbdeploy.judge import replay
from nbdeploy.judge.conditions import Condition
from nbdeploy.judge.logged import Selection
from nbdeploy.judge.metrics import bare
from nbdeploy.judge.replayed import METRICS, Replay
from nbdeploy.judge.tally import KEPT, LARGEST, Tally, moved
from nbdeploy.run.predictions import Predictions, Record
from nbdeploy.run.transport import Answer
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head, line
from nbdeploy.settings import Settings
from nbdeploy.spans import span
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbdeploy.run.client import Client
    from nbdeploy.run.service import Service
    from nbdeploy.runtime.manifest import Manifest

NOW = datetime.now(UTC)


class Answering:
    """A client of a service that answers each row by `rule`, or refuses it with the text `rule` gives back as an error."""

    def __init__(self, rule: Callable[[Any], Any], most: int = 100) -> None:
        self.rule, self.most, self.asked = rule, most, 0

    url = "http://127.0.0.1:1"

    def send(self, verb: str, path: str, body: bytes) -> Answer:
        assert (verb, path) == ("POST", "/predict")
        self.asked += 1
        found = [self.rule(row) for row in json.loads(body)["rows"]]
        bad = [{"row": place, "column": "x", "problem": str(item)} for place, item in enumerate(found) if _is_bad(item)]
        if bad:
            error = {"code": "invalid_rows", "message": "no", "details": bad[: self.most]}
            return Answer(422, {}, json.dumps({"error": error}).encode())
        return Answer(200, {}, json.dumps({"predictions": found}).encode())


def _is_bad(item: Any) -> bool:
    return isinstance(item, str) and item.startswith("is ")


def log_of(folder: Path, *records: dict[str, Any]) -> Predictions:
    folder.mkdir(parents=True, exist_ok=True)
    text = b"".join(line(json.dumps(_record(number, item)).encode()) for number, item in enumerate(records))
    (folder / "0000000000000001-1.log").write_bytes(text)
    return Predictions(folder)


def _record(number: int, given: dict[str, Any]) -> dict[str, Any]:
    head = {"time": NOW.timestamp(), "request_id": f"r{number}", "version": "1.0.0", "schema": "s", "method": "predict"}
    return head | {"status": 200, "milliseconds": 1.0} | given


def replayed(
    log: Predictions,
    candidate: Callable[[Any], Any],
    live: Callable[[Any], Any] = lambda row: row["x"],
    limit: int = 100,
) -> Replay:
    selection = Selection.of("penguins", log, None, limit)
    manifest = cast("Manifest", SimpleNamespace(methods=(), model={"task": "classification"}))
    clients = [cast("Client", Answering(rule)) for rule in (live, candidate)]
    seen = replay.compare(selection, clients[0], clients[1], manifest, lambda _text: None)
    return Replay("penguins", "1.0.0", "1.1.0", selection, seen)


def rows(*values: Any, **more: Any) -> dict[str, Any]:
    return {"rows": [{"x": value, **more} for value in values], "predictions": list(values)}


def test_labels_that_change_are_flips_counted_by_segment(tmp_path: Path) -> None:
    log = log_of(tmp_path, rows("a", "a", "b", island="Dream"), rows("a", "b", island="Biscoe"), rows("b", island=None))
    found = replayed(log, lambda row: "b" if row["island"] == "Dream" else row["x"])
    assert found.metrics["flips"] == 2
    assert found.metrics["flip_rate"] == pytest.approx(2 / 6)
    assert found.metrics["flip_rate@island=Dream"] == pytest.approx(2 / 3)
    assert found.metrics["flip_rate@island=Biscoe"] == 0
    assert found.metrics["flip_rate@island=None"] == 0
    assert found.seen.tally.pairs == {("a", "b"): 2}
    assert list(found.frame()["input.island"]) == ["Dream", "Dream"]
    assert "Dream" not in json.dumps(found.to_dict()["flipped"])
    assert "island=Dream" in str(found)


@pytest.mark.parametrize(
    ("condition", "passed"),
    [
        ("flip_rate<=0.5", True),
        ("flip_rate@island=Dream<=0.5", False),
        ("flip_rate@island<=0.5", False),
        ("new_errors<=0", True),
        ("latency_p95_ms<=live*1000", True),
        ("flip_rat<=1", False),
    ],
)
def test_conditions_are_judged_by_the_metrics_of_a_replay(tmp_path: Path, condition: str, *, passed: bool) -> None:
    log = log_of(tmp_path, rows("a", "a", "b", island="Dream"), rows("a", "b", island="Biscoe"))
    found = replayed(log, lambda row: "b" if row["island"] == "Dream" else row["x"])
    found = found.judged([Condition.parse(condition)])
    assert found.passed == passed
    assert exit_code(found) == (not passed)
    assert ("✓ passed" if passed else "✗ refused") in str(found)


def test_an_unknown_metric_is_told_with_those_of_a_replay(tmp_path: Path) -> None:
    found = replayed(log_of(tmp_path, rows("a", "b", island="Dream")), lambda row: row["x"])
    (check,) = found.judged([Condition.parse("accuracy>=0.9")]).checks
    assert check.detail.startswith("this replay has no accuracy; it has requests, coverage, rows, flips, flip_rate")
    (check,) = found.judged([Condition.parse("flip_rate@x=c<=1")]).checks
    assert check.detail.endswith("it has flip_rate@x=a, flip_rate@x=b")
    assert "notebook" not in check.detail


def test_a_metric_no_replay_has_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r'never in a replay\. Did you mean "flip_rate"'):
        Workspace(Settings(tmp_path, tmp_path)).replay("penguins", "1.0.1", gate=["flips<=3", "flipp_rate@x<=0.1"])


def test_numbers_that_change_are_moves_the_largest_kept(tmp_path: Path) -> None:
    log = log_of(tmp_path, *(rows(float(value)) for value in range(30)))
    selection = Selection.of("n", log, None, 100)
    manifest = cast("Manifest", SimpleNamespace(methods=(), model={"task": "regression"}))
    live, candidate = Answering(lambda row: row["x"]), Answering(lambda row: row["x"] * 2)
    seen = replay.compare(selection, cast("Client", live), cast("Client", candidate), manifest, lambda _text: None)
    found = Replay("n", "1.0.0", "1.1.0", selection, seen)
    assert found.metrics["largest_move"] == 29
    assert found.metrics["mean_move"] == pytest.approx(14.5)
    assert found.metrics["change_rate"] == pytest.approx(29 / 30)
    assert "flip_rate" not in found.metrics
    assert [row.then for row in found.seen.tally.largest] == [29.0 - place for place in range(LARGEST)]


def test_rows_refused_now_and_rows_refused_no_more(tmp_path: Path) -> None:
    log = log_of(tmp_path, rows("a", "b", "c"), rows("c"), rows("d"))

    def live(row: Any) -> Any:
        return "is gone" if row["x"] in {"b", "d"} else row["x"]

    def candidate(row: Any) -> Any:
        return "is new" if row["x"] in {"c", "d"} else row["x"]

    found = replayed(log, candidate, live)
    assert found.to_dict()["new_errors"] == {"x is new": 2}
    assert found.to_dict()["gone_errors"] == {"x is gone": 1}
    assert found.coverage == {"replayed": 2, "refused by both versions: x is gone": 1}
    assert found.metrics["rows"] == 2, "a and b are compared all the same"


def test_a_refusal_that_names_a_hundred_rows_is_not_the_last_word() -> None:
    client = Answering(lambda row: "is bad" if row["x"] % 2 else row["x"])
    asked = replay.ask(cast("Client", client), "predict", [{"x": value} for value in range(300)])
    assert len(asked.problems) == 150
    assert asked.predictions == {value: value for value in range(0, 300, 2)}
    assert asked.seconds is None


def test_a_replay_ends_even_where_each_refusal_names_one_row() -> None:
    client = Answering(lambda _row: "is bad", most=1)
    asked = replay.ask(cast("Client", client), "predict", [{"x": value} for value in range(300)])
    assert len(asked.problems) == 300
    assert client.asked == replay.ROUNDS


def test_a_log_is_thinned_evenly_and_by_time(tmp_path: Path) -> None:
    old = (NOW - timedelta(hours=2)).timestamp()
    log = log_of(tmp_path, *(rows(value) | ({"time": old} if value < 500 else {}) for value in range(1_000)))
    taken = [record.rows[0]["x"] for record in Selection.of("n", log, None, 100)]
    assert len(taken) == 100
    assert {b - a for a, b in itertools.pairwise(taken)} == {10}
    assert len(list(Selection.of("n", log, span("1h"), 10_000))) == 500
    with pytest.raises(Refused, match="no requests of the last 0s: there is nothing to replay; give a longer --last"):
        Selection.of("n", log, timedelta(0), 10)


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no requests: there is nothing to replay yet"):
        Selection.of("n", Predictions(tmp_path), None, 10)
    log = log_of(tmp_path, {"status": 422, "code": "invalid_rows"})
    with pytest.raises(Refused, match="holds 1 refused requests and none that was answered"):
        Selection.of("n", log, None, 10)


def test_an_empty_span_is_told_as_it_was_typed(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no requests of the last 3m: there"):
        Selection.of("n", Predictions(tmp_path), timedelta(minutes=3), 10)


def test_it_says_who_answered_and_that_a_version_was_compared_with_itself(tmp_path: Path) -> None:
    own, other = rows(1, 2) | {"version": "1.1.0"}, rows(3) | {"version": "2.0.0"}
    itself = replayed(log_of(tmp_path / "a", own), lambda row: row["x"]).card()
    assert itself.title == "penguins: requests answered by 1.1.0, replayed against 1.1.0"
    assert (itself.status, itself.tone) == ("compared with its own answers", "warning")
    mixed = replayed(log_of(tmp_path / "b", own, other, other), lambda row: row["x"]).card()
    assert mixed.title == "penguins: requests answered by 2.0.0 (2), 1.1.0 (1), replayed against 1.1.0"
    assert mixed.status == "answers the same"
    assert any(note.startswith("1 of these requests were answered by 1.1.0 itself") for _, note in mixed.notes)


@pytest.mark.parametrize("text", ["", "1", "h", "1y", "-1h", "1.5h", "99999999999d", "999999999w"])
def test_a_span_that_is_none_is_wrong_use(text: str) -> None:
    with pytest.raises(WrongUse, match=r"no span of time|longer than a century"):
        span(text)


def test_memory_is_bounded_by_what_is_kept() -> None:
    tally = Tally(labels=True, tolerances={})
    for number in range(3_000):
        row = {"x": number, "few": number % 3, "real": float(number % 3)}
        tally.add(Record(NOW, f"r{number}", "1", "s", "predict", 200, 1.0, [row], ["a"]), 0, "b")
    assert len(tally.flipped) == KEPT
    assert {column for column, _ in tally.segments} == {"few"}
    assert tally.total.flips == 3_000


@pytest.mark.parametrize(
    ("then", "now", "distance"),
    [
        (1.0, 3.5, 2.5),
        ({"a": 0.9, "b": 0.1}, {"a": 0.6, "b": 0.4}, 0.3),
        ({"a": 0.9}, {"a": 0.9, "c": 0.2}, 0.2),
        ([[1.0, 2.0]], [[1.0, 5.0]], 3.0),
        ([1.0], [1.0, 2.0], None),
        (None, 1.0, None),
        ("a", "b", None),
        (True, False, None),
    ],
)
def test_the_distance_of_two_answers(then: Any, now: Any, distance: float | None) -> None:
    assert moved(then, now) == (None if distance is None else pytest.approx(distance))


def test_the_label_of_probabilities_is_the_most_probable(tmp_path: Path) -> None:
    log = log_of(tmp_path, {"rows": [{"x": 1}], "predictions": [{"a": 0.6, "b": 0.4}]})
    found = replayed(log, lambda _row: {"a": 0.3, "b": 0.7}, lambda _row: {"a": 0.6, "b": 0.4})
    assert found.metrics["flips"] == 1
    assert found.metrics["largest_move"] == pytest.approx(0.3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Service]]:
    """A service that was asked things, and a version 1.0.1 that is not live: fitted without much of an idea."""
    folder = tmp_path_factory.mktemp("replay")
    workspace = Workspace(Settings(folder / "home", folder / "bentoml"))
    fitted, worse = classifier(), classifier(0.0003)
    service = workspace.deploy(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)
    service.predict(fitted.X)
    for start in range(0, 40, 4):
        service.predict_proba(fitted.X[start : start + 4])
    service.client.send("POST", "/predict", b'{"rows": [{}]}')
    workspace.publish(workspace.bundle(worse.model, name="penguins", sample=worse.X, target=worse.y))
    yield workspace, service
    workspace.stop("penguins")


@pytest.mark.slow
def test_a_version_is_asked_what_the_live_one_was(world: tuple[Workspace, Service]) -> None:
    workspace, service = world
    logged = len(list(service.predictions()))
    fitted, worse = classifier(), classifier(0.0003)
    found = workspace.replay("penguins", "1.0.1", last="1h", gate=["new_errors<=0", "p95_ratio<=1000"])
    assert found.passed
    expected = int(np.sum(fitted.model.predict(fitted.X) != worse.model.predict(fitted.X)))
    expected += int(np.sum(fitted.model.predict(fitted.X[:40]) != worse.model.predict(fitted.X[:40])))
    assert expected > 0
    assert found.metrics["flips"] == expected
    assert found.metrics["rows"] == 160
    assert {bare(name) for name in found.metrics} <= METRICS
    assert found.coverage["replayed"] == 11
    assert found.coverage["refused then (invalid_rows): rows are not kept"] == 1
    assert found.metrics["p95_ratio"] > 0
    assert len(found.frame()) == expected
    assert len(list(service.predictions())) == logged, "a replay is no traffic"
    assert [state.name for state in workspace.services()] == ["penguins"]
    assert [path.name for path in workspace.settings.services.iterdir()] == ["penguins"]


@pytest.mark.slow
def test_the_command_ends_with_the_verdict(
    world: tuple[Workspace, Service], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = world
    words = ["replay", "penguins", "--against", "1.0.1", "--limit", "4", "--gate"]
    assert cli.main([*words, "flip_rate@island=Dream<=0.0001", "--json"], lambda: workspace) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "refused"
    assert [check["passed"] for check in told["checks"]] == [False]
    assert told["coverage"]["left out by --limit"] == 7


def test_rows_that_the_log_does_not_have_as_they_were_asked_are_named_and_left_out(tmp_path: Path) -> None:
    """A row without a column would be refused, one with a bucket in place of a number answered otherwise."""
    log_of(tmp_path, rows("a"), {"rows": [], "predictions": [], "count": 4})
    start = head("abc", Policy({"y": "drop", "z": "bucket", "order": "hash"}), {"x": "text"}, ["order"])
    (tmp_path / "0000000000000002-1.log").write_bytes(start + (tmp_path / "0000000000000001-1.log").read_bytes())
    found = replayed(Predictions(tmp_path), lambda row: row["x"])
    assert found.coverage == {
        "replayed": 1,
        "not as they were asked (y: drop, z: bucket)": 1,
        "not sampled: rows are not kept": 2,
    }
    (tmp_path / "0000000000000001-1.log").unlink()
    with pytest.raises(Refused, match=r"none the rows as they were asked: .*\(y: drop, z: bucket\).* say keep"):
        Selection.of("n", Predictions(tmp_path), None, 10)
    (tmp_path / "0000000000000002-1.log").write_bytes(b"")
    with pytest.raises(Refused, match="larger sample"):
        Selection.of("n", log_of(tmp_path, {"count": 4}), None, 10)


def test_hashed_keys_are_no_hindrance(tmp_path: Path) -> None:
    log_of(tmp_path, rows("a"))
    start = head("abc", Policy({"order": "hash"}), {"x": "text"}, ["order"])
    path = tmp_path / "0000000000000001-1.log"
    path.write_bytes(start + path.read_bytes())
    assert replayed(Predictions(tmp_path), lambda row: row["x"]).coverage == {"replayed": 1}
