"""Intervals from the Bayesian bootstrap: how far a number could lie elsewhere on other rows of the same kind.

Each draw gives every row a weight of its own (Rubin 1981: exponential, so no row and no class ever drops out), and the
metric is computed with these weights. The ends are percentiles, taken as far out as Student's t asks for so few rows
(Hesterberg 2015, "expanded percentile"). What is counted, right or wrong, is given half an imaginary right row and half a
wrong one (Jeffreys' prior), so that ten right of ten do not look certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CELLS = 2_000_000  # weights held at a time
FEWEST = 5  # rows an interval needs


@dataclass(frozen=True)
class Weights:
    """`rows` has a column for each draw; `right` and `wrong` are the imaginary rows' weights."""

    rows: Any
    right: Any
    wrong: Any

    def of(self, places: Any) -> Weights:
        """Those of a slice: the same draws, so that slices and versions can be compared draw by draw."""
        return Weights(self.rows[places], self.right, self.wrong)

    def first(self, draws: int) -> Weights:
        return (
            self if draws >= len(self.right) else Weights(self.rows[:, :draws], self.right[:draws], self.wrong[:draws])
        )


Drawn = dict[str, Any]  # metric -> its value in every draw


def draw(rows: int, draws: int, seed: int, compute: Callable[[Weights], Mapping[str, Drawn]]) -> dict[str, Drawn]:
    """What `compute` says of every draw, by whatever it calls its results; in pieces that fit into the cache."""
    import numpy as np

    rng = np.random.default_rng(seed)
    imaginary = rng.standard_gamma(0.5, (2, draws))
    step = max(1, min(draws, CELLS // max(rows, 1)))
    parts: list[Mapping[str, Drawn]] = []
    for start in range(0, draws, step):
        right, wrong = imaginary[:, start : start + step]
        parts.append(compute(Weights(rng.standard_exponential((rows, len(right))), right, wrong)))
    return {
        key: {name: np.concatenate([part[key][name] for part in parts]) for name in parts[0][key]} for key in parts[0]
    }


def ends(drawn: Any, rows: int, level: float) -> tuple[float, float]:
    """The interval at `level`; NaN where there are too few rows, or where the metric itself is not defined."""
    import numpy as np

    finite = drawn[np.isfinite(drawn)]
    if rows < FEWEST or len(finite) < len(drawn) or not len(drawn):
        return math.nan, math.nan
    tail = _tail(rows, level)
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def _tail(rows: int, level: float) -> float:
    """The share of draws beyond each end: the normal's for many rows, further out for few."""
    from scipy.special import ndtr, stdtrit

    wide = -stdtrit(rows - 1, (1 - level) / 2) * math.sqrt((rows + 1) / (rows - 1))
    return float(ndtr(-wide))


def around(value: float, drawn: Any, rows: int, level: float) -> tuple[float | None, float | None]:
    """The interval, widened to hold the value itself; None for an end nobody knows."""
    low, high = ends(drawn, rows, level)
    if not math.isfinite(value) or not math.isfinite(low):
        return None, None
    return min(low, value), max(high, value)


def p_value(drawn: Any) -> float:
    """Two-sided, that the difference is nothing: the share of draws on its smaller side, twice; 1 where nothing differs."""
    import numpy as np

    if not np.any(drawn):
        return 1.0
    below, above = float(np.mean(drawn <= 0)), float(np.mean(drawn >= 0))
    return min(1.0, 2 * max(min(below, above), 1 / len(drawn)))
