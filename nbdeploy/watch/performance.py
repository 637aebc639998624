"""Live metrics: what the labels that came say of the answers, per version and window."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.errors import WrongUse
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.scores import Classified, Regressed, coded
from nbdeploy.render import Card, Shown, Table
from nbdeploy.watch.computable import NotComputable, plain
from nbdeploy.watch.intervals import LEVEL, Estimates, estimates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    import pandas as pd

    from nbdeploy.watch.labels import Joined

OF_SHARES = ("roc_auc", "log_loss", "brier")


@dataclass(frozen=True)
class Performance(Shown):
    """`rows` were answered, `labelled` of them have a label. `metrics` are scikit-learn's on these, with intervals."""

    version: str
    began: datetime
    ended: datetime
    rows: int
    labelled: int
    metrics: Estimates

    @property
    def coverage(self) -> float:
        return self.labelled / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        metrics = {
            name: asdict(value) if isinstance(value, Estimate) else plain(value) for name, value in self.metrics.items()
        }
        return {
            "version": self.version,
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "rows": self.rows,
            "labelled": self.labelled,
            "coverage": self.coverage,
            "metrics": metrics,
        }

    def card(self) -> Card:
        table = Table(("metric", "value"), [(name, str(value)) for name, value in self.metrics.items()])
        facts = (("rows", self.rows), ("labelled", f"{self.labelled} ({self.coverage:.0%})"))
        return Card(title=f"version {self.version}", facts=facts, tables=(table,))


def performances(
    joined: Joined, task: str, *, every: timedelta | None = None, level: float = LEVEL
) -> list[Performance]:
    """By time and version; one window for all where `every` is None. task: classification | regression."""
    return [
        Performance(
            version=str(version),
            began=rows["time"].min().to_pydatetime(),
            ended=rows["time"].max().to_pydatetime(),
            rows=len(rows),
            labelled=int(rows["label"].notna().sum()),
            metrics=metrics_of(rows[rows["label"].notna()], task, level=level),
        )
        for version, rows in _parts(joined.frame, every)
    ]


def _parts(frame: pd.DataFrame, every: timedelta | None) -> Iterator[tuple[Any, pd.DataFrame]]:
    if every is None:
        yield from frame.groupby("version", sort=False)
        return
    for (_, version), rows in frame.groupby([frame["time"].dt.floor(every), "version"], sort=True):
        yield version, rows


def metrics_of(labelled: pd.DataFrame, task: str, *, level: float = LEVEL) -> Estimates:
    """Of rows that have a `prediction` and a `label`."""
    if task == "regression":
        truth, answers = (_numbers(labelled[name].tolist()) for name in ("label", "prediction"))
        known = np.isfinite(truth) & np.isfinite(answers)
        return estimates(Regressed(truth[known], answers[known]), level)
    if task != "classification":
        raise WrongUse(f"There are no metrics of labels for the task {task}.")
    return _of_classes(labelled["prediction"].tolist(), labelled["label"].tolist(), level)


def _numbers(values: Sequence[Any]) -> Any:
    """A label of a file may be a text, and an infinite answer is one in the log; what is no number is NaN."""
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _of_classes(predictions: Sequence[Any], truth: Sequence[Any], level: float) -> Estimates:
    """Answers of `predict_proba` have shares by label; all others are labels. Metrics of shares are of the former alone."""
    scored = classified(predictions, truth)
    if isinstance(scored, NotComputable):
        return dict.fromkeys(("accuracy", *OF_SHARES), scored)
    found = {name: value for name, value in estimates(scored, level).items() if name not in OF_SHARES}
    sharing = [place for place, answer in enumerate(predictions) if isinstance(answer, dict)]
    if not sharing:
        return found | dict.fromkeys(OF_SHARES, NotComputable("no request asked for probabilities"))
    shared = classified([predictions[place] for place in sharing], [truth[place] for place in sharing])
    if isinstance(shared, NotComputable):
        return found | dict.fromkeys(OF_SHARES, shared)
    return found | {name: value for name, value in estimates(shared, level).items() if name in OF_SHARES}


def classified(predictions: Sequence[Any], truth: Sequence[Any]) -> Classified | NotComputable:
    """With shares where every answer has them. The label of the largest share is the answer."""
    if not len(predictions):
        return NotComputable("no row has a label")
    answers = [max(item, key=lambda label: item[label]) if isinstance(item, dict) else item for item in predictions]
    named = [label for item in predictions if isinstance(item, dict) for label in item]
    own = [item for item, answer in zip(answers, predictions, strict=True) if not isinstance(answer, dict)]
    model, _ = coded(own, list(dict.fromkeys(named)))
    labels, places = coded(model, truth)
    if not {labels[place] for place in set(places.tolist())} & set(model):
        shown = f"{_some(truth)} are no labels of the model, which answers {_some(model)}"
        return NotComputable(shown)
    _, said = coded(labels, answers)
    shares = None
    if all(isinstance(item, dict) for item in predictions):
        shares = np.array([[float(item.get(str(label), 0.0)) for label in labels] for item in predictions])
    return Classified(labels, places, said, shares)


def _some(values: Sequence[Any]) -> str:
    once = list(dict.fromkeys(map(str, values)))
    return ", ".join(once[:5]) + (", ..." if len(once) > 5 else "")
