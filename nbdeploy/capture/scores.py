"""scikit-learn's own numbers for a classifier, a regressor and a clusterer, or the reason why there are none."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.quiet import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SILHOUETTE_ROWS = 2_000
SEED = 0


@dataclass
class Scores:
    """Collects numbers, and the reason where there is none."""

    values: dict[str, float] = field(default_factory=dict)
    not_computable: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, compute: Callable[[], Any]) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                value = float(compute())
            except Exception as exc:  # noqa: BLE001 - models, targets and metrics may raise anything; the reason is kept
                self.not_computable[name] = reason(exc)
                return
        if math.isfinite(value):
            self.values[name] = value
        else:
            self.not_computable[name] = _short(str(said[0].message)) if said else f"it is {value}"


def reason(exc: BaseException) -> str:
    return _short(f"{type(exc).__name__}: {exc}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."


def quietly(model: Any, method: str, rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ask(model, method, rows)


def _classification(found: Scores, model: Any, rows: Any, truth: Any, answers: Any) -> None:
    from sklearn import metrics

    (truth, answers, classes), coded = _coded(truth, answers, getattr(model, "classes_", None))
    found.take("accuracy", lambda: metrics.accuracy_score(truth, answers))
    for average in ("macro", "weighted"):
        scores = _Once(
            partial(metrics.precision_recall_fscore_support, truth, answers, average=average, zero_division=0)
        )
        for place, name in enumerate(("precision", "recall", "f1")):
            found.take(f"{name}_{average}", partial(scores.part, place))
    if hasattr(model, "predict_proba"):
        _probabilities(found, model, rows, truth, classes if coded else None)
    elif hasattr(model, "decision_function"):
        found.take("roc_auc", lambda: metrics.roc_auc_score(truth, quietly(model, "decision_function", rows)))


class _Once:
    """Several numbers of one computation."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self._parts: Any = None

    def part(self, place: int) -> Any:
        if self._parts is None:
            self._parts = self._compute()
        return self._parts[place]


def _coded(truth: Any, answers: Any, classes: Any) -> tuple[tuple[Any, Any, Any], bool]:
    """Labels as their places in sorted order: the same metrics, five times as fast for texts. As they are where
    that cannot be done (several labels a row, labels without an order), and then without classes.
    """
    import numpy as np

    try:
        parts = [np.asarray(part) for part in (truth, answers, truth if classes is None else classes)]
        known = np.unique(np.concatenate([parts[0], parts[1], parts[2]]))
        if (
            any(part.ndim != 1 or part.dtype.kind != parts[0].dtype.kind for part in parts)
            or parts[0].dtype.kind == "f"
        ):
            return (truth, answers, None), False
        codes = [np.searchsorted(known, part) for part in parts]
    except (TypeError, ValueError):
        return (truth, answers, None), False
    return (codes[0], codes[1], np.unique(codes[2]) if classes is None else codes[2]), True


def _probabilities(found: Scores, model: Any, rows: Any, truth: Any, classes: Any) -> None:
    import numpy as np
    from sklearn import metrics

    names = ("roc_auc", "log_loss", "brier")
    try:
        given = np.asarray(quietly(model, "predict_proba", rows))
        classes = np.asarray(getattr(model, "classes_", np.unique(truth)) if classes is None else classes)
        order = np.argsort(classes)
    except Exception as exc:  # noqa: BLE001 - a model's probabilities may raise anything; the reason is kept
        found.not_computable.update(dict.fromkeys(names, reason(exc)))
        return
    if given.ndim != 2 or given.shape[1] != len(classes):
        shape = f"probabilities of shape {given.shape} for {len(classes)} classes"
        found.not_computable.update(dict.fromkeys(names, shape))
        return
    given, labels = given[:, order], classes[order]  # as scikit-learn's metrics want them
    if len(labels) == 2:
        found.take("roc_auc", lambda: metrics.roc_auc_score(truth == labels[1], given[:, 1]))
        found.take("brier", lambda: metrics.brier_score_loss(truth, given[:, 1], pos_label=labels[1]))
    else:
        found.take("roc_auc", lambda: metrics.roc_auc_score(truth, given, multi_class="ovr", labels=labels))
    found.take("log_loss", lambda: metrics.log_loss(truth, given, labels=labels))


def _regression(found: Scores, _model: Any, _rows: Any, truth: Any, answers: Any) -> None:
    from sklearn import metrics

    found.take("mae", lambda: metrics.mean_absolute_error(truth, answers))
    found.take("mse", lambda: metrics.mean_squared_error(truth, answers))
    found.take("rmse", lambda: metrics.root_mean_squared_error(truth, answers))
    found.take("r2", lambda: metrics.r2_score(truth, answers))
    found.take("mape", lambda: metrics.mean_absolute_percentage_error(truth, answers))


def _clustering(found: Scores, model: Any, rows: Any, truth: Any, answers: Any) -> None:
    import numpy as np
    from sklearn import metrics

    def silhouette() -> Any:
        seen = _seen_by_last_step(model, rows)
        size = min(SILHOUETTE_ROWS, len(answers))
        return metrics.silhouette_score(seen, answers, sample_size=size, random_state=SEED)

    found.take("clusters", lambda: len(np.unique(answers)))
    found.take("silhouette", silhouette)
    if truth is not None:
        found.take("adjusted_rand", lambda: metrics.adjusted_rand_score(truth, answers))


def _seen_by_last_step(model: Any, rows: Any) -> Any:
    steps = getattr(model, "steps", ())
    return model[:-1].transform(rows) if len(steps) > 1 else rows


SCORES: Mapping[str, Callable[[Scores, Any, Any, Any, Any], None]] = {
    "classification": _classification,
    "regression": _regression,
    "clustering": _clustering,
}
