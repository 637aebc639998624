"""Populations with known distributions, and windows of them drawn as counts: what false-alarm rates are measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from nbdeploy.capture.counts import Bins, Counts, Tally, counts_of
from nbdeploy.capture.profile import Profile
from nbdeploy.watch.distance import shares
from nbdeploy.watch.window import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Population:
    """Either a distribution of scipy or the shares of the categories 0, 1, ...; `missing` is a share of the rows."""

    distribution: Any = None
    shares: tuple[float, ...] = ()
    missing: float = 0.0

    def reference(self, rows: int, random: np.random.Generator) -> Counts:
        if self.shares:
            return counts_of("category", random.choice(len(self.shares), rows, p=self.shares).tolist(), None)
        values = np.asarray(self.distribution.rvs(rows, random_state=random), dtype=float)
        values[random.random(rows) < self.missing] = np.nan
        column: Any = values
        return counts_of("number", column, None)

    def windows(self, reference: Counts, rows: int, count: int, random: np.random.Generator) -> list[Counts]:
        """Counts over the reference's bins have a multinomial distribution, so no row need be drawn."""
        missing = random.binomial(rows, self.missing, count)
        drawn = random.multinomial(rows - missing, self._of_bins(reference))
        return [_counted(reference, line, int(absent)) for line, absent in zip(drawn, missing, strict=True)]

    def _of_bins(self, reference: Counts) -> NDArray[np.float64]:
        if isinstance(reference, Tally):
            listed = [self.shares[int(value)] for value in reference.seen]
            return shares(np.array([*listed, max(1 - sum(listed), 0.0)]))
        edges = np.asarray(reference.edges)
        whole = hasattr(self.distribution, "pmf")
        below = self.distribution.cdf(np.ceil(edges) - 1 if whole else edges)
        return shares(np.maximum(np.diff(below, prepend=0.0, append=1.0), 0.0))


def _counted(reference: Counts, line: NDArray[Any], missing: int) -> Counts:
    counts = [int(count) for count in line]
    if isinstance(reference, Bins):
        return replace(reference, counts=tuple(counts), missing=missing)
    return replace(reference, counts=tuple(counts[:-1]), other=counts[-1], missing=missing)


MIXED = (
    Population(stats.norm(170, 10)),
    Population(stats.lognorm(1.5), missing=0.02),  # values beyond the training range, far out
    Population(stats.expon(), missing=0.3),
    Population(stats.t(2)),
    Population(stats.cauchy()),
    Population(stats.uniform()),
    Population(stats.poisson(0.05)),  # nearly always one value
    Population(stats.poisson(3)),
    Population(shares=(0.5, 0.3, 0.2)),
    Population(shares=(0.9, 0.09, 0.009, 0.0009, 0.0001)),  # a category that a sample may not have
    Population(shares=(0.999, 0.001)),
    Population(shares=tuple(1 / rank / 6.28266388 for rank in range(1, 301))),  # far more values than are listed
)


def sampled(populations: tuple[Population, ...], rows: int, random: np.random.Generator) -> Profile:
    columns = {str(place): population.reference(rows, random) for place, population in enumerate(populations)}
    return Profile(rows=rows, columns=columns)


def traffic(
    populations: tuple[Population, ...], reference: Profile, rows: int, count: int, random: np.random.Generator
) -> list[Window]:
    """`count` windows of `rows`; columns are independent, which is the worst case for a budget over all of them."""
    drawn = {
        name: population.windows(counts, rows, count, random)
        for (name, counts), population in zip(reference.columns.items(), populations, strict=True)
    }
    return [
        Window(Profile(rows=rows, columns={name: windows[place] for name, windows in drawn.items()}))
        for place in range(count)
    ]
