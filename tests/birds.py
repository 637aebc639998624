"""Published services with a past that each test writes anew; they never ran."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from models import frame
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from traffic import Past

from nbdeploy import watching
from nbdeploy.deployment import Deployment
from nbdeploy.settings import Settings
from nbdeploy.spans import span
from nbdeploy.watch.axis import floored
from nbdeploy.watch.computable import NotComputable
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

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
    """Homes of its own; `past` is what is written anew."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = Settings(home=home / "home", bentoml_home=home / "bentoml", **settings)
        self.workspace = Workspace(self.settings)
        self.models: dict[str, Any] = {}

    def publish(self, name: str, model: Any, sample: Any, target: Any = None) -> Past:
        bundle = self.workspace.bundle(model, name=name, sample=sample, target=target)
        self.models[name] = model
        return Past(self.settings.services, self.workspace.publish(bundle), model, self.settings.log.get("columns"))

    def past(self, name: str) -> Past:
        shutil.rmtree(self.settings.services / name, ignore_errors=True)
        version = self.workspace.registry.versions(name)[0]
        return Past(self.settings.services, version, self.models[name], self.settings.log.get("columns"))

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


def published(home: Path, **settings: Any) -> World:
    """With "birds", a classifier of two labels."""
    made = World(home, **settings)
    rows = frame(2_000)
    made.publish("birds", classifier(), rows, labels_of(rows))
    return made


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


def in_kilograms(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(mass=rows["mass"] / 1_000)


def told(health: Health) -> str:
    return "\n".join(f"{one.tone}: {one.text}" for one in health.findings)


def number(reading: Reading, name: str) -> float:
    value = reading.value(name)
    assert not isinstance(value, NotComputable), value
    return value


def normal(text: str) -> str:
    return " ".join(text.split())
