"""Scores of the training data by cross-validation: a copy of the model fitted anew on each part. Only for a gate to show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.columns import length
from nbdeploy.capture.quiet import ask, undisturbed
from nbdeploy.capture.rows import take
from nbdeploy.capture.scores import SCORES, SEED, Scores, reason
from nbdeploy.errors import an

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDS = 5
SECONDS = 30.0  # for all folds; a fit cannot be broken off, so its time is judged by one on fewer rows
PROBED = 200  # rows that are fitted without asking how long it takes
TASKS = ("classification", "regression")


class TooSlow(Exception):
    """All folds would take longer than there is time for."""


def cross_validation(
    model: Any, sample: Any, target: Any, task: str, *, folds: int = FOLDS, seconds: float = SECONDS
) -> dict[str, Any]:
    """{"folds", "values": {metric: {"mean", "std", "folds": [...]}}, "not_computable": {metric or "all": reason}}.

    Never raises: what cannot be computed is named with its reason.
    """
    try:
        with undisturbed():
            found = list(_scored(model, sample, target, task, folds=folds, until=time.monotonic() + seconds))
    except Exception as exc:  # noqa: BLE001 - a model's fit may raise anything, and must not stop a deploy; the reason is kept
        told = str(exc) if isinstance(exc, TooSlow) else reason(exc)
        return {"folds": folds, "values": {}, "not_computable": {"all": told}}
    return {"folds": folds, **_summary(found)}


def _scored(model: Any, sample: Any, target: Any, task: str, *, folds: int, until: float) -> Iterator[Scores]:
    import numpy as np
    from sklearn.base import clone

    if task not in TASKS or target is None:
        raise TypeError(f"a model for the task {task} is not fitted to a target" if target is not None else "no target")
    if not (hasattr(model, "fit") and hasattr(model, "get_params")):
        raise TypeError(f"{an(type(model).__name__)} cannot be copied and fitted anew")
    truth = np.asarray(target)
    _affordable(model, sample, target, folds, until)
    start = time.monotonic()
    for done, (learned, asked) in enumerate(_parts(truth, task, folds)):
        each = (time.monotonic() - start) / max(done, 1)
        if each * (folds - done) > until - time.monotonic():
            raise TooSlow(f"{folds} folds would take about {each * folds:.0f} s")
        fitted = clone(model)
        fitted.fit(take(sample, learned), _labels(target, learned))
        rows = take(sample, asked)
        found = Scores()
        SCORES[task](found, fitted, rows, truth[asked], ask(fitted, "predict", rows))
        yield found


def _affordable(model: Any, sample: Any, target: Any, folds: int, until: float) -> None:
    """Raises TooSlow, judged by a fit on few rows."""
    import numpy as np
    from sklearn.base import clone

    count = length(sample)
    if count <= PROBED:
        return
    some = np.random.default_rng(SEED).permutation(count)[: max(PROBED, count // 20)].tolist()
    start = time.monotonic()
    clone(model).fit(take(sample, some), _labels(target, some))
    estimate = (time.monotonic() - start) * count / len(some) * (folds - 1)
    if estimate > until - time.monotonic():
        raise TooSlow(f"{folds} folds would take about {estimate:.0f} s")


def _parts(truth: Any, task: str, folds: int) -> Iterator[tuple[list[int], list[int]]]:
    """The same for the same rows; every label in every fold where there are enough of it."""
    import numpy as np
    from sklearn.model_selection import KFold, StratifiedKFold

    if task == "classification" and truth.ndim == 1 and np.unique(truth, return_counts=True)[1].min() >= folds:
        parts = StratifiedKFold(folds, shuffle=True, random_state=SEED).split(truth, truth)
    else:
        parts = KFold(folds, shuffle=True, random_state=SEED).split(truth)
    for learned, asked in parts:
        yield learned.tolist(), asked.tolist()


def _labels(target: Any, places: Sequence[int]) -> Any:
    return take(target, places) if hasattr(target, "shape") else [target[place] for place in places]


def _summary(found: Sequence[Scores]) -> dict[str, Any]:
    import numpy as np

    missing: dict[str, str] = {}
    for scores in found:
        missing |= scores.not_computable
    values = {}
    for name in found[0].values:
        if name in missing:
            continue
        each = [scores.values[name] for scores in found]
        values[name] = {"mean": float(np.mean(each)), "std": float(np.std(each, ddof=1)), "folds": each}
    return {"values": values, "not_computable": missing}
