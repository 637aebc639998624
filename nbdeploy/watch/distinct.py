"""`Distinct`: how many different rows there were, exactly while they are few, with a known error beyond.

The smallest KEPT hashes are kept (Bar-Yossef et al. 2002, "Counting distinct elements in a data stream"): with the largest of
them at a share x of all hashes, there are about KEPT / x rows. The relative error is 1 / sqrt(KEPT), 0.4 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts

KEPT = 65_536
_ALL = 2.0**64


def _none() -> NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


@dataclass(frozen=True)
class Distinct:
    """`rows` were counted. Mergeable in any order: `hashes` are the smallest of the whole."""

    rows: int = 0
    hashes: NDArray[np.uint64] = field(default_factory=_none)

    def counted(self, frame: pd.DataFrame) -> Distinct:
        """These rows added."""
        return self.added(hashes_of(frame))

    def added(self, hashes: NDArray[np.uint64]) -> Distinct:
        """The rows with these hashes added."""
        return self.merged(Distinct(len(hashes), _smallest(hashes)))

    def merged(self, other: Distinct) -> Distinct:
        return Distinct(self.rows + other.rows, _smallest(np.concatenate([self.hashes, other.hashes])))

    @property
    def exact(self) -> bool:
        return len(self.hashes) < KEPT

    @property
    def count(self) -> int:
        if self.exact:
            return len(self.hashes)
        return min(self.rows, round((KEPT - 1) / (float(self.hashes[-1]) / _ALL)))

    @property
    def duplicates(self) -> int:
        return self.rows - self.count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distinct) and self.rows == other.rows and np.array_equal(self.hashes, other.hashes)

    def __hash__(self) -> int:
        return hash((self.rows, self.hashes.tobytes()))


def expected(columns: Iterable[Counts], rows: int) -> float:
    """How many different ones so many independent rows are, at least: two are taken for alike as often as all their columns
    lie in the same bins, each for itself. `columns` are those by which rows are told apart.
    """
    alike = 1.0
    for counts in columns:
        shares = np.asarray([*counts.counts, counts.missing], dtype=np.float64)
        if shares.sum():
            alike *= float(np.sum((shares / shares.sum()) ** 2))
    return rows if alike < 1e-15 else float(-np.expm1(rows * np.log1p(-min(alike, 1 - 1e-9))) / alike)


def hashes_of(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """One for each row."""
    from pandas.util import hash_pandas_object

    try:
        hashes = hash_pandas_object(frame, index=False)
    except (TypeError, UnicodeEncodeError):  # cells that are lists or objects, half characters
        hashes = hash_pandas_object(frame.astype(object).where(frame.notna(), None).map(ascii), index=False)
    return np.asarray(hashes.to_numpy(dtype=np.uint64))


def _smallest(hashes: NDArray[Any]) -> NDArray[np.uint64]:
    """Sorted, each once; three times as fast as numpy.unique, which hashes them again."""
    ordered = np.sort(hashes)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return np.asarray(ordered[first][:KEPT])
