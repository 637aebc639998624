"""The values of two samples over the same cells: what distances and their thresholds are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.counts import Bins, Counts, Tally
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 20  # values of a window; below that nothing smaller than a catastrophe is visible
MANY = 15  # more cells than this are taken together where only their shares count
GROUPS = 12
RARE = 10  # training rows below which a value of a list that was cut has no cell of its own
BEYOND = 0.05  # spans beyond the training range; where a value outside it is held to lie when distances are judged


@dataclass(frozen=True)
class Cells:
    """Neighbouring bins of a reference, or values of its list, with what it counted in each; missing ones are nowhere.

    `prior` is what must be added to the counts to leave room for values the reference has not shown. Quantile bins of a
    sample hold Dirichlet(counts) of the population, with one more for each end (David and Nagaraja 2003, "Order
    Statistics", 2.5); unseen categories get the number of those seen once (Good 1953), at least one.
    `positions` are in training standard deviations, None without an order. `groups` are where the coarser cells begin.
    """

    whole: Counts
    starts: NDArray[np.intp]
    reference: NDArray[np.float64]
    prior: NDArray[np.float64]
    unseen: NDArray[np.bool_]
    positions: NDArray[np.float64] | None
    groups: NDArray[np.intp]

    def counted(self, window: Counts | None) -> NDArray[np.float64] | NotComputable:
        """The window's values over these cells."""
        if window is None or not window.total:
            return NotComputable("it is not in this window")
        if not self._same_bins(window):
            return NotComputable("it was counted over other bins")
        counts = np.add.reduceat(_line(window), self.starts)
        present = int(counts.sum())
        if not present:
            return NotComputable("every value is missing")
        if present < FEWEST:
            return NotComputable(f"too few values: {present}, at least {FEWEST} are needed")
        return np.asarray(counts)

    def grouped(self, counts: NDArray[Any]) -> NDArray[Any]:
        """`counts` of shape (..., cells) over the coarser cells."""
        return counts if len(self.groups) == counts.shape[-1] else np.add.reduceat(counts, self.groups, axis=-1)

    def _same_bins(self, window: Counts) -> bool:
        if isinstance(self.whole, Bins):
            return isinstance(window, Bins) and window.edges == self.whole.edges
        return isinstance(window, Tally) and window.seen == self.whole.seen


def cells_of(reference: Counts | None) -> Cells | NotComputable:
    if reference is None:
        return NotComputable("it was not counted in the training sample")
    if reference.kind == "datetime":
        return NotComputable("time moves on by itself")
    if not _line(reference).sum():
        return NotComputable("every value of the training sample is missing")
    return _of_bins(reference) if isinstance(reference, Bins) else _of_tally(reference)


def _line(counts: Counts) -> NDArray[np.float64]:
    other = (counts.other,) if isinstance(counts, Tally) else ()
    return np.array([*counts.counts, *other], dtype=np.float64)


def _of_tally(reference: Tally) -> Cells:
    """Listed values are the most frequent ones of the sample. Where the list was cut, those at its end are there by luck
    and will be rarer in any other sample, so they count with the values not listed.
    """
    trained = _line(reference)
    kept = int(np.sum(trained[:-1] >= RARE)) if reference.other else len(reference.counts)
    starts = np.arange(kept + 1)
    counts = np.add.reduceat(trained, starts)
    prior = np.where(counts == 0, 0.5, 0.0)
    if not reference.other:
        prior[-1] = max(1.0, float(np.sum(counts == 1)))
    unseen = np.append(np.zeros(kept, dtype=bool), not reference.other)
    return Cells(reference, starts, counts, prior, unseen, None, starts)


def _of_bins(reference: Bins) -> Cells:
    """Below the training range, its bins, above it. The largest value's own bin joins its neighbour."""
    trained = _line(reference)
    first, last = inside(reference)
    starts = np.array([0, *range(first, last + 1), last + 1])
    if trained[last] <= 1 and last > first:
        starts = np.delete(starts, -2)
    counts = np.add.reduceat(trained, starts)
    ends = np.zeros(len(starts), dtype=bool)
    ends[[0, -1]] = True
    prior = np.where(ends, 1.0, np.where(counts == 0, 0.5, 0.0))
    places = _positions(reference, starts, counts)
    return Cells(reference, starts, counts, prior, ends & (counts == 0), places, _groups(counts))


def inside(reference: Bins) -> tuple[int, int]:
    """The first and the last bin that holds training values; there is at least one bin on either side of them."""
    held = np.flatnonzero(reference.counts)
    if not len(held):
        return 1, 1
    return max(int(held[0]), 1), min(int(held[-1]), len(reference.counts) - 2)


def _groups(counts: NDArray[np.float64]) -> NDArray[np.intp]:
    """The ends alone; between them, where cells are many, groups of at least a GROUPSth of the sample."""
    if len(counts) - 2 <= MANY:
        return np.arange(len(counts))
    starts = [0, 1]
    for place in range(2, len(counts) - 1):
        held, left = counts[starts[-1] : place].sum(), counts[place:].sum()
        if min(held, left) >= counts.sum() / GROUPS:
            starts.append(place)
    return np.array([*starts, len(counts) - 1])


def _positions(reference: Bins, starts: NDArray[Any], counts: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Training means of the cells, from the whole mean, in standard deviations."""
    scale, low, high = reference.scale, reference.low, reference.high
    if not scale or low is None or high is None:
        return None
    edges = np.asarray(reference.edges)
    lows, highs = np.append(edges[0], edges), np.append(edges, edges[-1])
    known = np.array([np.nan if centre is None else centre for centre in reference.centres])
    centres = np.where(np.isnan(known), (lows + highs) / 2, known)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.add.reduceat(centres * np.asarray(reference.counts), starts) / counts
    means = np.where(counts > 0, means, centres[starts])
    span = (high - low) * BEYOND
    for end, beyond in ((0, low - span), (-1, high + span)):
        means[end] = means[end] if counts[end] else beyond
    middle = float(np.sum(means * counts) / counts.sum())
    return np.asarray((np.maximum.accumulate(means) - middle) / scale)
