"""How far apart two samples are, from counts over the same cells. All functions take shares of shape (..., cells).

The numbers are scipy's own on the same cells, and near scipy's on the raw values (tests).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.counts import Bins
from nbdeploy.watch.cells import cells_of
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts

NAMES = ("psi", "jensen_shannon", "wasserstein", "chi_square")


def distances(reference: Counts | None, window: Counts | None) -> dict[str, float | NotComputable]:
    """Each of NAMES; what cannot be computed is named with its reason and hides no other."""
    cells = cells_of(reference)
    if isinstance(cells, NotComputable):
        return dict.fromkeys(NAMES, cells)
    counts = cells.counted(window)
    if isinstance(counts, NotComputable):
        return dict.fromkeys(NAMES, counts)
    trained, served = cells.grouped(cells.reference), cells.grouped(counts)
    return {
        "psi": psi(trained, served),
        "jensen_shannon": float(jensen_shannon(shares(trained), shares(served))),
        "wasserstein": _whole_wasserstein(reference, window),
        "chi_square": cramers_v(trained, served),
    }


def shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def psi(trained: NDArray[np.float64], served: NDArray[np.float64]) -> float:
    """Population stability index, sum of (q - p) ln(q / p) (Siddiqi 2006, "Credit Risk Scorecards"; the symmetric
    divergence of Jeffreys 1946). An empty cell counts as half a row; a cell empty on both sides as nothing.
    """
    used = (trained > 0) | (served > 0)
    p = shares(np.maximum(trained[used], 0.5))
    q = shares(np.maximum(served[used], 0.5))
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The metric, base 2, from 0 to 1 (Endres and Schindelin 2003, IEEE Trans. Inf. Theory 49, 1858)."""
    mixed = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log2(p / mixed), 0.0)
        right = np.where(q > 0, q * np.log2(q / mixed), 0.0)
    return np.asarray(np.sqrt(np.maximum((left + right).sum(axis=-1) / 2, 0.0)))


def wasserstein(p: NDArray[np.float64], q: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first Wasserstein distance of shares at ordered positions: the area between the two distribution functions
    (Vallender 1974, Theory of Probability and its Applications 18, 784).
    """
    apart = np.abs(np.cumsum(q - p, axis=-1))
    return np.asarray(apart[..., :-1] @ np.diff(positions))


def cramers_v(trained: NDArray[np.float64], served: NDArray[np.float64]) -> float:
    """sqrt(chi-square / rows) of the table of two samples by cells, from 0 to 1 (Cramer 1946, "Mathematical Methods of
    Statistics", 21.9): Cohen's w where they are of equal size.
    """
    table = np.array([trained, served])[:, trained + served > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return float(np.sqrt(np.sum((table - expected) ** 2 / expected) / table.sum()))


def _whole_wasserstein(reference: Counts | None, window: Counts | None) -> float | NotComputable:
    """With the tails where they are: values beyond the training range lie in the middle of their bucket."""
    if not isinstance(reference, Bins) or not isinstance(window, Bins):
        return NotComputable("categories have no order")
    if not reference.scale:
        return NotComputable("it is constant in the training sample")
    positions = _positions(reference, window) / reference.scale
    trained, served = np.asarray(reference.counts, float), np.asarray(window.counts, float)
    return float(wasserstein(shares(trained), shares(served), positions))


def _positions(reference: Bins, window: Bins) -> NDArray[np.float64]:
    """Training means of the bins; elsewhere the middle of a bin, as far as this window reaches into it."""
    edges = np.asarray(reference.edges)
    lows = np.concatenate([[-np.inf], edges])
    highs = np.concatenate([edges, [np.inf]])
    if window.low is not None and window.high is not None:
        lows = np.where((lows < window.low) & (window.low < highs), window.low, lows)
        highs = np.where((lows < window.high) & (window.high < highs), window.high, highs)
    lows, highs = np.where(np.isinf(lows), highs, lows), np.where(np.isinf(highs), lows, highs)
    known = np.array([np.nan if centre is None else centre for centre in reference.centres])
    return np.maximum.accumulate(np.where(np.isnan(known), (lows + highs) / 2, known))
