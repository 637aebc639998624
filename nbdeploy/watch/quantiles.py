"""Quantiles and means of counted numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Bins


def quantiles(bins: Bins, at: Sequence[float]) -> NDArray[np.float64] | None:
    """Straight lines within a bin, between the lowest and the highest value; None without values."""
    if bins.low is None or bins.high is None or not sum(bins.counts):
        return None
    edges = np.clip([bins.low, *bins.edges, bins.high], bins.low, bins.high)
    below = np.concatenate([[0.0], np.cumsum(bins.counts)]) / sum(bins.counts)
    return np.asarray(np.interp(at, below + np.arange(len(below)) * 1e-12, edges))
