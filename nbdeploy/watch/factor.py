"""`Factor`: by what a column's values were multiplied, measured where the window's quantiles are exact, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Bins

SURELY = 2.6  # standard errors within which a value is held to lie
LOOSELY = 1.6  # the same of the lowest and the highest value, which are no normal variables
EXTREME = 5.0  # values among which the lowest of a population's sample of this size surely is
WITHIN = 0.25  # of a bin: what straight lines within it may be wrong by


@dataclass(frozen=True)
class Factor:
    """`error` is the standard error, a share of `value`."""

    value: float
    error: float


@dataclass(frozen=True)
class Pins:
    """Values of the window whose quantile is known, and between which values of the reference that quantile surely lies."""

    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def fit(self, by: float, plus: float) -> bool:
        """Whether location and spread, at every pin, are those of the reference after this conversion."""
        ends = np.stack([self.low * by + plus, self.high * by + plus])
        slack = 1e-9 * max(1.0, float(np.max(np.abs(self.values))))
        return bool(np.all((ends.min(axis=0) - slack <= self.values) & (self.values <= ends.max(axis=0) + slack)))

    def factor(self) -> Factor | None:
        """Of the pins that have one sign; None without any."""
        usable = (self.low * self.high > 0) & (self.values * self.low > 0)
        if not usable.any():
            return None
        low, high = np.log(np.abs(self.low[usable])), np.log(np.abs(self.high[usable]))
        certain = np.full(len(self.values), SURELY)
        certain[[0, -1]] = LOOSELY
        errors = np.maximum(np.abs(high - low) / (2 * certain[usable]), 1e-6)
        weights = errors**-2
        logs = np.log(np.abs(self.values[usable])) - (low + high) / 2
        return Factor(float(np.exp(np.sum(weights * logs) / np.sum(weights))), float(np.min(errors)))


def pins(reference: Bins, window: Bins, *, turned: bool = False) -> Pins | None:
    """Edges between the lowest and the highest value of the window, and these two. `turned`: the largest was the smallest."""
    low, high = window.low, window.high
    rows, trained = sum(window.counts), sum(reference.counts)
    if low is None or high is None or reference.low is None or reference.high is None or not rows or not trained:
        return None
    edges = np.asarray(window.edges)
    shares = np.cumsum(window.counts)[:-1] / rows
    inner = (edges > low) & (edges < high) & (shares > 0) & (shares < 1)
    end = min(EXTREME / min(rows, trained), 1.0)
    errors = np.maximum(SURELY * np.sqrt(shares[inner] * (1 - shares[inner]) * (1 / rows + 1 / trained)), end)
    begins = np.concatenate([[0.0], shares[inner] - errors, [1 - end]])
    ends = np.concatenate([[end], shares[inner] + errors, [1.0]])
    if turned:
        begins, ends = 1 - ends, 1 - begins
    lows, highs = _between(reference, begins.clip(0, 1), ends.clip(0, 1))
    at_ends = _between(reference, np.array([0.0, 1 - end]), np.array([end, 1.0]))
    first, last = at_ends[1] - at_ends[0]  # how far the reference's own ends, a sample's too, may lie from others
    lows, highs = np.where(begins <= 0, lows - first, lows), np.where(ends >= 1, highs + last, highs)
    return Pins(np.concatenate([[low], edges[inner], [high]]), lows, highs)


def _between(
    reference: Bins, begins: NDArray[np.float64], ends: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles by straight lines within a bin, less and more by WITHIN; wholly where a bin holds its lower edge alone."""
    low, high = reference.low, reference.high
    bounds = np.clip([low, *reference.edges, high], low, high)
    below = np.concatenate([[0.0], np.cumsum(reference.counts)]) / sum(reference.counts)
    known = [None if centre is None else float(centre) for centre in reference.centres] or [None] * len(
        reference.counts
    )
    single = np.array([centre is not None and centre == bounds[place] for place, centre in enumerate(known)])
    width = np.diff(bounds)

    def at(shares: NDArray[np.float64], side: str) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        ascending = below + np.arange(len(below)) * 1e-12
        place = np.searchsorted(ascending, shares, side="right" if side == "low" else "left") - 1
        return np.interp(shares, ascending, bounds), np.clip(place, 0, len(width) - 1)

    lows, first = at(begins, "low")
    highs, last = at(ends, "high")
    lows = np.where(single[first], bounds[first], np.maximum(lows - WITHIN * width[first], bounds[first]))
    highs = np.where(single[last], bounds[last + 1], np.minimum(highs + WITHIN * width[last], bounds[last + 1]))
    return lows, highs
