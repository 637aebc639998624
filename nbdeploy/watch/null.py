"""The null distribution: how far a window drawn from the reference's own population lies from the reference.

Resampling a binned reference is a multinomial draw, exact for every statistic of the bins. The reference is a sample
itself; windows as large as it differ from it mostly by its own error, so the population is drawn anew each time from what
the reference leaves possible (Rubin 1981, "The Bayesian bootstrap", Annals of Statistics 9, 130).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from nbdeploy.watch.distance import jensen_shannon, shares, wasserstein

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nbdeploy.watch.cells import Cells

DRAWS = (3_000, 60_000)  # fewest and most
WORK = 120_000  # cells drawn, for a window: more draws where cells are few and statistics take few values
ROUNDING = 1e-9  # the value itself is not beyond it: with few rows many windows share one value
TOP = 60  # the largest draws, which say how the tail goes on


def statistics(cells: Cells, counts: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """What is tested, for windows of shape (..., cells)."""
    trained = shares(cells.grouped(cells.reference))
    found = {"jensen_shannon": jensen_shannon(trained, shares(cells.grouped(counts)))}
    if cells.positions is not None:
        found["wasserstein"] = wasserstein(shares(cells.reference), shares(counts), cells.positions)
    return found


Draws = dict[str, "NDArray[np.float64]"]


def drawn(cells: Cells, rows: int, windows: int, random: np.random.Generator) -> tuple[Draws, Draws]:
    """Of the statistics of one window, and of the least among `windows` on end, all of one population."""
    weights = cells.reference + cells.prior
    draws = int(np.clip(WORK // len(weights), *DRAWS))
    population = shares(random.standard_gamma(weights, size=(draws, len(weights))))
    least = first = statistics(cells, random.multinomial(rows, population))
    for _ in range(windows - 1):
        more = statistics(cells, random.multinomial(rows, population))
        least = {name: np.minimum(least[name], more[name]) for name in least}
    return first, least


def upper(draws: NDArray[np.float64], level: float) -> float:
    """What a share `level` of the draws exceeds.

    Beyond the largest TOP draws the tail is taken as exponential with their mean excess: for distances, which are norms of
    nearly normal vectors, the true tail falls faster (log-concave, so its mean excess shrinks), and the threshold errs
    towards silence.
    """
    top = min(TOP, len(draws) // 4)
    if level * len(draws) >= top:
        found = float(np.quantile(draws, 1 - level, method="higher"))
    else:
        tail = np.partition(draws, len(draws) - top - 1)[-top - 1 :]
        start = float(tail.min())
        found = start + float(np.sum(tail - start)) / top * math.log(top / len(draws) / level)
    return found * (1 + ROUNDING)


_ODDS = np.linspace(-18.0, 18.0, 181)
_QUANTILES = special.expit(_ODDS)
_WEIGHTS = np.gradient(_QUANTILES) / np.gradient(_QUANTILES).sum()


class Share:
    """The share of a kind of row, seen `count` times among `rows` of the reference: exact, by the beta distribution.

    `prior` is added to the count, a half to the others.
    """

    def __init__(self, count: float, rows: float, prior: float = 1.0) -> None:
        self.never = count == 0
        self._population = special.betaincinv(count + prior, rows - count + 0.5, _QUANTILES)

    def limits(self, rows: int, windows: int, level: float) -> tuple[float, float | None]:
        """Shares of a window of `rows`: at or above the first, at or below the second (None: no share is too low),
        `windows` times on end, has a chance of at most `level`.
        """
        part = level if self.never else level / 2
        high = _least(
            rows + 1, lambda count: self._chance(special.bdtrc(count - 1, rows, self._population), windows) <= part
        )
        if self.never:
            return high / rows, None
        low = (
            _least(rows + 1, lambda count: self._chance(special.bdtr(count, rows, self._population), windows) > part)
            - 1
        )
        return high / rows, low / rows if low >= 0 else None

    def _chance(self, exceeded: NDArray[np.float64], windows: int) -> float:
        return float(_WEIGHTS @ exceeded**windows)


def _least(count: int, holds: Any) -> int:
    """The least of 0 to `count` for which a condition holds that goes on holding; `count` if there is none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
