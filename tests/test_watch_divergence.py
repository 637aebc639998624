"""`drift` against training, a version and an earlier time; where nothing is known it fails closed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from birds import NOW, World, in_kilograms, published, windows
from models import frame

from nbdeploy import watching
from nbdeploy.errors import NotFound, WrongUse
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from traffic import Past


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return published(tmp_path_factory.mktemp("world"))


@pytest.fixture
def past(world: World) -> Past:
    return world.past("birds")


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


def test_drift_takes_another_reference(world: World, past: Past) -> None:
    windows(past, 16, in_kilograms)
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


def test_drift_of_no_rows_names_no_version(world: World, past: Past) -> None:
    past.ask(frame(7, 1), NOW - timedelta(days=2), NOW - timedelta(days=1))
    assert "\n0 rows beside " in world.drift(last="1h").text


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
