"""Training against now as two rows of bars over the same values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.capture.counts import Bins, Tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts

BARS = 20
CATEGORIES = 8
MARGIN = 0.15  # of the training range, at either end; what lies beyond is in the first and the last bar


@dataclass(frozen=True)
class Histogram:
    """Shares of the values that are there."""

    before: tuple[float, ...]
    now: tuple[float, ...]


def histogram(before: Counts | None, now: Counts | None) -> Histogram | None:
    """None where there is nothing to draw."""
    if isinstance(before, Bins) and isinstance(now, Bins):
        return _of_bins(before, now)
    if isinstance(before, Tally) and isinstance(now, Tally):
        return _of_tallies(before, now)
    return None


def _of_bins(before: Bins, now: Bins) -> Histogram | None:
    if before.low is None or before.high is None or not sum(now.counts):
        return None
    single = _single(before)
    half = _half(before, single)
    span = (before.high - before.low) or abs(before.low) or 1.0
    low, high = before.low - MARGIN * span - half, before.high + MARGIN * span + half
    inner = np.linspace(low, high, BARS + 1)[1:-1]
    old, new = (_shares(bins, inner, single, half) for bins in (before, now))
    return Histogram(old, new)


def _single(before: Bins) -> NDArray[np.bool_]:
    """Bins of one training value alone, their lower end: of numbers of which there are few."""
    found = np.zeros(len(before.counts), dtype=bool)
    for place, centre in enumerate(before.centres):
        if place and centre is not None:
            found[place] = math.isclose(centre, before.edges[place - 1], rel_tol=1e-9)
    return found


def _half(before: Bins, single: NDArray[np.bool_]) -> float:
    """Half of the least way from such a value to the next bin that holds any: room for the one, and for all the same."""
    held = np.flatnonzero(np.asarray(before.counts))
    ways = [
        before.edges[after - 1] - before.edges[place - 1]
        for place, after in zip(held[:-1].tolist(), held[1:].tolist(), strict=True)
        if single[place]
    ]
    return min(ways, default=0.0) / 2


def _shares(bins: Bins, at: NDArray[np.float64], single: NDArray[np.bool_], half: float) -> tuple[float, ...]:
    """Spread evenly over a bin, between the lowest and the highest value; single ones to both sides of themselves."""
    if bins.low is None or bins.high is None:
        return (0.0,) * (len(at) + 1)
    edges = np.clip([bins.low, *bins.edges, bins.high], bins.low, bins.high)
    begins = np.where(single, edges[:-1] - half, edges[:-1])
    ends = np.where(single, edges[:-1] + half, edges[1:])
    wide = ends > begins
    inside = (at[:, None] - begins) / np.where(wide, ends - begins, 1.0)
    below = np.where(wide, inside.clip(0.0, 1.0), at[:, None] > begins)
    levels = below @ np.asarray(bins.counts, dtype=np.float64) / max(sum(bins.counts), 1)
    return tuple(np.diff(levels, prepend=0.0, append=1.0).clip(0.0).tolist())


def _of_tallies(before: Tally, now: Tally) -> Histogram | None:
    """The categories whose shares are largest in either, the rest together."""
    old, new = sum(before.counts) + before.other, sum(now.counts) + now.other
    if not new or before.seen != now.seen:
        return None
    shares = [(a / max(old, 1), b / new) for a, b in zip(before.counts, now.counts, strict=True)]
    chosen = sorted(range(len(shares)), key=lambda place: -max(shares[place]))[:CATEGORIES]
    rest = (1 - sum(shares[place][0] for place in chosen), 1 - sum(shares[place][1] for place in chosen))
    bars = [shares[place] for place in chosen] + ([rest] if max(rest) >= 1e-9 else [])
    return Histogram(tuple(max(bar[0], 0.0) for bar in bars), tuple(max(bar[1], 0.0) for bar in bars))
