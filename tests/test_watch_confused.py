"""What could be taken for something else: columns named as parts of the log, classes of other versions, times to come."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from birds import HOURS, NOW, World
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from nbdeploy.capture import policy
from nbdeploy.deployment import Deployment
from nbdeploy.errors import WrongUse
from nbdeploy.run.feedback import Feedback
from nbdeploy.runtime.manifest import Column, Schema
from nbdeploy.runtime.policy import Policy
from nbdeploy.runtime.records import head
from nbdeploy.watch.axis import clock, floored
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.labels import of_frame

if TYPE_CHECKING:
    from traffic import Past

    from nbdeploy.watch.received import Received

pytestmark = pytest.mark.slow
LAST = floored(NOW, timedelta(hours=HOURS))


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def rows_of(count: int, seed: int, *names: str) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: random.normal(size=count) for name in names or ("x", "z")})


def published(world: World, sample: pd.DataFrame, target: Any) -> Past:
    return world.publish("birds", LogisticRegression().fit(sample, target), sample, target)


def test_columns_named_as_parts_of_the_log_are_columns(world: World) -> None:
    sample = rows_of(500, 1, "x", "prediction", "target")
    past = published(world, sample, (sample["x"] > 0).astype(int))
    for place in (3, 2, 1, 0):
        moved = 3 if place < 2 else 0
        began = LAST - place * timedelta(hours=HOURS)
        given = rows_of(200, 70 + place, "x", "prediction", "target").add([0, 0, moved])
        past.ask(given, began, min(began + timedelta(hours=HOURS), NOW))
    health = world.monitor()
    assert not health.failed
    assert health.version is not None
    assert {track.name: str(track.now.verdict) for track in health.version.tracks} == {
        "input.x": "stable",
        "input.prediction": "stable",
        "input.target": "drifted",
        "prediction": "stable",
    }


def labels_for(ids: list[str], labels: Any, batch: int = 5) -> pd.DataFrame:
    lines = [(ids[place // batch], place % batch, label) for place, label in enumerate(labels.tolist())]
    return pd.DataFrame(lines, columns=["request_id", "row", "label"])


def took(world: World, labels: pd.DataFrame) -> Received:
    return Deployment(world.settings, world.workspace.registry, "birds").feedback(labels)


def test_each_version_has_its_own_classes(world: World) -> None:
    sample, asked = rows_of(1_000, 1), rows_of(300, 2)
    truth = (asked["x"] > 0).astype(int)
    tables, models = [], []
    for number in (0, 1):
        past = published(world, sample, (sample["x"] + 0.5 * sample["z"] > 0).astype(int) + number)
        past.ids = 10_000 * number
        models.append(past.model)
        began = LAST - (1 - number) * timedelta(hours=HOURS)
        ids = past.ask(asked, began, began + timedelta(hours=4), methods=("predict_proba",))
        tables.append(labels_for(ids, truth + number))
    assert took(world, pd.concat(tables)).warnings == ()
    live = world.monitor().live
    assert not isinstance(live, NotComputable)
    assert live.labelled == 600
    for model, version in zip(models, live.versions, strict=True):
        shares = model.predict_proba(asked)[:, 1]
        assert str(version.metrics["roc_auc"]).startswith(f"{metrics.roc_auc_score(truth, shares):.3f}")
        assert version.values()["brier"] == pytest.approx(metrics.brier_score_loss(truth, shares))
    wrong = took(world, labels_for(["r1"], truth[:5] * 0 + 2)).warnings  # right for the second version alone
    assert "(2); it answers 0, 1." in wrong[0]


def test_labelled_rows_asked_another_method_are_like_the_rest(world: World) -> None:
    sample = rows_of(1_000, 1)
    past = published(world, sample, (sample["x"] > 0).astype(int))
    ids = past.ask(rows_of(300, 2), LAST, NOW)
    past.ask(rows_of(300, 3), LAST, NOW, methods=("predict_proba",))
    took(world, labels_for(ids, (rows_of(300, 2)["x"] > 0).astype(int)))
    live = world.monitor().live
    assert not isinstance(live, NotComputable)
    assert live.warnings == ()


def test_labels_are_not_joined_by_a_key_that_stands_for_several(world: World) -> None:
    schema = Schema("frame", (Column("x", "number", "float64"),), keys=("customer",))
    for word in ("bucket", "drop"):
        with pytest.raises(WrongUse, match=r'"customer" is a key.*keep or hash'):
            policy.columns({"columns": {"customer": word}}, schema)
    assert policy.columns({"columns": {"customer": "hash"}}, schema) == {"customer": "hash"}
    sample = rows_of(500, 1)
    past = published(world, sample, (sample["x"] > 0).astype(int))
    first = head(past.schema, Policy({"customer": "bucket"}), {}, ["customer"])
    past.write([first.rstrip(b"\n").partition(b" ")[2]], LAST)
    past.ask(rows_of(20, 2), LAST, NOW)
    with pytest.raises(WrongUse, match="several rows would share a label; join by request_id"):
        Deployment(world.settings, world.workspace.registry, "birds").feedback(
            pd.DataFrame({"customer": [100], "label": [1]}), on="customer"
        )
    Feedback(past.folder.parent / "feedback").add(of_frame(pd.DataFrame({"customer": [100], "label": [1]}), "customer"))
    health = world.monitor()
    assert "the log has customer rounded" in str(health.failed["labels"])
    assert "no label came yet" in str(health.live)


def test_rows_of_a_clock_that_was_ahead_are_left_out_and_told(world: World) -> None:
    sample = rows_of(500, 1)
    past = published(world, sample, (sample["x"] > 0).astype(int))
    ids = past.ask(rows_of(200, 5), LAST, NOW)
    later = past.ask(rows_of(100, 6), NOW + timedelta(days=1), NOW + timedelta(days=1, hours=1))
    took(world, pd.DataFrame([(name, 0, 1) for name in (*ids, *later)], columns=["request_id", "row", "label"]))
    health = world.monitor()
    told = [finding.text for finding in health.findings]
    assert "100 answered rows have a time in the future; nothing here speaks of them" in told
    assert not any("The log keeps" in text for text in told)
    assert not isinstance(health.live, NotComputable)
    assert (health.live.rows, health.live.labelled) == (200, 40)
    assert (health.log.answered, health.log.kept, health.log.future) == (200, 200, 100)


def test_rows_that_are_asked_again_are_no_further_evidence(world: World) -> None:
    sample = rows_of(1_000, 1, "x", "y", "z")
    past = published(world, sample, (sample["x"] > 0).astype(int))
    asked = rows_of(200, 2, "x", "y", "z")
    past.ask(asked, LAST - timedelta(hours=HOURS), LAST, methods=("predict", "predict_proba"))
    past.ask(asked.loc[np.repeat(np.arange(40), 5)], LAST, NOW)
    version = world.monitor().version
    assert version is not None
    assert [round(drift.window.repeats) for drift in version.drifts] == [2, 5]
    once = world.past("birds")
    once.ask(asked, LAST - timedelta(hours=HOURS), LAST)
    alone = world.monitor().version
    assert alone is not None
    assert alone.drifts[0].window.repeats == pytest.approx(1, abs=0.05)
    for two, one in zip(version.drifts[0].columns, alone.drifts[0].columns, strict=True):
        assert [test.limit.high for test in two.tests] == pytest.approx(
            [test.limit.high for test in one.tests], rel=0.1
        )


def test_drift_that_is_over_is_told_with_its_time(world: World) -> None:
    sample = rows_of(500, 1)
    past = published(world, sample, (sample["x"] > 0).astype(int))
    for place in range(7):
        began = LAST - (6 - place) * timedelta(hours=HOURS)
        moved = 4 if place in {2, 3} else 0
        past.ask(rows_of(200, 40 + place).add([0, moved]), began, min(began + timedelta(hours=HOURS), NOW))
    found = [(one.tone, one.text) for one in world.monitor().findings]
    begin, end = (clock(LAST - count * timedelta(hours=HOURS)) for count in (4, 2))
    assert [text for tone, text in found if tone == "neutral" and f"z had drifted from {begin} to {end}" in text]
    assert not any(tone == "bad" for tone, _ in found)
