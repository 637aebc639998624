"""What kind of model this is, its parameters, and its metrics on the rows it was probably trained on.

The numbers are scikit-learn's own, on at most 10,000 rows. They are shown as training metrics, never as a verdict.
"""

from __future__ import annotations

import math
import re
import time
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.columns import column_values, length, rows_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_ROWS = (10_000, 2_000, 500)  # the first that a model answers in about a second
SECONDS = 1.0
SILHOUETTE_ROWS = 2_000
SEED = 0
_KINDS = {"classifier": "classification", "regressor": "regression", "clusterer": "clustering"}


def task_of(model: Any, target: Any = None) -> str:
    """One of classification, regression, clustering, transform, other."""
    kind = _KINDS.get(str(_estimator_type(model)))
    if kind:
        return kind
    if not hasattr(model, "predict"):
        return "transform" if hasattr(model, "transform") else "other"
    if hasattr(model, "predict_proba") or hasattr(model, "classes_"):
        return "classification"
    if _estimator_type(model) is not None or target is None or isinstance(target, str):
        return "other"
    return _task_of_target(target)


def _estimator_type(model: Any) -> str | None:
    """What the model says of itself, by scikit-learn's tags, or by the older attribute."""
    try:
        tags = model.__sklearn_tags__() if hasattr(model, "__sklearn_tags__") else None
        return getattr(tags, "estimator_type", None) or getattr(model, "_estimator_type", None)
    except Exception:  # noqa: BLE001 - a foreign model's tags may raise anything; duck typing decides then
        return None


def _task_of_target(target: Any) -> str:
    import numpy as np

    kind = np.asarray(target).dtype.kind
    return "regression" if kind == "f" else "classification" if kind in "bOUST" else "other"


def parameters_of(model: Any) -> dict[str, Any]:
    """get_params() as JSON, the same for the same model: no addresses, no order of sets, no NaN."""
    try:
        found = model.get_params(deep=True)
    except Exception:  # noqa: BLE001 - not every model has parameters, and a foreign get_params may raise anything
        return {}
    return {str(name): _plain(found[name]) for name in sorted(found, key=str)} if isinstance(found, dict) else {}


def _plain(value: Any, depth: int = 0) -> Any:
    item = getattr(value, "item", None)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and callable(item):
        value = item()
    if value is None or isinstance(value, (bool, int, str)):
        return value[:500] if isinstance(value, str) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)) and len(value) <= 50 and depth < 3:
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, dict) and len(value) <= 50 and depth < 3:
        return {str(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(one, depth + 1) for one in value), key=str)
    return _described(value)


def _described(value: Any) -> str:
    if hasattr(value, "get_params") or callable(value):
        return str(getattr(value, "__qualname__", None) or type(value).__qualname__)
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign repr may raise anything; the type still says something
        return type(value).__qualname__
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)[:200]


@dataclass
class _Metrics:
    """Collects numbers, and the reason where there is none."""

    values: dict[str, float] = field(default_factory=dict)
    not_computable: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, compute: Callable[[], Any]) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                value = float(compute())
            except Exception as exc:  # noqa: BLE001 - models, targets and metrics may raise anything; the reason is kept
                self.not_computable[name] = _reason(exc)
                return
        if math.isfinite(value):
            self.values[name] = value
        else:
            self.not_computable[name] = _short(str(said[0].message)) if said else f"it is {value}"


def _reason(exc: BaseException) -> str:
    return _short(f"{type(exc).__name__}: {exc}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."


def training_metrics(model: Any, sample: Any, target: Any = None, task: str | None = None) -> dict[str, Any]:
    """{"kind": "training", "task", "rows", "of", "values": {name: number}, "not_computable": {name: reason}}.

    `target` may name a column of the sample. Never raises: what cannot be computed is named with its reason.
    """
    task = task or task_of(model, target)
    found = _Metrics()
    rows = of = 0
    try:
        of = length(sample)
        rows = _measure(model, sample, target, task, found)
    except Exception as exc:  # noqa: BLE001 - no odd sample or target may stop a deploy; the reason is kept
        found.not_computable["all"] = _reason(exc)
    return {
        "kind": "training",
        "task": task,
        "rows": rows,
        "of": of,
        "values": found.values,
        "not_computable": found.not_computable,
    }


def _measure(model: Any, sample: Any, target: Any, task: str, found: _Metrics) -> int:
    """The number of rows used."""
    if target is None and task != "clustering":
        found.not_computable["all"] = "no target was given"
        return 0
    truth = None if target is None else column_values(sample, target) if isinstance(target, str) else target
    if truth is not None and length(truth) != length(sample):
        found.not_computable["all"] = f"the target has {length(truth)} values for {length(sample)} rows"
        return 0
    if task not in _TASKS:
        found.not_computable["all"] = f"there is no metric for the task {task}"
        return 0
    places, rows = _chosen(model, sample)
    answers = _of(model, "predict", rows)
    _TASKS[task](found, model, rows, _array(truth, places), answers)
    return len(places)


def _chosen(model: Any, sample: Any) -> tuple[list[int], Any]:
    """A seeded choice of rows, fewer where the model is slow."""
    count = length(sample)
    trial = list(range(min(count, 100)))
    start = time.perf_counter()
    _of(model, "predict", rows_at(sample, trial))
    each = (time.perf_counter() - start) / max(len(trial), 1)
    most = next((size for size in MOST_ROWS if each * size <= SECONDS), MOST_ROWS[-1])
    if count <= most:
        return list(range(count)), sample
    import numpy as np

    places = sorted(np.random.default_rng(SEED).choice(count, most, replace=False).tolist())
    return places, rows_at(sample, places)


def _of(model: Any, method: str, rows: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(model, method)(rows)


def _array(values: Any, places: list[int]) -> Any:
    import numpy as np

    if values is None:
        return None
    taken = rows_at(values, places) if hasattr(values, "shape") else [values[place] for place in places]
    array = np.asarray(taken)
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array


def _classification(found: _Metrics, model: Any, rows: Any, truth: Any, answers: Any) -> None:
    from sklearn import metrics

    found.take("accuracy", lambda: metrics.accuracy_score(truth, answers))
    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        for average in ("macro", "weighted"):
            found.take(f"{name}_{average}", partial(score, truth, answers, average=average, zero_division=0))
    if hasattr(model, "predict_proba"):
        _probabilities(found, model, rows, truth)
    elif hasattr(model, "decision_function"):
        found.take("roc_auc", lambda: metrics.roc_auc_score(truth, _of(model, "decision_function", rows)))


def _probabilities(found: _Metrics, model: Any, rows: Any, truth: Any) -> None:
    import numpy as np
    from sklearn import metrics

    names = ("roc_auc", "log_loss", "brier")
    try:
        given = np.asarray(_of(model, "predict_proba", rows))
        classes = list(getattr(model, "classes_", np.unique(truth)))
    except Exception as exc:  # noqa: BLE001 - a model's probabilities may raise anything; the reason is kept
        found.not_computable.update(dict.fromkeys(names, _reason(exc)))
        return
    if given.ndim != 2 or given.shape[1] != len(classes):
        shape = f"probabilities of shape {given.shape} for {len(classes)} classes"
        found.not_computable.update(dict.fromkeys(names, shape))
        return
    two = len(classes) == 2
    found.take(
        "roc_auc",
        lambda: (
            metrics.roc_auc_score(truth == classes[1], given[:, 1])
            if two
            else metrics.roc_auc_score(truth, given, multi_class="ovr", labels=classes)
        ),
    )
    found.take("log_loss", lambda: metrics.log_loss(truth, given, labels=classes))
    if two:
        found.take("brier", lambda: metrics.brier_score_loss(truth, given[:, 1], pos_label=classes[1]))


def _regression(found: _Metrics, _model: Any, _rows: Any, truth: Any, answers: Any) -> None:
    from sklearn import metrics

    found.take("mae", lambda: metrics.mean_absolute_error(truth, answers))
    found.take("mse", lambda: metrics.mean_squared_error(truth, answers))
    found.take("rmse", lambda: metrics.root_mean_squared_error(truth, answers))
    found.take("r2", lambda: metrics.r2_score(truth, answers))
    found.take("mape", lambda: metrics.mean_absolute_percentage_error(truth, answers))


def _clustering(found: _Metrics, model: Any, rows: Any, truth: Any, answers: Any) -> None:
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


_TASKS: Mapping[str, Callable[[_Metrics, Any, Any, Any, Any], None]] = {
    "classification": _classification,
    "regression": _regression,
    "clustering": _clustering,
}
