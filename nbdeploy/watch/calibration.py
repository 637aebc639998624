"""Thresholds that keep a false-alarm budget, for the reference and the window size at hand."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.capture.counts import Bins, Counts
from nbdeploy.watch.budget import Budget
from nbdeploy.watch.cells import FEWEST, cells_of
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.null import Share, lasting, upper
from nbdeploy.watch.power import smallest_share, smallest_shift

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1  # of the cache; raise it when a threshold is computed in another way
BUCKETS = 8  # window sizes for each doubling that have thresholds of their own


@dataclass(frozen=True)
class Limit:
    """A statistic at or above `high`, or at or below `low`, is beyond what the budget allows. `visible` is the smallest
    change seen in four cases of five: of a share, or of the mean in training standard deviations.
    """

    high: float
    low: float | None = None
    visible: float | None = None

    def exceeded(self, value: float) -> bool:
        return value >= self.high or (self.low is not None and value <= self.low)


class Calibration:
    """The limits of every part of a reference: name -> test -> Limit, for any number of rows.

    Tests: `jensen_shannon` and `wasserstein` (numbers) of the values that are there, `unseen` and `missing` shares of
    the rows. They are computed when first asked for and kept in memory, and by `save` in `folder`, by the reference's
    digest, the budget and the window size, which is rounded down: the thresholds of a smaller window are higher.
    """

    def __init__(
        self,
        parts: Mapping[str, Counts],
        budget: Budget | None = None,
        folder: Path | None = None,
        *,
        called: str = "training",
    ) -> None:
        self.called = called  # what the reference is, in words
        self.parts = parts
        self.budget = budget or Budget()
        self.tests = sum(len(tests_of(counts)) for counts in parts.values())
        self.digest = _digest(parts, self.budget)
        self.cells = {name: cells_of(counts) for name, counts in parts.items()}
        self._path = None if folder is None else folder / f"{self.digest}.json"
        self._kept = _read(self._path)
        self._changed = False

    def limits(self, name: str, rows: int, present: int) -> dict[str, Limit]:
        """Of one part, for a window of `rows` of which `present` have a value; no limit for what cannot be tested."""
        found = self._limits(name, "shares", rows) if rows else {}
        return found | (self._limits(name, "values", present) if present >= FEWEST else {})

    def save(self) -> None:
        if self._path is None or not self._changed:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(self._kept, default=asdict), encoding="utf-8")
        draft.replace(self._path)
        self._changed = False

    def _limits(self, name: str, kind: str, rows: int) -> dict[str, Limit]:
        size = bucket(rows)
        kept = self._kept.setdefault(f"{kind}:{size}", {})
        if name not in kept:
            kept[name] = self._shares(name, size) if kind == "shares" else self._values(name, size)
            self._changed = True
        return kept[name]

    def _shares(self, name: str, rows: int) -> dict[str, Limit]:
        counts, level = self.parts[name], self.budget.level(self.tests)
        windows = self.budget.persistence
        found = {}
        for test, (count, prior) in _shares_of(counts).items():
            high, low = Share(count, counts.total, prior).limits(rows, windows, level)
            found[test] = Limit(high, low, smallest_share(rows, windows, high))
        return found

    def _values(self, name: str, rows: int) -> dict[str, Limit]:
        cells = self.cells[name]
        if isinstance(cells, NotComputable):
            return {}
        seed = hashlib.sha256(f"{self.digest} {name} {rows}".encode("utf-8", "surrogatepass")).digest()
        random = np.random.default_rng(list(seed))
        windows, level = self.budget.persistence, self.budget.level(self.tests)
        highs = {test: upper(draws, level) for test, draws in lasting(cells, rows, windows, random).items()}
        visible = smallest_shift(cells, highs, rows, windows, random)
        return {test: Limit(high, visible=visible) for test, high in highs.items()}


def tests_of(counts: Counts) -> tuple[str, ...]:
    """What is tested of a column."""
    cells = cells_of(counts)
    if isinstance(cells, NotComputable):
        return tuple(_shares_of(counts)) if counts.total else ()
    values = ("jensen_shannon",) if cells.positions is None else ("jensen_shannon", "wasserstein")
    return (*values, *_shares_of(counts))


def _shares_of(counts: Counts) -> dict[str, tuple[float, float]]:
    """The rows of a kind that the reference has, and what to add for what it has not shown (see Cells.prior)."""
    odd = counts.odd if isinstance(counts, Bins) else 0
    found = {"missing": (float(counts.missing + odd), 1.0)} if counts.total else {}
    cells = cells_of(counts)
    if not isinstance(cells, NotComputable) and cells.unseen.any():
        found["unseen"] = (0.0, float(cells.prior[cells.unseen].sum()))
    return found


def bucket(rows: int) -> int:
    """The size whose thresholds serve a window of `rows`; itself below 2 * BUCKETS."""
    if rows < 2 * BUCKETS:
        return rows
    step = math.floor(math.log2(rows) * BUCKETS + 1e-9)
    return min(rows, math.ceil(2 ** (step / BUCKETS)))


def _digest(parts: Mapping[str, Counts], budget: Budget) -> str:
    held = [FORMAT, asdict(budget), {name: asdict(counts) for name, counts in parts.items()}]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path | None) -> dict[str, dict[str, dict[str, Limit]]]:
    """Kind and size -> part -> test -> limit. A cache that cannot be read is computed again."""
    if path is None or not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {
            size: {name: {test: Limit(**limit) for test, limit in tests.items()} for name, tests in parts.items()}
            for size, parts in kept.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}
