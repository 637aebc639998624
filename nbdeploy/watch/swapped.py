"""`Swap`: two columns that arrive under each other's name: the traffic of each is like the training of the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.capture.counts import Bins
from nbdeploy.watch.quantiles import quantiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbdeploy.watch.drift import ColumnDrift

AT = (0.1, 0.25, 0.5, 0.75, 0.9)
ALIKE = 0.35  # of the distance from the lowest to the highest training value: bins far from a column's own are wide
MOST = 40  # columns whose pairs are looked at


@dataclass(frozen=True)
class Swap:
    first: str
    second: str

    @property
    def text(self) -> str:
        first, second = (name.removeprefix("input.") for name in (self.first, self.second))
        return f"{first} and {second} look swapped: each has the values that the other had in training"


def swaps(columns: Sequence[ColumnDrift]) -> Iterator[Swap]:
    """Among columns that are beyond their threshold, numbers only: of categories, unseen values are counted, not kept."""
    numbers = [
        column for column in columns if isinstance(column.counts[0], Bins) and isinstance(column.counts[1], Bins)
    ]
    taken: set[str] = set()
    for one, other in combinations(numbers[:MOST], 2):
        if not {one.name, other.name} & taken and _crossed(one, other) and _crossed(other, one):
            taken |= {one.name, other.name}
            yield Swap(one.name, other.name)


def _crossed(one: ColumnDrift, other: ColumnDrift) -> bool:
    """Whether the values of `one` lie where those of `other` lay in training, and no longer where its own did."""
    served, own, theirs = one.counts[1], one.counts[0], other.counts[0]
    if not (isinstance(served, Bins) and isinstance(own, Bins) and isinstance(theirs, Bins)):
        return False
    away, near = _apart(served, own), _apart(served, theirs)
    return away is not None and near is not None and near < ALIKE and near < away / 2


def _apart(served: Bins, trained: Bins) -> float | None:
    """The largest distance of the ends and the middle quantiles, in the training sample's span."""
    if served.low is None or served.high is None or trained.low is None or trained.high is None:
        return None
    span = trained.high - trained.low
    if not span:
        return None
    ends = _largest(((served.low, trained.low), (served.high, trained.high)), span)
    if _resolved(served):
        now, before = quantiles(served, AT), quantiles(trained, AT)
        if now is not None and before is not None:
            return max(ends, float(np.max(np.abs(now - before))) / span)
    return ends


def _largest(pairs: Iterable[tuple[float, float]], span: float) -> float:
    return max(abs(now - before) for now, before in pairs) / span


def _resolved(bins: Bins) -> bool:
    """Whether the values lie in so many bins that their quantiles mean something."""
    return int(np.sum(np.asarray(bins.counts) > 0.02 * sum(bins.counts))) >= 8
