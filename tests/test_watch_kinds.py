"""All kinds of services are watched: arrays, texts, clusters, versions with other columns, a service of this process."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from birds import NOW, World, classifier, labels_of, number, told
from models import frame
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from nbdeploy.errors import CallRefused

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
        "grown", LogisticRegression(max_iter=1_000).fit(rows[["mass", "age"]], labels_of(rows)), rows[["mass", "age"]]
    )
    began = NOW - timedelta(hours=20)
    first.ask(frame(200, 1)[["mass", "age"]], began, began + timedelta(hours=8))
    more = rows.assign(wings=2.0 + rows["age"])[["mass", "age", "wings"]]
    second = world.publish("grown", LogisticRegression(max_iter=1_000).fit(more, labels_of(rows)), more)
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


def test_a_service_in_this_process_is_watched_as_any_other(world: World) -> None:
    """What it logged itself, not what a test wrote."""
    rows = frame(2_000)
    service = world.workspace.deploy(classifier(), name="live", sample=rows, target=labels_of(rows), launcher="memory")
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
