"""One page on a service: what was planted in its log is found and named, and nothing hides anything else."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from models import frame
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from traffic import Past

from nbdeploy import cli, watching
from nbdeploy.capture.counts import Bins, counts_of
from nbdeploy.deployment import Deployment
from nbdeploy.errors import CallRefused, NotFound, WrongUse
from nbdeploy.keep.event import Event
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.predictions import Predictions
from nbdeploy.run.services import ServiceState
from nbdeploy.runtime.counters import Counts
from nbdeploy.runtime.policy import bucket
from nbdeploy.settings import Settings
from nbdeploy.spans import span
from nbdeploy.watch import null, power
from nbdeploy.watch.axis import axis, floored, said
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.histogram import histogram
from nbdeploy.watch.incumbent import Incumbent, incumbent
from nbdeploy.watch.lanes import lanes
from nbdeploy.watch.sections import sections
from nbdeploy.watch.served import Baseline
from nbdeploy.watch.sheet import bars
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.watch.divergence import Divergence
    from nbdeploy.watch.health import Health
    from nbdeploy.watch.reading import Reading

HOURS = 6  # of a window
NOW = floored(datetime.now(UTC), timedelta(hours=HOURS)) + timedelta(hours=5)  # nearly at the end of the last one
QUIET: Any = lambda _: None  # noqa: E731


def labels_of(rows: pd.DataFrame) -> Any:
    return np.where(rows["mass"] > 4200, "heavy", "light")


def classifier() -> Any:
    numbers, texts = ["bill", "mass", "age"], ["island", "sex"]
    steps = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), texts),
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
    )
    rows = frame(2_000)
    return make_pipeline(steps, LogisticRegression()).fit(rows, labels_of(rows))


class World:
    """A published service whose log each test writes anew; it never ran."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home / "home", bentoml_home=home / "bentoml")
        self.workspace = Workspace(self.settings)
        self.models: dict[str, Any] = {}

    def publish(self, name: str, model: Any, sample: Any, target: Any = None) -> Past:
        bundle = self.workspace.bundle(model, name=name, sample=sample, target=target)
        self.models[name] = model
        return Past(self.settings.services, self.workspace.publish(bundle), model)

    def past(self, name: str) -> Past:
        shutil.rmtree(self.settings.services / name, ignore_errors=True)
        return Past(self.settings.services, self.workspace.registry.versions(name)[0], self.models[name])

    def monitor(
        self, name: str = "birds", last: str = "7d", every: str | None = f"{HOURS}h", now: datetime = NOW
    ) -> Health:
        return self.look(name, last, every, now).health(QUIET)

    def look(
        self, name: str = "birds", last: str = "7d", every: str | None = f"{HOURS}h", now: datetime = NOW
    ) -> watching.Look:
        look = watching.Look(
            Deployment(self.settings, self.workspace.registry, name),
            span(last),
            None if every is None else span(every),
            now,
        )
        look.must_exist()
        return look

    def drift(self, against: str = "training", last: str = "1d") -> Divergence:
        return self.look(last=last).divergence(against, QUIET)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("world"))
    rows = frame(2_000)
    made.publish("birds", classifier(), rows, labels_of(rows))
    return made


@pytest.fixture
def past(world: World) -> Past:
    return world.past("birds")


Change = "Callable[[pd.DataFrame], pd.DataFrame]"


def windows(past: Past, count: int, change: Any = None, *, rows: int = 200, seed: int = 100, **how: Any) -> list[str]:
    """Traffic of the last `count` windows; only the last two are changed."""
    asked = []
    for place in range(count):
        began = floored(NOW, timedelta(hours=HOURS)) - (count - 1 - place) * timedelta(hours=HOURS)
        given = frame(rows, seed + place)
        if change is not None and place >= count - 2:
            given = change(given)
        asked += past.ask(given, began, min(began + timedelta(hours=HOURS), NOW), **how)
    return asked


def told(health: Health) -> str:
    return "\n".join(f"{one.tone}: {one.text}" for one in health.findings)


def number(reading: Reading, name: str) -> float:
    value = reading.value(name)
    assert not isinstance(value, NotComputable), value
    return value


# what is planted is found

PLANTED: dict[str, tuple[Any, str, str]] = {
    "mean": (lambda f: f.assign(age=f["age"] + 9), "age", "training sd higher"),
    "units": (lambda f: f.assign(mass=f["mass"] / 1_000), "mass", "values look divided by 1,000"),
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
    past.refuse(30, late, code="invalid_rows")
    past.ask(frame(400, 7), late, NOW, milliseconds=90.0)
    health = world.monitor()
    found = [one.text for one in health.findings]
    assert "9 of 359 requests failed (5xx, 2.5 %)" in found
    assert "30 of 359 requests were refused (4xx, 8.4 %): 30 invalid_rows" in found
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


def test_labels_that_say_nothing_are_findings(world: World, past: Past) -> None:
    began = floored(NOW, timedelta(hours=HOURS)) - timedelta(hours=HOURS)
    ids = past.ask(frame(20, 5), began, began + timedelta(hours=HOURS))
    labelled(past, world, [*ids, "nobody"], ["light"] * 21)
    health = world.monitor()
    assert "1 label is of no request in the log of the last" in told(health)
    assert not isinstance(health.live, NotComputable)
    bare = tuple(replace(one, metrics={"accuracy": NotComputable("so")}) for one in health.live.versions)
    assert "20 rows have a label, and no live metric can be computed: so" in told(
        replace(health, live=replace(health.live, versions=bare))
    )


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
    windows(world.past("birds"), 2)
    assert "no request asked for probabilities" in str(world.monitor().expected["1.0.0"])


# nothing hides anything else


def test_a_service_nobody_asked_has_a_page(world: World, past: Past) -> None:
    health = world.monitor(every=None)
    assert "No request came in the last 7 days" in told(health)
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
    assert "1 records of the log are damaged and 1 torn" in told(health)
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
    windows(past, 4, PLANTED["units"][0])
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
    monkeypatch.setattr(Predictions, "policy", lambda _self, _schema: {"bill": "drop", "island": "hash"})
    health = world.monitor()
    assert health.version is not None
    assert str(health.version.track("bill").now.verdict) == "not computable (dropped by the log's policy)"
    assert str(health.version.track("island").now.verdict) == "not computable (hashed by the log's policy)"
    assert isinstance(health.version.track("mass").now.verdict, str)


def test_a_bucketed_column_drifts_as_the_kept_one(world: World, past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(past, 4, PLANTED["mean"][0])
    kept = world.monitor().version
    edges = world.look()._baseline("1.0.0")
    assert isinstance(edges, Baseline)
    own = edges.profile.columns["age"]
    assert isinstance(own, Bins)
    world.past("birds")
    change = bucket(own.edges)
    monkeypatch.setattr(Predictions, "policy", lambda _self, _schema: {"age": "bucket"})
    windows(past, 4, lambda rows: PLANTED["mean"][0](rows).assign(age=lambda f: f["age"].map(change)))
    rounded = world.monitor().version
    assert kept is not None
    assert rounded is not None
    assert rounded.track("age").now.tests == kept.track("age").now.tests
    assert rounded.track("age").now.verdict == "drifted"


# all kinds of services


def test_arrays_texts_numbers_and_clusters_are_watched_too(world: World) -> None:
    random = np.random.default_rng(0)
    array = random.normal(size=(400, 3))
    texts = ["word " * (place % 9 + 1) for place in range(200)]
    cases: dict[str, tuple[Any, Any, Any]] = {
        "arrays": (LinearRegression().fit(array, array.sum(axis=1)), array, array.sum(axis=1)),
        "clusters": (KMeans(3, n_init=1, random_state=0).fit(array), array, None),
        "texts": (
            make_pipeline(TfidfVectorizer(), LinearRegression()).fit(texts, [len(text) for text in texts]),
            texts,
            None,
        ),
    }
    for name, (model, sample, target) in cases.items():
        past = world.publish(name, model, sample, target)
        for hours in (11, 5):
            rows = np.array(sample, dtype=object)[:200] if name == "texts" else array[:200] * [1, 1, 100]
            past.ask(Rows(rows), NOW - timedelta(hours=hours), NOW - timedelta(hours=hours - 4))
        health = world.monitor(name)
        assert not health.failed, name
        assert health.version is not None
        drifted = {track.column for track in health.version.drifted}
        assert ("2" in drifted) == (name != "texts"), name
        assert "0" not in drifted
        if name == "arrays":
            assert "multiplied by 100" in health.version.track("2").what
            assert "no label came yet" in str(health.live)
        if name == "clusters":
            assert "a clustering task" in str(health.live)
        assert health.html()


class Rows:
    """An array that is cut as a frame is."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.iloc = self

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> Any:
        return self.values[part] if self.values.dtype != object else Listed(self.values[part].tolist())


class Listed(list[Any]):
    def tolist(self) -> list[Any]:
        return list(self)


def test_a_version_with_other_columns_is_compared_with_its_own_training(world: World) -> None:
    rows = frame(500)
    first = world.publish(
        "grown", LogisticRegression().fit(rows[["mass", "age"]], labels_of(rows)), rows[["mass", "age"]]
    )
    began = NOW - timedelta(hours=20)
    first.ask(frame(200, 1)[["mass", "age"]], began, began + timedelta(hours=8))
    more = rows.assign(wings=2.0 + rows["age"])[["mass", "age", "wings"]]
    second = world.publish("grown", LogisticRegression().fit(more, labels_of(rows)), more)
    second.ids = 10_000
    second.ask(
        frame(200, 2).assign(wings=lambda f: 2.0 + f["age"])[["mass", "age", "wings"]], began + timedelta(hours=9), NOW
    )
    health = world.monitor("grown")
    assert [one.version for one in health.versions] == ["1.0.0", second.version.version]
    assert all(not one.drifted and one.reason is None for one in health.versions)
    assert next(reading.version for reading in health.readings if reading.value("requests")) == "1.0.0"
    assert "which answered before" in health.text
    assert not health.failed


@pytest.mark.slow
def test_a_service_in_this_process_is_watched_as_any_other(world: World) -> None:
    """What it logged itself, not what a test wrote."""
    rows = frame(2_000)
    service = world.workspace.deploy(
        world.models["birds"], name="live", sample=rows, target=labels_of(rows), launcher="memory"
    )
    try:
        for place in range(20):
            service.predict_proba(frame(20, place).assign(mass=lambda f: f["mass"] / 1_000))
        with pytest.raises(CallRefused):
            service.predict(frame(2).assign(mass="heavy"))
        health = world.workspace.monitor("live")
        assert health.service.state == "ready"
        assert not health.failed
        assert "mass: values look divided by 1,000" in told(health)
        assert [tenure.version for tenure in health.tenures] == ["1.0.0"]
        assert sum(number(reading, "requests") for reading in health.readings) == 21
        assert health.axis.every == timedelta(minutes=1)
    finally:
        service.stop()
    assert world.workspace.monitor("live").service.state == "stopped"


# the verbs


def test_the_command_shows_writes_and_gives_the_page(
    world: World, past: Past, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows(past, 3, PLANTED["units"][0])

    def said_by(*words: str) -> tuple[int, str]:
        code = cli.main(words, lambda: world.workspace)
        return code, capsys.readouterr().out

    code, text = said_by("monitor", "birds", "--every", "6h")
    assert (code, text.splitlines()[0]) == (0, "birds  • stopped")
    assert "mass: values look divided by 1,000" in text
    code, text = said_by("monitor", "birds", "--every", "6h", "--json")
    told = json.loads(text)
    assert (code, told["name"], len(told["readings"])) == (0, "birds", 29)
    assert told["versions"][0]["drifted"]
    page = tmp_path / "page.html"
    code, text = said_by("monitor", "birds", "--html", str(page))
    assert "The page is in" in text
    assert "mass" in page.read_text(encoding="utf-8")
    assert said_by("drift", "birds", "--every", "6h")[0] == 0
    assert said_by("drift", "birds", "--every", "6h", "--fail")[0] == 1
    code, text = said_by("drift", "birds", "--every", "6h", "--json", "--against", "1.0.0")
    assert json.loads(text)["against"] == "the training of 1.0.0"
    assert said_by("monitor", "nobody")[0] == 1
    assert said_by("monitor", "birds", "--last", "soon")[0] == 2


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"last": "0d"}, "no time"),
        ({"every": "1s"}, "at most 1,000"),
        ({"against": "trainin"}, 'Did you mean "training"'),
    ],
)
def test_wrong_use_is_refused_before_the_log_is_read(how: dict[str, Any], words: str, world: World, past: Past) -> None:
    said: list[str] = []
    with pytest.raises(WrongUse, match=words):
        watching.drift(world.settings, world.workspace.registry, "birds", said.append, **how)
    assert not said


def test_words_of_a_column_name_what_they_count(world: World, past: Past) -> None:
    windows(past, 2, PLANTED["units"][0])
    text = normal(world.monitor().text)
    assert re.search(r"(out of range|jensen-shannon|wasserstein) [\d.e-]+, threshold", text)
    assert "unseen" not in text.partition("Columns of")[2].partition("Rows of")[0]
    windows(world.past("birds"), 1)
    quality = next(lane for lane in lanes(world.monitor()) if lane.title.startswith("odd rows"))
    assert not quality.words.startswith("at most 0 %")


# drift alone


def test_drift_takes_another_reference(world: World, past: Past) -> None:
    windows(past, 16, PLANTED["units"][0])
    assert [track.column for track in world.drift(last="11h").compared.drifted][:1] == ["mass"]
    before = world.drift("3d", last="11h")
    assert "mass" in {track.column for track in before.compared.drifted}
    assert "beside the 3 days before" in before.text
    version = world.drift("1.0.0", last="11h")
    assert version.compared.called == "the training of 1.0.0"
    assert {track.column for track in version.compared.drifted} >= {"mass"}
    with pytest.raises(NotFound):
        world.drift("9.9.9")
    assert "no rows with this schema" in str(world.drift("2d", last="6d").compared.reason)
    assert (before.exit_code, replace(before, fail=True).exit_code) == (0, 1)
    json.dumps(before.to_dict(), allow_nan=False)
    assert "mass" in before._repr_html_()


def test_drift_of_too_few_rows_is_not_computable_and_fails_closed(world: World, past: Past) -> None:
    past.ask(frame(7, 1), NOW - timedelta(hours=2), NOW)
    found = world.drift()
    count = len(found.compared.tracks)
    assert found.status == f"not computable ({count} of {count} columns)"
    assert f"not computable ({count} of {count} columns)" in found.text.splitlines()[0]
    assert (found.tone, found.exit_code, replace(found, fail=True).exit_code) == ("neutral", 0, 1)
    assert found.to_dict()["status"].startswith("not computable")


def test_drift_counts_the_columns_that_are_not_computable(world: World, past: Past) -> None:
    windows(past, 3)
    found = world.drift()
    assert found.blank == 0
    one = replace(found.compared.tracks[0], now=replace(found.compared.tracks[0].now, verdict=NotComputable("by us")))
    tracks = (one, *found.compared.tracks[1:])
    counted = replace(found, compared=replace(found.compared, tracks=tracks), fail=True)
    assert counted.status.endswith(f", 1 of {len(tracks)} not computable")
    none = replace(found, compared=replace(found.compared, tracks=(), reason=NotComputable("no rows")), fail=True)
    assert (none.status, none.exit_code) == ("not computable (no rows)", 1)


# the page


def normal(text: str) -> str:
    return " ".join(text.split())


def test_text_and_html_say_the_same_things(world: World, past: Past) -> None:
    windows(past, 8, PLANTED["units"][0], methods=("predict_proba",))
    past.refuse(30, NOW - timedelta(hours=1))
    health = world.monitor()
    page = normal(html.unescape(re.sub(r"<[^>]*>", "", health.html())))
    text = normal(health.text)
    said_things = [one.text for one in health.findings] + [one.next for one in health.findings]
    said_things += [lane.words for lane in lanes(health)] + [lane.title for lane in lanes(health)]
    said_things += [note for section in sections(health) for note in section.notes]
    said_things += [str(cell) for section in sections(health) for row in section.rows for cell in row]
    assert len(said_things) > 30
    for thing in said_things:
        assert normal(thing) in page, thing
        assert normal(thing) in text, thing
    assert f"as of {NOW:%Y-%m-%d %H:%M:%S} UTC" in page
    assert max(map(len, health.text.splitlines())) <= 80
    coloured = health.as_text(colour=True)
    assert "\x1b[31m✗\x1b[0m" in coloured
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == health.text


@pytest.mark.slow
def test_the_page_is_small_also_with_two_hundred_columns_and_ninety_days(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(null, "DRAWS", (200, 200))
    monkeypatch.setattr(power, "DRAWS", 20)
    random = np.random.default_rng(0)
    names = [f"a_rather_long_name_of_a_column_{place}" for place in range(200)]
    rows = pd.DataFrame(random.normal(size=(500, 200)), columns=names)
    past = world.publish("wide", LogisticRegression().fit(rows, rows[names[0]] > 0), rows)
    for day in range(90):
        given = pd.DataFrame(random.normal(size=(60, 200)), columns=names)
        given[names[:150]] *= 1_000 if day > 80 else 1
        began = floored(NOW, timedelta(days=1)) - timedelta(days=89 - day)
        past.ask(given, began, min(began + timedelta(days=1), NOW), batch=60)
    health = world.monitor("wide", "90d", "1d")
    assert health.version is not None
    assert len(health.version.drifted) >= 150
    assert "and 188 more columns" in health.text
    assert "more columns drifted" in told(health)
    saved = {"text/html": health._repr_html_(), "text/plain": health.text}
    assert len(json.dumps(saved)) < 50_000
    assert len(health.html()) < 50_000


def test_names_and_values_of_columns_cannot_steer_the_page(world: World) -> None:
    names = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a\u202eb\n&amp;c", "]]></desc><svg onload=z>"]
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(300, 4)), columns=names)
    past = world.publish("hostile", LinearRegression().fit(rows, rows[names[0]]), rows)
    for hours in (11, 5):
        past.ask(rows * 1_000, NOW - timedelta(hours=hours), NOW - timedelta(hours=hours - 4))
    health = world.monitor("hostile")
    assert health.version is not None
    assert len(health.version.drifted) == 5
    for page in (health.html(), health._repr_html_()):
        assert "&lt;script&gt;" in page
        assert not re.search(r"<(script|img|svg onload)", page)
        assert "\u202e" not in page
    assert "\u202e" not in health.text
    assert not re.search(
        r"https?:|url\(|src=|@import", html.unescape(health.html()).replace("src=x", "")
    )  # all is here


def test_every_drawing_says_what_it_shows(world: World, past: Past) -> None:
    windows(past, 4)
    page = world.monitor().html()
    drawings = re.findall(r"<svg.*?</svg>", page)
    assert len(drawings) >= 10
    for drawing in drawings:
        assert re.match(r'<svg role="img"[^>]*><title>[^<]+</title><desc>[^<]+</desc>', drawing)
    assert all('scope="' in head for head in re.findall(r"<th[ >][^>]*>?", page))
    assert "prefers-color-scheme: dark" in page
    assert 'data-jp-theme-light="false"' in page


def test_the_page_can_be_written(world: World, past: Past, tmp_path: Path) -> None:
    windows(past, 2)
    path = world.monitor().write(tmp_path / "page.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


# the time axis


def requests(times: list[datetime], rows: int) -> pd.DataFrame:
    return pd.DataFrame({"time": pd.to_datetime(times, utc=True), "rows": rows})


def test_windows_lie_on_clock_time_and_the_last_one_is_open() -> None:
    now = datetime(2026, 11, 21, 14, 3, 12, tzinfo=UTC)
    found = axis(now, timedelta(days=7), timedelta(hours=6))
    assert (found.began, found.ended) == (
        datetime(2026, 11, 14, 12, tzinfo=UTC),
        datetime(2026, 11, 21, 18, tzinfo=UTC),
    )
    later = axis(now + timedelta(hours=1), timedelta(days=7), timedelta(hours=6))
    assert list(later) == list(found)
    assert found.places(pd.Series(pd.to_datetime([found.began, now, found.ended]))).tolist() == [0, 28, 29]
    assert found.said() == "7 days in windows of 6 hours"


def test_windows_are_chosen_by_span_and_traffic() -> None:
    now = datetime(2026, 11, 21, 14, 3, 12, tzinfo=UTC)
    steady = [now - timedelta(minutes=10 * place) for place in range(1_000)]
    assert axis(now, timedelta(days=90)).every == timedelta(days=7) or axis(now, timedelta(days=90)).count <= 91
    assert axis(now, timedelta(days=7), requests=requests(steady, 100)).every == timedelta(hours=6)
    assert axis(now, timedelta(days=7), requests=requests(steady, 1)).every == timedelta(days=1)
    young = axis(now, timedelta(days=7), requests=requests([now - timedelta(seconds=50)], 100))
    assert (young.every, young.count) == (timedelta(minutes=1), 2)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (60, "1 minute"),
        (90, "90 seconds"),
        (3_600, "1 hour"),
        (86_400, "1 day"),
        (7 * 86_400, "7 days"),
        (30, "30 seconds"),
    ],
)
def test_spans_are_said_in_words(span: int, words: str) -> None:
    assert said(timedelta(seconds=span)) == words


def test_small_bars_show_what_is_there_and_what_is_not() -> None:
    assert bars([0.0, 0.5, 1.0, None, 2.0], 0.0, 1.0) == "▁▅█·█"


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([1, 2, 3, 4, 5] * 100, "▁▁████████████████▁▁"),  # stars
        ([0, 0, 0, 1] * 100, "▁▆████████▃▃▃▃▃▃▃▃▂▁"),  # no and yes
        ([7] * 100, "▁▁▁▁▁▁▁▁▁▁█▁▁▁▁▁▁▁▁▁"),
    ],
)
def test_numbers_of_few_values_are_drawn_as_often_as_each_is_there(values: list[float], shape: str) -> None:
    before = counts_of("number", values, None)
    drawn = histogram(before, before.counted(values))
    assert drawn is not None
    assert bars(drawn.before, 0.0, max(drawn.before)) == shape
    assert drawn.now == drawn.before
    assert sum(drawn.now) == pytest.approx(1.0)
