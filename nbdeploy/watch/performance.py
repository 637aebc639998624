"""Live metrics: what the labels that came say of the answers, per version and window."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.errors import WrongUse
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.scores import Classified, Regressed, coded
from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import percent
from nbdeploy.watch.computable import NotComputable, plain
from nbdeploy.watch.intervals import Estimates, estimates
from nbdeploy.watch.task import LABELLED, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import pandas as pd

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

    def values(self) -> dict[str, float | NotComputable]:
        """Every metric by name, with NAME.low and NAME.high, and the coverage."""
        found: dict[str, float | NotComputable] = {"coverage": self.coverage}
        for name, metric in self.metrics.items():
            if isinstance(metric, NotComputable):
                found[name] = metric
                continue
            found[name] = metric.value
            missing = NotComputable(f"{metric.n} labelled rows are too few for an interval")
            found[f"{name}.low"] = missing if metric.low is None else metric.low
            found[f"{name}.high"] = missing if metric.high is None else metric.high
        return found

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
        facts = (("rows", self.rows), ("labelled", f"{self.labelled} ({percent(self.coverage, 0)})"))
        return Card(title=f"version {self.version}", facts=facts, tables=(table,))


@dataclass
class Counted:
    """How many rows were answered, by window and version. A window is where it begins, None where there is one for all;
    they begin at multiples of `every` since 1970.
    """

    rows: Counter[tuple[Any, str]] = field(default_factory=Counter)
    spans: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def add(self, frame: pd.DataFrame, every: timedelta | None) -> None:
        if not len(frame):
            return
        for (began, version), part in frame.groupby(_windows(frame, every), sort=False)["time"]:
            self.rows[None if every is None else began, str(version)] += len(part)
            first, last = self.spans.get(str(version), (part.min(), part.max()))
            self.spans[str(version)] = min(first, part.min()), max(last, part.max())

    def performances(
        self,
        labelled: pd.DataFrame,
        task: Task,
        tasks: Mapping[str, Task] | None = None,
        *,
        every: timedelta | None = None,
    ) -> list[Performance]:
        """By version, or with the `every` of the counts by window and version. `tasks` by version; `task` is that of the
        others.
        """
        rows = self.rows
        if every is None:
            rows = Counter()
            for (_, version), count in self.rows.items():
                rows[None, version] += count
        parts = labelled.groupby(_windows(labelled, every), sort=False) if len(labelled) else ()
        groups = {(None if every is None else began, str(version)): part for (began, version), part in parts}
        keys = list(rows) if every is None else sorted(rows, key=lambda key: (key[0], self.spans[key[1]]))
        found = []
        for key in keys:
            part = groups.get(key, labelled.iloc[:0])
            own = (tasks or {}).get(key[1], task)
            known = own.name in LABELLED or own is task  # one of another task has no metrics, and hides no other's
            metrics = metrics_of(part, own.name, classes=own.classes) if known else {}
            found.append(self._performance(key, rows[key], len(part), metrics, every))
        return found

    def _performance(
        self, key: tuple[Any, str], rows: int, labelled: int, metrics: Estimates, every: timedelta | None
    ) -> Performance:
        began, version = key
        span = self.spans[version] if every is None else (began, began + every)
        return Performance(
            version=version,
            began=span[0].to_pydatetime(),
            ended=span[1].to_pydatetime(),
            rows=rows,
            labelled=labelled,
            metrics=metrics,
        )


def _windows(frame: pd.DataFrame, every: timedelta | None) -> list[Any]:
    import pandas as pd

    began = pd.Series(0, index=frame.index) if every is None else frame["time"].dt.floor(every)
    return [began, frame["version"]]


def metrics_of(labelled: pd.DataFrame, task: str, *, classes: Sequence[Any] = ()) -> Estimates:
    """Of rows that have a `prediction` and a `label`. `classes`: the model's labels, where they are known."""
    if task == "regression":
        truth, answers = (_numbers(labelled[name].tolist()) for name in ("label", "prediction"))
        known = np.isfinite(truth) & np.isfinite(answers)
        return estimates(Regressed(truth[known], answers[known]))
    if task != "classification":
        raise WrongUse(f"There are no metrics of labels for the task {task}.")
    return _of_classes(labelled["prediction"].tolist(), labelled["label"].tolist(), classes)


def _numbers(values: Sequence[Any]) -> Any:
    """A label of a file may be a text, and an infinite answer is one in the log; what is no number is NaN."""
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _of_classes(predictions: Sequence[Any], truth: Sequence[Any], classes: Sequence[Any]) -> Estimates:
    """Answers of `predict_proba` have shares by label; all others are labels. Metrics of shares are of the former alone."""
    scored = classified(predictions, truth, classes)
    if isinstance(scored, NotComputable):
        return dict.fromkeys(("accuracy", *OF_SHARES), scored)
    if scored.shares is not None:
        return estimates(scored)
    found = estimates(scored)
    sharing = [place for place, answer in enumerate(predictions) if isinstance(answer, dict)]
    if not sharing:
        return found | dict.fromkeys(OF_SHARES, NotComputable("no request asked for probabilities"))
    shared = classified([predictions[place] for place in sharing], [truth[place] for place in sharing], classes)
    if isinstance(shared, NotComputable):
        return found | dict.fromkeys(OF_SHARES, shared)
    return found | {name: value for name, value in estimates(shared).items() if name in OF_SHARES}


def classified(
    predictions: Sequence[Any], truth: Sequence[Any], classes: Sequence[Any] = ()
) -> Classified | NotComputable:
    """With shares where every answer has them. The label of the largest share is the answer, the first of equal ones."""
    if not len(predictions):
        return NotComputable("no row has a label")
    if any(isinstance(answer, list) or answer is None for answer in predictions):
        return NotComputable("there are answers that are no single label")
    answers = [max(item, key=lambda label: item[label]) if isinstance(item, dict) else item for item in predictions]
    named = [label for item in predictions if isinstance(item, dict) for label in item]
    own = [*classes, *(item for item, answer in zip(answers, predictions, strict=True) if not isinstance(answer, dict))]
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
