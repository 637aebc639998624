"""What could be taken for something else: columns named as parts of the log, classes of other versions, times to come."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from test_watch_health import HOURS, NOW, World

from nbdeploy.watch.axis import floored

if TYPE_CHECKING:
    from traffic import Past

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
        given = rows_of(200, 70 + place, "x", "prediction", "target").assign(
            target=lambda f, by=moved: f["target"] + by
        )
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
