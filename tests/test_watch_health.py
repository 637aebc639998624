"""One page on a service: what was planted in its log is found and named, and nothing hides anything else."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from birds import HOURS, NOW, QUIET, World, classifier, in_kilograms, labels_of, number, published, told, windows
from models import frame
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from nbdeploy import watching
from nbdeploy.capture.counts import Bins
from nbdeploy.errors import NotFound, WrongUse
from nbdeploy.keep.event import Event
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.predictions import Predictions
from nbdeploy.run.services import ServiceState
from nbdeploy.runtime.counters import Counts
from nbdeploy.runtime.policy import bucket
from nbdeploy.watch.axis import floored
from nbdeploy.watch.baseline import Baseline
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.health import LogState
from nbdeploy.watch.incumbent import Incumbent, incumbent
from nbdeploy.watch.lanes import lanes
from nbdeploy.watch.quality import Quality
from nbdeploy.watch.sections import sections

if TYPE_CHECKING:
    from pathlib import Path

    from traffic import Past

    from nbdeploy.watch.health import Health


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return published(tmp_path_factory.mktemp("world"))


@pytest.fixture
def past(world: World) -> Past:
    return world.past("birds")


def test_a_log_that_takes_a_while_to_read_says_so_once(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows(past, 2)
    monkeypatch.setattr(watching, "MUCH", 0)
    for wanted in ([r"watch", r"\d+ MB for the first time; later looks are quick"], ["watch"]):
        seen: list[str] = []
        watching.monitor(world.settings, world.workspace.registry, "birds", seen.append)
        told_first = [one for one in seen if not one.startswith("comparing")]
        assert [bool(re.fullmatch(*pair)) for pair in zip(wanted, told_first, strict=True)] == [True] * len(wanted)


# what is planted is found

PLANTED: dict[str, tuple[Any, str, str]] = {
    "mean": (lambda f: f.assign(age=f["age"] + 9), "age", "training sd higher"),
    "units": (in_kilograms, "mass", "values look divided by 1,000"),
    "new category": (
        lambda f: f.assign(island=f["island"].where(np.arange(len(f)) % 4 > 0, "Anvers")),
        "island",
        "25 % are values that training never had",
    ),
    "missing": (lambda f: f.assign(bill=f["bill"].where(np.arange(len(f)) % 3 > 0)), "bill", "are missing"),
    "constant": (lambda f: f.assign(age=7), "age", "every value is 7"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_shift_is_found_named_and_dated_and_nothing_else_is(kind: str, world: World, past: Past) -> None:
    change, column, words = PLANTED[kind]
    windows(past, 8, change)
    health = world.monitor()
    assert health.version is not None
    drifted = {track.column for track in health.version.drifted}
    assert column in drifted
    assert drifted <= {column, "prediction"}  # the answers follow their columns
    track = health.version.track(column)
    assert words in track.what
    assert track.since == floored(NOW, timedelta(hours=HOURS)) - timedelta(hours=HOURS)
    first = next(one for one in health.findings if column in one.text)
    assert (first.tone, bool(first.next)) == ("bad", True)
    assert words in first.text
    assert health.readings[-1].value("drifted_columns") == len(drifted)
    assert number(health.readings[-1], f"drift@{column}") > 1
    assert number(health.readings[-4], f"drift@{column}") < 1


def test_swapped_columns_are_called_that(world: World, past: Past) -> None:
    windows(past, 6, lambda rows: rows.rename(columns={"bill": "mass", "mass": "bill"})[list(rows.columns)])
    health = world.monitor()
    assert "bill and mass look swapped: each has the values that the other had in training" in told(health)
    assert told(health).count("mass") == 1  # told once, not as two columns that drifted as well


def test_one_window_far_beyond_is_enough(world: World, past: Past) -> None:
    began = floored(NOW, timedelta(hours=HOURS))
    past.ask(frame(200, 1).assign(mass=lambda f: f["mass"] / 1_000), began, NOW)
    assert "values look divided by 1,000" in told(world.monitor())


def test_a_forest_that_knows_its_rows_by_heart_is_not_wrong(world: World) -> None:
    """One label in three is luck: to the rows it learnt the forest answers it, to others hardly ever."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(600, 2)), columns=["a", "b"])
    luck = np.where(random.random(600) < 0.3, "late", "in time")
    past = world.publish("forest", RandomForestClassifier(20, random_state=0).fit(rows, luck), rows, luck)
    for place in range(4):
        began = floored(NOW, timedelta(hours=HOURS)) - place * timedelta(hours=HOURS)
        given = pd.DataFrame(random.normal(size=(300, 2)), columns=["a", "b"])
        past.ask(given, began, began + timedelta(hours=1))
    health = world.monitor("forest")
    assert health.version is not None
    assert health.version.track("prediction").now.doubt
    assert not health.version.drifted
    assert [one.tone for one in health.findings if "The answers" in one.text] == ["neutral"]
    assert "knows its training rows by heart" in " ".join(health.text.split())


def test_traffic_like_training_stays_within_the_budget(world: World, past: Past) -> None:
    """Four weeks in all; of 112 windows one may begin an alarm, three more are three standard deviations."""
    began = 0
    for seed in range(4):
        past = world.past("birds")
        windows(past, 28, seed=1_000 * (seed + 1), rows=60, batch=20)
        health = world.monitor()
        assert health.version is not None
        assert len(health.version.drifts) == 28
        before: set[str] = set()
        for drift in health.version.drifts:
            now = {column.name for column in drift.drifted}
            began += bool(now - before)
            before = now
    assert began <= 4


def test_what_is_wrong_with_the_traffic_is_told_worst_first(world: World, past: Past) -> None:
    windows(past, 6, milliseconds=4.0)
    late = floored(NOW, timedelta(hours=HOURS))
    past.refuse(9, late, status=500, code="failed")
    past.refuse(20, late, code="invalid_rows", columns=["mass"])
    past.refuse(10, late, code="invalid_rows", columns=["mass", "island"])
    past.ask(frame(400, 7), late, NOW, milliseconds=90.0)
    health = world.monitor()
    found = [one.text for one in health.findings]
    assert "9 of 359 requests failed (5xx, 2.5 %)" in found
    assert (
        "30 of 359 requests were refused (4xx, 8.4 %): 30 invalid_rows; for their columns mass 30, island 10" in found
    )
    assert health.version is not None
    assert isinstance(health.version.quality, Quality)
    assert {one.name: one.refused for one in health.version.quality.columns if one.refused} == {
        "mass": 30,
        "island": 10,
    }
    assert "Refused requests by the columns that did not fit: mass 30, island 10." in health.text.replace("\n  ", " ")
    assert any(text.startswith("Answers take longer: p95 is 1") for text in found)
    tones = [one.tone for one in health.findings]
    assert tones == sorted(tones, key=["bad", "warning", "neutral"].index)
    assert health.verdict.startswith("1 thing is wrong, 2 more")


def test_rows_that_could_not_be_logged_are_told(world: World, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(past, 1)
    (past.folder / "metrics").mkdir()
    counters: Counter[tuple[str, ...]] = Counter({("unlogged_rows", "1.0.0", "1"): 7, ("starts", "1.0.0", "1"): 1})
    monkeypatch.setattr(watching, "total", lambda _folder: Counts(counters, Counter()))
    assert "warning: 7 answered rows could not be written to the log" in told(world.monitor())


@pytest.mark.parametrize(
    ("state", "tone", "words"),
    [
        ("dead", "bad", "The service is dead: by us"),
        ("failed", "bad", "The service is failed: by us"),
        ("degraded", "warning", "The service is degraded: by us"),
        ("stopped", "neutral", "The service is stopped"),
    ],
)
def test_how_the_service_is_stands_among_what_is_wrong(
    state: Any, tone: str, words: str, world: World, past: Past
) -> None:
    found = replace(world.monitor(), service=ServiceState("birds", state, failure="by us"))
    first = next(one for one in found.findings if "The service" in one.text)
    assert (first.tone, first.text.startswith(words)) == (tone, True)
    assert "birds" in first.next


def test_what_has_closed_does_not_change_any_more(world: World, past: Past) -> None:
    windows(past, 6, PLANTED["mean"][0], methods=("predict_proba",))
    before = world.monitor(now=NOW)
    began = floored(NOW, timedelta(hours=HOURS)) + timedelta(hours=HOURS)
    past.ask(frame(200, 1), began, began + timedelta(hours=1))
    after = world.monitor(now=began + timedelta(hours=1))
    known = {reading.began: reading for reading in after.readings}
    closed = [reading for reading in before.readings if reading.closed(NOW) and reading.began in known]
    assert len(closed) >= 26
    for reading in closed:
        assert known[reading.began].to_dict() == reading.to_dict()


# the live version


@pytest.fixture
def twice(tmp_path: Path) -> tuple[World, Past, Past]:
    """1.0.0, and 2.0.0 that went live an hour ago."""
    made, rows = World(tmp_path), frame(500)
    first = made.publish("birds", classifier(), rows, labels_of(rows))
    less = rows[["mass", "age"]]
    second = made.publish("birds", LogisticRegression().fit(less, labels_of(rows)), less, labels_of(rows))
    second.ids = 10_000
    return made, first, second


def test_several_versions_have_their_own_requests_on_the_page(twice: tuple[World, Past, Past]) -> None:
    world, first, second = twice
    first.ask(frame(200, 1), NOW - timedelta(hours=9), NOW - timedelta(hours=5), milliseconds=4.0)
    second.ask(frame(100, 2)[["mass", "age"]], NOW - timedelta(hours=4), NOW, milliseconds=40.0)
    second.refuse(5, NOW - timedelta(hours=1))
    health = world.monitor()
    [found] = [section for section in sections(health) if section.title == "Requests by version and worker"]
    assert [(row[0], row[1], row[4]) for row in found.rows] == [
        ("version 1.0.0", "40", "0.00 %"),
        (f"version {second.version.version}", "25", "20.00 %"),
    ]
    assert max(map(len, health.text.splitlines())) <= 80


def live(health: Health, version: Past, back: Past | None, requests: pd.DataFrame) -> Health:
    """As if the version had gone live an hour ago."""
    detail: dict[str, Any] = {"time": (NOW - timedelta(hours=1)).isoformat(), "user": "us", "name": "birds"}
    event = Event(seq=9, version=version.version.version, kind="live", **detail)
    return replace(health, incumbent=incumbent([event], back.version.version if back else None, requests))


def test_a_version_that_refuses_everybody_is_what_is_wrong(twice: tuple[World, Past, Past]) -> None:
    world, first, second = twice
    windows(first, 2)
    second.refuse(25, NOW - timedelta(minutes=30), code="invalid_keys")
    look = world.look()
    new = second.version.version
    health = live(look.health(QUIET), second, first, look.requests)
    finding = next(one for one in health.findings if "went live" in one.text)
    assert finding.tone == "bad"
    assert finding.text.startswith(f"Since {new} went live 25 of 25 requests are refused (422): invalid_keys")
    assert finding.next.startswith("nbdeploy rollback birds brings 1.0.0 back")
    assert "ask the callers" not in " ".join(one.next for one in health.findings)
    alone = live(health, second, None, look.requests)
    assert "rollback" not in " ".join(one.next for one in alone.findings)
    drift = next(lane for lane in lanes(health) if lane.title == "drift, worst column")
    assert drift.words.startswith(f"no rows of {new} yet; the bars are of 1.0.0")


@pytest.mark.parametrize(("requests", "refused", "before", "wrong"), [
    (100, 100, None, True), (100, 95, 0.9, True), (2, 2, None, False), (100, 40, 0.0, True), (100, 40, 0.3, False),
    (100, 40, None, False), (10, 5, 0.0, False), (0, 0, None, False),
])  # fmt: skip
def test_a_share_of_refusals_is_wrong_when_it_is_all_or_has_jumped(
    requests: int, refused: int, before: float | None, wrong: bool
) -> None:
    assert Incumbent("2.0.0", NOW, "1.0.0", requests, refused, "invalid_rows", before).refuses is wrong


def test_what_is_found_of_a_version_that_is_not_live_is_history(world: World, past: Past) -> None:
    began = floored(NOW, timedelta(hours=HOURS)) - timedelta(hours=HOURS)
    rows = frame(300, 5).assign(mass=lambda f: f["mass"] / 1_000)
    labelled(past, world, past.ask(rows, began, began + timedelta(hours=HOURS)), np.repeat(["light", "heavy"], 150))
    health = world.monitor()

    def found(version: str, back: str | None) -> Health:
        return replace(health, incumbent=Incumbent(version, NOW, back))

    history = [one for one in found("2.0.0", "1.0.0").findings if "1.0.0" in one.text]
    assert len(history) >= 2  # the metric and the column
    assert {(one.tone, one.next) for one in history} == {("neutral", "")}
    assert all(one.text.endswith("(1.0.0 is not live any more)") for one in history)
    worse = next(one for one in found("1.0.0", "0.9.0").findings if one.text.startswith("Accuracy"))
    assert worse.next.endswith("or bring 0.9.0 back: nbdeploy rollback birds")
    first = found("1.0.0", None).findings
    assert "rollback" not in " ".join(one.next for one in first)


# labels and probabilities


def labelled(past: Past, world: World, ids: list[str], truth: Any, batch: int = 5) -> None:
    lines = [("request_id", ids[place // batch], place % batch, str(label)) for place, label in enumerate(truth)]
    Feedback(world.settings.services / "birds" / "feedback").add(
        pd.DataFrame(lines, columns=["on", "id", "row", "label"])
    )


def test_labels_that_came_back_give_live_metrics_on_the_same_axis(world: World, past: Past) -> None:
    began = floored(NOW, timedelta(hours=HOURS)) - timedelta(hours=HOURS)
    rows = frame(300, 5)
    ids = past.ask(rows, began, began + timedelta(hours=HOURS), methods=("predict_proba",))
    windows(past, 1)
    truth = labels_of(rows)
    labelled(past, world, ids, np.where(np.arange(300) < 90, "light", truth))  # what was heavy is light now
    health = world.monitor()
    reading = health.readings[-2]
    answers = past.model.predict(rows)
    wanted = float(np.mean(answers == np.where(np.arange(300) < 90, "light", truth)))
    assert reading.value("accuracy") == pytest.approx(wanted)
    assert number(reading, "accuracy.low") < wanted < number(reading, "accuracy.high")
    assert reading.value("coverage") == 1.0
    assert health.readings[-1].value("coverage") == 0.0
    assert "Accuracy of 1.0.0 is" in told(health)
    assert "in training, on rows it knew" in told(health)
    titles = [lane.title for lane in lanes(health)]
    assert titles[-2:] == ["accuracy", "rows with a label"]


def test_what_comes_while_the_log_is_read_is_left_for_the_next_look(world: World, past: Past) -> None:
    """Requests, rows and labels are read one after the other: of all of them as it was at one moment."""
    ids = windows(past, 2)
    look = world.look()
    assert len(look.requests)
    rows = frame(50, 9)
    ids += past.ask(rows, NOW, NOW + timedelta(seconds=1))
    labelled(past, world, ids, ["heavy"] * 450)
    health = look.health(QUIET)
    assert not isinstance(health.live, NotComputable)
    assert not isinstance(health.traffic, NotComputable)
    assert (health.log.answered, health.log.kept) == (400, 400)
    assert (health.traffic.whole.rows, health.live.rows, health.live.labelled) == (400, 400, 400)
    assert sum(number(reading, "rows") for reading in health.readings) == 400
    assert "the future" not in told(health)
    after = world.monitor(now=NOW + timedelta(minutes=1))
    assert not isinstance(after.live, NotComputable)
    assert (after.log.answered, after.live.rows, after.live.labelled) == (450, 450, 450)


def test_labels_that_say_nothing_are_findings(world: World, past: Past) -> None:
    began = floored(NOW, timedelta(hours=HOURS)) - timedelta(hours=HOURS)
    ids = past.ask(frame(20, 5), began, began + timedelta(hours=HOURS))
    labelled(past, world, [*ids, "nobody"], ["light"] * 21)
    health = world.monitor()
    assert "1 label is of no request in the log of the last" in told(health)
    (found,) = [one for one in health.findings if "of no request" in one.text]
    assert found.next.startswith(
        "the log has no older requests, as where they got too old for it; else give the request_id"
    )
    assert "--last" not in found.next
    assert "Intervals are of 95 %.\n" in health.text  # nothing is expected without probabilities
    assert not isinstance(health.live, NotComputable)
    bare = tuple(replace(one, metrics={"accuracy": NotComputable("so")}) for one in health.live.versions)
    assert "20 rows have a label, and no live metric can be computed: so" in told(
        replace(health, live=replace(health.live, versions=bare))
    )


def test_one_of_a_kind_is_told_as_one(world: World, past: Past) -> None:
    (name,) = past.ask(frame(1, 5), NOW - timedelta(minutes=30), NOW - timedelta(minutes=29))
    labelled(past, world, [name], ["light"])
    health = world.monitor(last="1h")
    assert "1 of 1 row (100 %) has a label." in health.text
    assert "1, 1 row answered" in health.text
    assert "1 rows" not in health.text + health.html()
    assert not isinstance(health.live, NotComputable)
    bare = tuple(replace(one, metrics={}) for one in health.live.versions)
    for log, said in (
        (LogState(damaged=1), "1 record of the log is damaged and 0 torn; it is passed over"),
        (LogState(damaged=2, torn=1), "2 records of the log are damaged and 1 torn; they are passed over"),
        (LogState(unlogged=1), "1 answered row could not be written"),
        (LogState(future=1), "1 answered row has a time in the future"),
        (LogState(kept=0, answered=1), "keeps 0 of 1 answered row;"),
    ):
        assert said in told(replace(health, log=log))
    assert "1 row has a label, and no live metric" in told(replace(health, live=replace(health.live, versions=bare)))


def test_a_longer_span_is_named_where_the_log_has_requests_before_this_one(world: World, past: Past) -> None:
    week = timedelta(days=9)
    (old,) = past.ask(frame(5, 5), NOW - week, NOW - week + timedelta(minutes=1))
    ids = past.ask(frame(20, 5), NOW - timedelta(hours=1), NOW)
    labelled(past, world, [*ids, old], ["light"] * 21)
    health = world.monitor(last="7d")
    (found,) = [one for one in health.findings if "1 label is of no request" in one.text]
    assert found.next.startswith("of older requests that the log still has they count with a longer --last; else give")


def test_without_labels_probabilities_say_how_good_the_answers_probably_are(world: World, past: Past) -> None:
    windows(past, 4, methods=("predict_proba",))
    health = world.monitor()
    expected = health.expected["1.0.0"]
    assert not isinstance(expected, NotComputable)
    value = health.readings[-1].value("expected_accuracy")
    assert not isinstance(value, NotComputable)
    assert 0.9 < value <= 1
    assert "Live metrics: not computable (no label came yet)." in health.text
    assert "nbdeploy feedback birds labels.csv" in health.text
    assert "believe labels" not in health.text
    past = world.past("birds")
    windows(past, 4, PLANTED["units"][0], methods=("predict_proba",))
    labelled(past, world, ["r1"], ["light"])
    few = world.monitor()
    assert "so that these assumptions are in doubt: believe labels." in few.text
    assert re.search(r"\b1 of [\d,]+ rows \(0\.\d\d %\) has a label", few.text)
    assert re.search(r"\b1 of [\d,]+\s+\(0\.\d\d %\)$", few.text, re.MULTILINE)
    windows(world.past("birds"), 2)
    assert "no request asked for probabilities" in str(world.monitor().expected["1.0.0"])


# nothing hides anything else


def test_a_service_nobody_asked_has_a_page(world: World, past: Past) -> None:
    health = world.monitor(every=None)
    assert "The log has no request of the last 7 days" in told(health)
    assert health.verdict == "nothing to judge by yet"
    assert "not computable" not in told(health)
    assert health.html()


def test_a_name_that_never_was_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="brids"):
        world.workspace.monitor("brids")
    with pytest.raises(WrongUse, match="no span"):
        world.workspace.monitor("birds", last="a week")
    with pytest.raises(WrongUse, match="at most 1,000"):
        world.workspace.monitor("birds", last="7d", every="1s")


def test_a_damaged_log_is_told_and_the_rest_is_read(world: World, past: Past) -> None:
    windows(past, 2)
    path = past.write([], NOW)
    text = path.read_bytes()
    first, _, rest = text.partition(b"\n")
    path.write_bytes(b"00000000" + first[8:] + b"\n" + rest + first[:50])
    health = world.monitor()
    assert "1 record of the log is damaged and 1 torn" in told(health)
    assert health.version is not None
    assert health.version.rows == 395


def test_a_bundle_that_is_gone_leaves_traffic_and_its_reason(world: World, past: Past, tmp_path: Path) -> None:
    windows(past, 2)
    moved = tmp_path / "src"
    shutil.move(past.version.src, moved)
    try:
        health = world.monitor()
    finally:
        shutil.move(moved, past.version.src)
    assert "the bundle of version 1.0.0 is gone" in told(health)
    assert health.readings[-1].value("requests") == 40
    assert "gone" in health.text
    assert health.html()


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("nbdeploy.watching.traffic", "traffic"),
        ("nbdeploy.watching.Feedback.frame", "labels"),
        ("nbdeploy.watching.compared", "drift of 1.0.0"),
        ("nbdeploy.watching.outlook", "expected"),
        ("nbdeploy.watching.read", "log"),
        ("nbdeploy.watching.promise.of", "version 1.0.0"),
        ("nbdeploy.keep.registry.Registry.events", "events"),
        ("nbdeploy.deployment.Deployment.state", "service"),
    ],
)
def test_each_part_fails_alone(
    where: str, part: str, world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_options: Any) -> Any:
        raise ZeroDivisionError("by us")

    windows(past, 2)
    monkeypatch.setattr(where, broken)
    health = world.monitor()
    assert part in health.failed
    assert set(health.failed) <= {part, "version 1.0.0"}  # its events also tell what a version promised
    assert f"{part}: not computable (ZeroDivisionError: by us)" in told(health)
    assert "by us" in html.unescape(health.html())
    assert len([lane for lane in lanes(health) if not lane.empty]) >= 2
    json.dumps(health.to_dict(), allow_nan=False)


def test_a_column_that_cannot_be_counted_hides_no_other(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows(past, 4, in_kilograms)
    counted = Bins.counted

    def broken(self: Bins, values: Any) -> Bins:
        if self.scale is not None and self.scale < 10 and len(values):  # bill and age
            raise ZeroDivisionError("by us")
        return counted(self, values)

    monkeypatch.setattr(Bins, "counted", broken)
    health = world.monitor()
    assert health.version is not None
    assert "could not be counted: ZeroDivisionError" in str(health.version.track("bill").now.verdict)
    assert "mass: values look divided by 1,000" in told(health)
    assert "could not be counted" in health.text


def test_what_the_log_does_not_keep_is_said(world: World, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(past, 2)
    monkeypatch.setattr(Predictions, "policies", lambda _self: {past.schema: {"bill": "drop", "island": "hash"}})
    health = world.monitor()
    assert health.version is not None
    assert str(health.version.track("bill").now.verdict) == "not computable (dropped by the log's policy)"
    assert str(health.version.track("island").now.verdict) == "not computable (hashed by the log's policy)"
    assert isinstance(health.version.track("mass").now.verdict, str)


def test_rows_that_the_log_does_not_tell_apart_are_no_duplicates(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few different rows are left of many: that is no repetition, and as much evidence as before."""
    windows(past, 4, PLANTED["new category"][0])
    kept = world.monitor().version
    gone = ["age", "bill", "mass"]
    monkeypatch.setattr(Predictions, "policies", lambda _self: {past.schema: dict.fromkeys(gone, "drop")})
    real = Predictions.batches

    def without(self: Predictions, *args: Any, **how: Any) -> Any:
        return (batch.assign(**{f"input.{name}": None for name in gone}) for batch in real(self, *args, **how))

    monkeypatch.setattr(Predictions, "batches", without)
    health = world.monitor()
    found = health.version
    assert kept is not None
    assert found is not None
    assert found.track("island").now.verdict == kept.track("island").now.verdict == "drifted"
    assert found.track("island").now.tests[0].limit.high < 1.5 * kept.track("island").now.tests[0].limit.high
    reason = "rows cannot be told apart: bill is dropped by the log's policy, and 2 more"
    assert all(reading.value("duplicates") == NotComputable(reason) for reading in health.readings)
    assert "came before in the same window" not in health.text


def test_rows_that_came_before_in_their_window_are_counted_over_all_windows(world: World, past: Past) -> None:
    rows = frame(100, 1)
    windows(past, 2, lambda _: pd.concat([rows, rows.head(50)]))
    health = world.monitor()
    assert health.version is not None
    assert health.version.to_dict()["quality"]["duplicates"] == 100
    assert [number(reading, "duplicates") for reading in health.readings[-2:]] == [pytest.approx(1 / 3)] * 2


def test_a_bucketed_column_drifts_as_the_kept_one(world: World, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(past, 4, PLANTED["mean"][0])
    kept = world.monitor().version
    edges = world.look()._baseline("1.0.0")
    assert isinstance(edges, Baseline)
    own = edges.profile.columns["age"]
    assert isinstance(own, Bins)
    world.past("birds")
    change = bucket(own.edges)
    monkeypatch.setattr(Predictions, "policies", lambda _self: {past.schema: {"age": "bucket"}})
    windows(past, 4, lambda rows: PLANTED["mean"][0](rows).assign(age=lambda f: f["age"].map(change)))
    rounded = world.monitor().version
    assert kept is not None
    assert rounded is not None
    assert rounded.track("age").now.tests == kept.track("age").now.tests
    assert rounded.track("age").now.verdict == "drifted"
