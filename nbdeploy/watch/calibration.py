"""Thresholds that keep a false-alarm budget, for the reference and the window size at hand."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.counts import Bins, Counts
from nbdeploy.watch.budget import Budget
from nbdeploy.watch.cells import FEWEST, cells_of
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.null import Share, drawn, upper
from nbdeploy.watch.power import smallest_share, smallest_shift

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 2  # of the cache; raise it when a threshold is computed in another way
BUCKETS = 8  # window sizes for each doubling that have thresholds of their own


@dataclass(frozen=True)
class Limit:
    """A statistic at or above `high`, or at or below `low`, is beyond what the budget allows if it lasts; beyond `sudden`
    one window is enough. `visible` is the smallest change seen in four cases of five: of a share, or of the mean in
    training standard deviations; None where it was not asked for, or nothing is.
    """

    high: float
    low: float | None = None
    visible: float | None = None
    sudden: tuple[float, float | None] | None = None

    def exceeded(self, value: float) -> bool:
        return _beyond(value, self.high, self.low)

    def far(self, value: float) -> bool:
        return self.sudden is not None and _beyond(value, *self.sudden)


def _beyond(value: float, high: float, low: float | None) -> bool:
    return value >= high or (low is not None and value <= low)


class Calibration:
    """The limits of every part of a reference: name -> test -> Limit, for any number of rows.

    Tests: `jensen_shannon` and `wasserstein` (numbers) of the values that are there, `unseen` and `missing` shares of
    the rows. They are computed when first asked for and kept in memory, and by `save` in `folder`, by the reference's
    digest, the budget and the window size, which is rounded down: the thresholds of a smaller window are higher.
    `sizes` are those of each doubling that have thresholds of their own; fewer cost less and see less.
    """

    def __init__(
        self,
        parts: Mapping[str, Counts],
        budget: Budget | None = None,
        folder: Path | None = None,
        *,
        called: str = "training",
        sizes: int = BUCKETS,
    ) -> None:
        self.sizes = sizes
        self.called = called  # what the reference is, in words
        self.parts = parts
        self.budget = budget or Budget()
        self.tests = sum(len(tests_of(counts)) for counts in parts.values())
        self.digest = _digest(parts, self.budget)
        self.cells = {name: cells_of(counts) for name, counts in parts.items()}
        self._path = None if folder is None else folder / f"{self.digest}.json"
        self._kept = _read(self._path)
        self._changed = False

    def limits(self, name: str, rows: int, present: int, *, visible: bool = True) -> dict[str, Limit]:
        """Of one part, for a window of `rows` of which `present` have a value; no limit for what cannot be tested.

        What is visible costs as much as the thresholds of the values.
        """
        found = self._limits(name, "shares", rows) if rows else {}
        if present < FEWEST:
            return found
        values = self._limits(name, "values", present)
        if visible and values:
            smallest = self._limits(name, "visible", present)
            values = {test: replace(limit, visible=smallest[test].visible) for test, limit in values.items()}
        return found | values

    def save(self) -> None:
        if self._path is None or not self._changed:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(self._kept, default=asdict), encoding="utf-8")
        draft.replace(self._path)
        self._changed = False

    def _limits(self, name: str, kind: str, rows: int) -> dict[str, Limit]:
        size = bucket(rows, self.sizes)
        kept = self._kept.setdefault(f"{kind}:{size}", {})
        if name not in kept:
            kept[name] = {"shares": self._shares, "values": self._values, "visible": self._visible}[kind](name, size)
            self._changed = True
        return kept[name]

    def _shares(self, name: str, rows: int) -> dict[str, Limit]:
        counts, level = self.parts[name], self.budget.level(self.tests)
        windows, at_once = self.budget.persistence, self.budget.sudden(self.tests)
        found = {}
        for test, (count, prior) in _shares_of(counts).items():
            share = Share(count, counts.total, prior)
            high, low = share.limits(rows, windows, level)
            sudden = share.limits(rows, 1, at_once) if at_once else None
            found[test] = Limit(high, low, smallest_share(rows, windows, high), sudden)
        return found

    def _values(self, name: str, rows: int) -> dict[str, Limit]:
        cells = self.cells[name]
        if isinstance(cells, NotComputable):
            return {}
        windows, level, at_once = self.budget.persistence, self.budget.level(self.tests), self.budget.sudden(self.tests)
        first, least = drawn(cells, rows, windows, self._random(name, rows))
        return {
            test: Limit(upper(draws, level), sudden=(upper(first[test], at_once), None) if at_once else None)
            for test, draws in least.items()
        }

    def _visible(self, name: str, rows: int) -> dict[str, Limit]:
        cells, limits = self.cells[name], self._limits(name, "values", rows)
        if isinstance(cells, NotComputable):
            return {}
        highs = {test: limit.high for test, limit in limits.items()}
        visible = smallest_shift(cells, highs, rows, self.budget.persistence, self._random(f"visible {name}", rows))
        return {test: replace(limit, visible=visible) for test, limit in limits.items()}

    def _random(self, name: str, rows: int) -> np.random.Generator:
        seed = hashlib.sha256(f"{self.digest} {name} {rows}".encode("utf-8", "surrogatepass")).digest()
        return np.random.default_rng(list(seed))


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


def bucket(rows: int, sizes: int = BUCKETS) -> int:
    """The size whose thresholds serve a window of `rows`; itself below 2 * `sizes`."""
    if rows < 2 * sizes:
        return rows
    step = math.floor(math.log2(rows) * sizes + 1e-9)
    return min(rows, math.ceil(2 ** (step / sizes)))


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
            size: {name: {test: _limit(limit) for test, limit in tests.items()} for name, tests in parts.items()}
            for size, parts in kept.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _limit(raw: Mapping[str, Any]) -> Limit:
    sudden = raw.get("sudden")
    return Limit(**{**raw, "sudden": None if sudden is None else tuple(sudden)})
