"""`Expected`: how good a classifier's answers probably are, before any label came, from its own probabilities.

Confidence-based performance estimation: a row with share p for label k is of label k with probability p, so counts of the
confusion matrix, and what follows from them, have an expectation (Bialek et al. 2024, "Estimating Model Performance Under
Covariate Shift Without Labels", arXiv 2401.08348; Guerra et al. 2022 for the same from calibrated confidence).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.judge.estimate import Estimate
from nbdeploy.render import Card, Shown, Table
from nbdeploy.watch.computable import NotComputable, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nbdeploy.watch.calibrator import Calibrator

DRAWS = 200
FEWEST = 20  # rows
STAYS = "a row's label depends on its columns as it did: a change in that (concept drift) is not seen"
AT_WORD = "the probabilities are right as they are: of rows with a share of 0.8, four in five have that label"
CORRECTED = "the probabilities are right after a correction learnt from {rows} labelled rows like these"
MEANS = "the interval holds the chance of the labels{more}, not a failure of these assumptions"


@dataclass(frozen=True)
class Expected(Shown):
    rows: int
    metrics: Mapping[str, Estimate | NotComputable]
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        metrics = {
            name: asdict(value) if isinstance(value, Estimate) else plain(value) for name, value in self.metrics.items()
        }
        return {"rows": self.rows, "metrics": metrics, "assumptions": list(self.assumptions)}

    def card(self) -> Card:
        table = Table(("metric", "expected"), [(name, str(value)) for name, value in self.metrics.items()])
        notes = tuple(("neutral", f"Assumed: {text}.") for text in self.assumptions)
        return Card(title="expected without labels", facts=(("rows", self.rows),), tables=(table,), notes=notes)  # type: ignore[arg-type]  # a tone


def expected(shares: NDArray[np.float64], calibrator: Calibrator | None = None, *, level: float = 0.95) -> Expected:
    """`shares` has a row for each answer and a column for each label, as `predict_proba` gives them; the answer is the
    label of the largest share. Metrics are macro averages under scikit-learn's names, and the area under the ROC curve.
    """
    assumptions = _assumptions(calibrator)
    if shares.ndim != 2 or shares.shape[1] < 2:
        return _nothing(len(shares), "a classifier's probabilities are needed, one for each label", assumptions)
    whole = np.isfinite(shares).all(axis=1)
    shares = shares[whole]
    if len(shares) < FEWEST:
        return _nothing(len(shares), f"too few rows: {len(shares)}, at least {FEWEST} are needed", assumptions)
    answers = shares.argmax(axis=1)
    believed = shares / shares.sum(axis=1, keepdims=True) if calibrator is None else calibrator.corrected(shares)
    values = {name: float(value[0]) for name, value in _scores(_confusion(believed, answers)[None]).items()}
    drawn = _drawn(shares, answers, calibrator)
    if shares.shape[1] == 2:
        values["roc_auc"] = area(_ranks(shares[:, 1]), believed[:, 1])
    tail = (1 - level) / 2
    metrics: dict[str, Estimate | NotComputable] = {}
    for name, value in values.items():
        low, high = np.quantile(drawn[name], [tail, 1 - tail])
        metrics[name] = Estimate(value, min(float(low), value), max(float(high), value), level, len(shares))
    return Expected(len(shares), metrics, assumptions)


def _assumptions(calibrator: Calibrator | None) -> tuple[str, ...]:
    first = AT_WORD if calibrator is None else CORRECTED.format(rows=calibrator.rows)
    more = "" if calibrator is None else " and of the correction"
    return (first, STAYS, MEANS.format(more=more))


def _nothing(rows: int, reason: str, assumptions: tuple[str, ...]) -> Expected:
    return Expected(rows, dict.fromkeys(("accuracy", "f1_macro", "roc_auc"), NotComputable(reason)), assumptions)


def _drawn(
    shares: NDArray[np.float64], answers: NDArray[np.intp], calibrator: Calibrator | None
) -> dict[str, NDArray[np.float64]]:
    """Labels drawn from the probabilities, each time from another possible correction of them."""
    random = np.random.default_rng(0)
    count = shares.shape[1]
    ranks = _ranks(shares[:, 1])
    tables, areas = [], []
    for number in range(DRAWS):
        believed = (
            shares / shares.sum(axis=1, keepdims=True) if calibrator is None else calibrator.corrected(shares, number)
        )
        edges = np.cumsum(believed, axis=1)[:, :-1]
        labels = (random.random(len(shares))[:, None] > edges).sum(axis=1)
        tables.append(np.bincount(labels * count + answers, minlength=count * count).reshape(count, count))
        if count == 2:
            areas.append(area(ranks, labels.astype(float)))
    return {**_scores(np.array(tables, float)), "roc_auc": np.array(areas)}


def _confusion(believed: NDArray[np.float64], answers: NDArray[np.intp]) -> NDArray[np.float64]:
    """Expected counts, truth by answer."""
    count = believed.shape[1]
    return np.asarray(believed.T @ np.eye(count)[answers])


def _scores(tables: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of confusion matrices of shape (draws, labels, labels); a label that is neither true nor answered is left out."""
    hits = np.diagonal(tables, axis1=1, axis2=2)
    true, said = tables.sum(axis=2), tables.sum(axis=1)
    used = (true + said) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        each = {
            "precision_macro": np.where(said > 0, hits / said, 0.0),
            "recall_macro": np.where(true > 0, hits / true, 0.0),
            "f1_macro": np.where(used, 2 * hits / (true + said), 0.0),
        }
    found = {name: np.sum(np.where(used, value, 0.0), axis=1) / used.sum(axis=1) for name, value in each.items()}
    return {"accuracy": hits.sum(axis=1) / tables.sum(axis=(1, 2)), **found}


def _ranks(score: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.asarray(np.unique(score, return_inverse=True)[1])


def area(ranks: NDArray[np.intp], positive: NDArray[np.float64]) -> float:
    """Under the ROC curve, of rows that are positive with these probabilities: how often one is above one that is not."""
    ups, downs = np.bincount(ranks, positive), np.bincount(ranks, 1 - positive)
    if not ups.sum() or not downs.sum():
        return 0.5
    return float(ups @ (np.cumsum(downs) - downs / 2) / (ups.sum() * downs.sum()))
