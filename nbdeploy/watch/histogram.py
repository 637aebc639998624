"""Training against now as two rows of bars over the same values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.capture.counts import Bins, Tally

if TYPE_CHECKING:
    from nbdeploy.capture.counts import Counts

BARS = 20
CATEGORIES = 8
MARGIN = 0.15  # of the training range, at either end; what lies beyond is in the first and the last bar


@dataclass(frozen=True)
class Histogram:
    """Shares of the values that are there. `labels` are those of the bars of categories, else the two ends."""

    before: tuple[float, ...]
    now: tuple[float, ...]
    labels: tuple[str, ...]

    @property
    def categories(self) -> bool:
        return len(self.labels) == len(self.before) and len(self.labels) != 2


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
    span = (before.high - before.low) or abs(before.low) or 1.0
    low, high = before.low - MARGIN * span, before.high + MARGIN * span
    inner = np.linspace(low, high, BARS + 1)[1:-1]
    return Histogram(_shares(before, inner), _shares(now, inner), (f"{before.low:.4g}", f"{before.high:.4g}"))


def _shares(bins: Bins, at: np.ndarray) -> tuple[float, ...]:
    """Straight lines within a bin, between the lowest and the highest value."""
    low, high = bins.low, bins.high
    if low is None or high is None:
        return (0.0,) * (len(at) + 1)
    edges = np.clip([low, *bins.edges, high], low, high)
    below = np.concatenate([[0.0], np.cumsum(bins.counts)]) / max(sum(bins.counts), 1)
    if low == high:
        levels = (at > low).astype(float)
    else:
        levels = np.interp(at, edges + np.arange(len(edges)) * 1e-12 * max(abs(low), abs(high), 1e-300), below)
    return tuple(np.diff(levels, prepend=0.0, append=1.0).clip(0.0).tolist())


def _of_tallies(before: Tally, now: Tally) -> Histogram | None:
    """The categories whose shares are largest in either, the rest together."""
    old, new = sum(before.counts) + before.other, sum(now.counts) + now.other
    if not new or before.seen != now.seen:
        return None
    shares = [(a / max(old, 1), b / new) for a, b in zip(before.counts, now.counts, strict=True)]
    chosen = sorted(range(len(shares)), key=lambda place: -max(shares[place]))[:CATEGORIES]
    rest = (1 - sum(shares[place][0] for place in chosen), 1 - sum(shares[place][1] for place in chosen))
    bars = [shares[place] for place in chosen] + [rest]
    labels = [str(before.seen[place]) for place in chosen] + ["other"]
    if max(rest) < 1e-9:
        bars, labels = bars[:-1], labels[:-1]
    return Histogram(tuple(max(bar[0], 0.0) for bar in bars), tuple(max(bar[1], 0.0) for bar in bars), tuple(labels))
