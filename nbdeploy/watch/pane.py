"""`Pane`: what a part of the log has of one window, in counts that add up.

A window is the sum of its panes, and those of a closed segment never change: they are counted once (Li et al. 2005, "No pane,
no gain: efficient evaluation of sliding-window aggregates over data streams").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.watch.distinct import Distinct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts
    from nbdeploy.watch.baseline import Baseline
    from nbdeploy.watch.computable import NotComputable

SHARES = 2_000  # answers of a window whose probabilities are kept, drawn evenly


@dataclass(frozen=True)
class Sample:
    """Rows of shares drawn evenly: those of the smallest random `numbers`, so that parts can be added."""

    numbers: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rows: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def drawn(cls, rows: NDArray[np.float64], random: np.random.Generator) -> Sample:
        return cls(*_fewest(random.random(len(rows)), rows))

    def merged(self, other: Sample) -> Sample:
        if not len(self.numbers) or not len(other.numbers):
            return self if len(self.numbers) else other
        numbers, rows = np.concatenate([self.numbers, other.numbers]), np.concatenate([self.rows, other.rows])
        return Sample(*_fewest(numbers, rows))


@dataclass(frozen=True)
class Pane:
    """`rows` of one version; `counts` by the names of `Baseline.parts`, of those that have values here. `given` are the
    different rows, `asked` the different questions: a row asked of two methods is two. `sample` is of the probabilities.
    """

    rows: int = 0
    counts: Mapping[str, Counts] = field(default_factory=dict)
    asked: Distinct = field(default_factory=Distinct)
    given: Distinct = field(default_factory=Distinct)
    sample: Sample = field(default_factory=Sample)

    def merged(self, other: Pane) -> Pane:
        counts = {**other.counts, **self.counts}
        counts |= {name: own.merged(other.counts[name]) for name, own in self.counts.items() if name in other.counts}
        asked = self.asked.merged(other.asked)
        alike = self.asked is self.given and other.asked is other.given
        return Pane(
            rows=self.rows + other.rows,
            counts=counts,
            asked=asked,
            given=asked if alike else self.given.merged(other.given),
            sample=self.sample.merged(other.sample),
        )


@dataclass
class Panes:
    """Of one version, by the place of their window. `broken` are parts (`Baseline.parts`), and why: one column never hides
    the others.
    """

    by_place: dict[int, Pane] = field(default_factory=dict)
    broken: dict[str, NotComputable] = field(default_factory=dict)

    @classmethod
    def over(cls, baseline: Baseline) -> Panes:
        """None yet."""
        return cls(broken=baseline.broken())

    def put(self, place: int, pane: Pane) -> None:
        self.by_place[place] = self.by_place[place].merged(pane) if place in self.by_place else pane

    def add(self, other: Panes) -> None:
        self.broken |= other.broken
        for place, pane in other.by_place.items():
            self.put(place, pane)


def _fewest(numbers: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kept = np.sort(np.argsort(numbers, kind="stable")[:SHARES])
    return numbers[kept], rows[kept]
