"""Intervals of live metrics: the gate's own bootstrap for few rows, the same in closed form for many.

With thousands of rows a weight for every row and draw costs seconds, and the statistics are normal. What is counted (accuracy,
precision, recall, F1) is still drawn, with one weight for each cell of the confusion matrix: a sum of exponential weights
has a gamma distribution, so these are the same draws. The area under the curve follows DeLong, DeLong and Clarke-Pearson
1988 (Biometrics 44, 837), means and R2 the delta method.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.intervals import Weights, around, draw
from nbdeploy.judge.scores import Classified, Regressed
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MANY = 3_000  # rows
DRAWS = 1_000
LEVEL = 0.95
SEED = 0

Estimates = dict[str, "Estimate | NotComputable"]


def estimates(scored: Classified | Regressed, level: float = LEVEL) -> Estimates:
    """Every metric of `scored` with its interval; what is not defined on these rows says why."""
    if not len(scored):
        return dict.fromkeys(scored.names, NotComputable("no row has a label"))
    values = scored.values()
    if len(scored) <= MANY:
        drawn = draw(len(scored), DRAWS, SEED, lambda weights: {"all": scored.drawn(weights)})["all"]
        ends = {name: around(values[name], drawn[name], len(scored), level) for name in values}
    else:
        ends = _closed(scored, values, level)
    return {name: _estimate(values[name], ends[name], level, len(scored)) for name in scored.names}


def _estimate(
    value: float, ends: tuple[float | None, float | None], level: float, rows: int
) -> Estimate | NotComputable:
    if not math.isfinite(value):
        return NotComputable("it is not defined on these rows, for example because they have only one label")
    return Estimate(value, *ends, level=level, n=rows)


Ends = dict[str, tuple[float | None, float | None]]


def _closed(scored: Classified | Regressed, values: Mapping[str, float], level: float) -> Ends:
    if isinstance(scored, Regressed):
        return _of_errors(scored, values, level)
    found = _of_counts(scored, values, level)
    if "roc_auc" in values:
        found["roc_auc"] = _of_areas(scored, values["roc_auc"], level)
    if scored.shares is not None:
        losses = scored._row_losses  # noqa: SLF001  # the same losses as the gate's
        found |= {name: _of_mean(losses[name], level) for name in ("log_loss", "brier")}
    return found


def _of_counts(scored: Classified, values: Mapping[str, float], level: float) -> Ends:
    """Classified with one row for each cell of the confusion matrix, weighted by gamma draws of its count."""
    count = len(scored.labels)
    cells, rows = np.unique(np.asarray(scored.truth) * count + np.asarray(scored.answers), return_counts=True)
    random = np.random.default_rng(SEED)
    weights = Weights(random.standard_gamma(rows[:, None], (len(rows), DRAWS)), *random.standard_gamma(0.5, (2, DRAWS)))
    drawn = Classified(scored.labels, cells // count, cells % count).drawn(weights)
    return {name: around(values[name], drawn[name], len(scored), level) for name in drawn}


def _of_areas(scored: Classified, value: float, level: float) -> tuple[float | None, float | None]:
    """On the scale of the logit, whose interval stays between 0 and 1 (Pepe 2003, "Statistical Evaluation", 5.2)."""
    if not math.isfinite(value) or not 0 < value < 1:
        return None, None
    places = [1] if scored.binary else range(len(scored.labels))
    parts = [influence(np.asarray(scored.truth) == place, np.asarray(scored.score_of(place))) for place in places]
    error = float(np.std(np.mean(parts, axis=0))) / math.sqrt(len(scored)) / (value * (1 - value))
    reach = float(special.ndtri((1 + level) / 2)) * error
    centre = special.logit(value)
    return float(special.expit(centre - reach)), float(special.expit(centre + reach))


def influence(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each row adds to the area: DeLong's placement values, divided by the share of the row's class."""
    from scipy import stats  # takes longer to import than most looks need for the rest

    ranks = stats.rankdata(score)
    ups, downs = int(positive.sum()), int((~positive).sum())
    own = np.empty(len(score))
    own[positive], own[~positive] = stats.rankdata(score[positive]), stats.rankdata(score[~positive])
    below = (ranks - own) / np.where(positive, downs, ups)
    placed = np.where(positive, below, 1 - below)
    area = float(placed[positive].mean())
    return np.asarray((placed - area) * np.where(positive, len(score) / ups, len(score) / downs))


def _of_mean(rows: NDArray[np.float64], level: float) -> tuple[float | None, float | None]:
    """Of a mean of losses, on the logarithm's scale, where few large ones do less harm."""
    mean = float(rows.mean())
    if mean <= 0:
        return mean, mean
    factor = math.exp(float(special.ndtri((1 + level) / 2)) * float(rows.std()) / math.sqrt(len(rows)) / mean)
    return mean / factor, mean * factor


def _of_errors(scored: Regressed, values: Mapping[str, float], level: float) -> Ends:
    error = np.asarray(scored.truth, float) - np.asarray(scored.answers, float)
    truth = np.asarray(scored.truth, float)
    square = _of_mean(error**2, level)
    found: Ends = {"mae": _of_mean(np.abs(error), level), "mse": square}
    found["rmse"] = (math.sqrt(square[0] or 0.0), math.sqrt(square[1] or 0.0))
    found["mape"] = _of_mean(np.abs(error) / np.maximum(np.abs(truth), np.finfo(float).eps), level)
    found["r2"] = _of_r2(error, truth, values["r2"], level)
    return found


def _of_r2(
    error: NDArray[np.float64], truth: NDArray[np.float64], value: float, level: float
) -> tuple[float | None, float | None]:
    """By the logarithm of 1 - R2, a ratio of two means."""
    spread = float(truth.var())
    unexplained = float(np.mean(error**2))
    if not math.isfinite(value) or not spread or not unexplained:
        return (value, value) if math.isfinite(value) else (None, None)
    parts = error**2 / unexplained - (truth - truth.mean()) ** 2 / spread
    factor = math.exp(float(special.ndtri((1 + level) / 2)) * float(parts.std()) / math.sqrt(len(parts)))
    return 1 - (1 - value) * factor, 1 - (1 - value) / factor
