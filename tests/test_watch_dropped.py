"""A column that the settings drop before a deploy is in no profile, and stands on the page all the same, with the reason."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from birds import World, published, windows

from nbdeploy.watch.baseline import Baseline
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from pathlib import Path

    from traffic import Past

pytestmark = pytest.mark.slow

REASON = NotComputable("dropped by the log's policy")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return published(tmp_path_factory.mktemp("world"), log={"columns": {"age": "drop"}})


@pytest.fixture
def past(world: World) -> Past:
    return world.past("birds")


def test_it_stands_on_the_page_in_drift_and_in_the_readings(world: World, past: Past) -> None:
    windows(past, 2)
    health, drift = world.monitor(), world.drift()
    for found in (health.version, drift.compared):
        assert found is not None
        assert [track.column for track in found.tracks] == ["island", "sex", "bill", "mass", "age", "prediction"]
        assert found.track("age").now.verdict == REASON
        assert {"name": "input.age", "verdict": {"not_computable": REASON.reason}}.items() <= next(
            one for one in found.to_dict()["columns"] if one["name"] == "input.age"
        ).items()
    assert drift.status == "like training, 1 of 6 not computable"
    for shown in (health.text, health.html(), drift.text, drift._repr_html_()):
        assert "dropped by the log" in shown
        assert "age" in shown
    assert "All 400 rows have values as in training in the columns that the log keeps." in " ".join(health.text.split())
    assert {reading.values["drift@age"] for reading in health.readings} == {REASON}, "also of windows without rows"
    assert {reading.values["missing@age"] for reading in health.readings} == {REASON}


def test_rows_that_it_told_apart_are_no_duplicates_and_the_page_says_why(world: World, past: Past) -> None:
    windows(past, 2)
    reason = "rows cannot be told apart: age is dropped by the log's policy"
    health, drift = world.monitor(), world.drift()
    assert {reading.value("duplicates") for reading in health.readings} == {NotComputable(reason)}
    assert health.version is not None
    for found in (health.version, drift.compared):
        assert found.to_dict()["quality"]["duplicates"] == {"not_computable": reason}
    for shown in (health.text, html.unescape(health.html())):
        assert reason in " ".join(shown.split())
    seen = world.workspace.alerts("birds", when="duplicates>0.5", every="6h", preview=True, last="2d")
    assert seen.to_dict()["text"] == f"cannot be told: {reason}"
    baseline = world.look()._baseline("1.0.0")
    assert isinstance(baseline, Baseline)
    more = replace(baseline, policy={"age": "drop", "mass": "bucket", "bill": "keep"})
    assert (
        str(more.blurred)
        == "not computable (rows cannot be told apart: mass is rounded by the log's policy, and 1 more)"
    )


def test_a_rule_about_it_is_previewed_with_the_reason(world: World, past: Past) -> None:
    windows(past, 2, rows=5)
    for when in ("drift@age>1", "missing@age>0.1"):
        seen = world.workspace.alerts("birds", when=when, every="6h", preview=True, last="2d")
        assert seen.to_dict()["text"] == "cannot be told: dropped by the log's policy"


def test_a_column_kept_again_is_not_in_the_profile_still(world: World, past: Past) -> None:
    windows(past, 2)
    baseline = world.look()._baseline("1.0.0")
    assert isinstance(baseline, Baseline)
    kept = replace(baseline, policy={})
    assert kept.broken() == {"input.age": NotComputable("nothing of it is known from training")}


def test_of_several_reasons_the_most_frequent_is_told(tmp_path: Path) -> None:
    world = published(tmp_path, log={"columns": {"island": "drop"}})
    windows(world.past("birds"), 1, rows=3)
    found = next(one.text for one in world.monitor().findings if one.text.startswith("No column can be compared"))
    assert "too few values: 3, at least" in found
