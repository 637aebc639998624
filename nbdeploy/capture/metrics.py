"""What kind of model this is, its parameters, and its metrics on the rows it was probably trained on.

The numbers are scikit-learn's own, on at most 10,000 rows. They are shown as training metrics, never as a verdict.
"""

from __future__ import annotations

import math
import re
import time
from itertools import pairwise
from typing import Any

from nbdeploy.capture.columns import column_values, length, rows_at
from nbdeploy.capture.scores import SCORES, SEED, Scores, quietly, reason

MOST_ROWS = (10_000, 2_000, 500)  # the first that a model answers in about a second
SECONDS = 1.0
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


def training_metrics(model: Any, sample: Any, target: Any = None, task: str | None = None) -> dict[str, Any]:
    """{"kind": "training", "task", "rows", "of", "values": {name: number}, "not_computable": {name: reason}}.

    `target` may name a column of the sample. Never raises: what cannot be computed is named with its reason.
    """
    task = task or task_of(model, target)
    found = Scores()
    rows = of = 0
    try:
        of = length(sample)
        rows = _measure(model, sample, target, task, found)
    except Exception as exc:  # noqa: BLE001 - no odd sample or target may stop a deploy; the reason is kept
        found.not_computable["all"] = reason(exc)
    return {
        "kind": "training",
        "task": task,
        "rows": rows,
        "of": of,
        "values": found.values,
        "not_computable": found.not_computable,
    }


def _measure(model: Any, sample: Any, target: Any, task: str, found: Scores) -> int:
    """The number of rows used."""
    if target is None and task != "clustering":
        found.not_computable["all"] = "no target was given"
        return 0
    truth = None if target is None else column_values(sample, target) if isinstance(target, str) else target
    if truth is not None and length(truth) != length(sample):
        found.not_computable["all"] = f"the target has {length(truth)} values for {length(sample)} rows"
        return 0
    if task not in SCORES:
        found.not_computable["all"] = f"there is no metric for the task {task}"
        return 0
    places, rows = _chosen(model, sample)
    answers = quietly(model, "predict", rows)
    SCORES[task](found, model, rows, _array(truth, places), answers)
    return len(places)


def _chosen(model: Any, sample: Any) -> tuple[list[int], Any]:
    """A seeded choice of rows, fewer where the model is slow."""
    count = length(sample)
    most = MOST_ROWS[-1] if count <= MOST_ROWS[-1] else _affordable(model, sample)
    if count <= most:
        return list(range(count)), sample
    import numpy as np

    places = sorted(np.random.default_rng(SEED).choice(count, most, replace=False).tolist())
    return places, rows_at(sample, places)


def _affordable(model: Any, sample: Any) -> int:
    """The most rows answered within SECONDS, judged by the size before."""
    for size, next_size in pairwise(MOST_ROWS[::-1]):
        start = time.perf_counter()
        quietly(model, "predict", rows_at(sample, list(range(min(size, length(sample))))))
        if (time.perf_counter() - start) * next_size / size > SECONDS:
            return size
    return MOST_ROWS[0]


def _array(values: Any, places: list[int]) -> Any:
    import numpy as np

    if values is None:
        return None
    taken = rows_at(values, places) if hasattr(values, "shape") else [values[place] for place in places]
    array = np.asarray(taken)
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array
