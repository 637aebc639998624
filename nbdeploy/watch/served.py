"""`Served`: the rows of one version in every window of an axis, in one reading of the log."""

from __future__ import annotations

import os
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.watch.baseline import columns_of
from nbdeploy.watch.counting import counted
from nbdeploy.watch.distinct import expected
from nbdeploy.watch.pane import Panes
from nbdeploy.watch.shelf import Shelf
from nbdeploy.watch.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.run.piece import Piece
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.baseline import Baseline
    from nbdeploy.watch.computable import NotComputable
    from nbdeploy.watch.distinct import Distinct

AHEAD = 2  # batches
THREADS = min(4, os.cpu_count() or 1)  # sorting and hashing let go of the interpreter


class Served:
    """`panes` are all that the log has of the version."""

    def __init__(self, baseline: Baseline, axis: Axis) -> None:
        self.baseline = baseline
        self.axis = axis
        self.panes = Panes.over(baseline)

    @property
    def places(self) -> list[int]:
        return sorted(self.panes.by_place)

    @property
    def broken(self) -> Mapping[str, NotComputable]:
        return self.panes.broken

    @property
    def rows(self) -> int:
        return sum(pane.rows for pane in self.panes.by_place.values())

    @property
    def sampled(self) -> list[int]:
        """Windows in which probabilities were asked for."""
        return [place for place in self.places if len(self.panes.by_place[place].sample.rows)]

    def distinct(self, place: int) -> Distinct:
        """The different questions of a window."""
        return self.panes.by_place[place].asked

    def windows(self) -> list[Window]:
        """Those that have rows, oldest first."""
        return [self._window(place) for place in self.places]

    def whole(self) -> Window | None:
        """All of them together."""
        found: Window | None = None
        for window in self.windows():
            found = window if found is None else found.merged(window)
        return found

    def shares(self, places: Iterable[int] | None = None) -> NDArray[np.float64]:
        """Of these windows, or of all; a column for each label."""
        kept = [self.panes.by_place[place].sample.rows for place in (self.sampled if places is None else places)]
        return np.concatenate(kept) if kept else np.empty((0, len(self.baseline.labels)))

    def _window(self, place: int) -> Window:
        profile, pane = self.baseline.profile, self.panes.by_place[place]
        counted = self.baseline.profiled(pane.rows, pane.counts)
        once = max(pane.given.count, 1)
        told = [counts for name, counts in profile.columns.items() if self.baseline.has(name)]
        repeats = max(1.0, pane.asked.count / once, expected(told, pane.rows) / once)
        return Window(counted, self.baseline.schema, self.axis.begin(place), self.axis.begin(place + 1), repeats)


@dataclass(frozen=True)
class Step:
    """A batch of a piece; or its end, with what was kept of it, if anything was."""

    piece: Piece
    batch: pd.DataFrame | None = None
    kept: Mapping[str, Panes | None] | None = None


def read(
    pieces: Iterable[Piece],
    baselines: Mapping[str, Baseline],
    axis: Axis,
    *,
    passing: Callable[[Piece], None] | None = None,
) -> dict[str, Served]:
    """By version. One batch is held, and the next ones read meanwhile; rows of versions without a baseline, and of other
    times, are passed over. A closed segment that lies in view wholly is counted once (`Shelf`).

    `passing` sees every piece while it is open.
    """
    found = {version: Served(baseline, axis) for version, baseline in baselines.items()}
    shelf = Shelf(baselines, axis)
    wanted = columns_of(baselines.values())
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(THREADS) as pool:
        count = Count(baselines, axis, pool)
        for step in _ahead(_steps(pieces, shelf, wanted, passing), reader):
            if step.batch is not None:
                count.add(step.piece, step.batch)
                continue
            if step.kept is None:
                shelf.put(step.piece, count.panes)
            for version, panes in (count.panes if step.kept is None else step.kept).items():
                if panes is not None:
                    found[version].panes.add(panes)
            count = Count(baselines, axis, pool)
    return found


class Count:
    """`panes` of one piece by version; None of one without a baseline."""

    def __init__(self, baselines: Mapping[str, Baseline], axis: Axis, pool: ThreadPoolExecutor) -> None:
        self.panes: dict[str, Panes | None] = {}
        self._baselines = baselines
        self._axis = axis
        self._pool = pool
        self._random: dict[tuple[str, int], np.random.Generator] = {}

    def add(self, piece: Piece, batch: pd.DataFrame) -> None:
        for version, frame, places in _split(batch, self._axis):
            baseline = self._baselines.get(version)
            if baseline is None:
                self.panes[version] = None
                continue
            found = counted(frame, places, baseline, partial(self._numbers, piece, version), self._pool)
            if kept := self.panes.get(version):
                kept.add(found)
            else:
                self.panes[version] = found

    def _numbers(self, piece: Piece, version: str, place: int) -> np.random.Generator:
        """The same for the same rows at every look, whichever other versions it is of."""
        if (version, place) not in self._random:
            rows = zlib.crc32(os.fsencode(f"{piece.path.stem} {version}"))
            self._random[version, place] = np.random.default_rng([rows, round(self._axis.begin(place).timestamp())])
        return self._random[version, place]


def _steps(
    pieces: Iterable[Piece],
    shelf: Shelf,
    columns: Sequence[str],
    passing: Callable[[Piece], None] | None,
) -> Iterator[Step]:
    for piece in pieces:
        if passing is not None:
            passing(piece)
        kept = shelf.taken(piece)
        if kept is None:
            for batch in piece.batches(columns, categories=True):
                yield Step(piece, batch)
        yield Step(piece, kept=kept)


def _ahead(steps: Iterator[Step], reader: ThreadPoolExecutor) -> Iterator[Step]:
    """The next ones are read while this one is counted: two, since the rest of a segment that was read comes at once."""
    coming = deque(reader.submit(next, steps, None) for _ in range(AHEAD))
    while (step := coming.popleft().result()) is not None:
        coming.append(reader.submit(next, steps, None))
        yield step


def _split(batch: pd.DataFrame, axis: Axis) -> Iterator[tuple[str, pd.DataFrame, NDArray[np.int64]]]:
    """The answered rows by version, sorted by window."""
    if not len(batch):
        return
    places = axis.places(batch["time"])
    kept = batch["row"].notna().to_numpy() & (places >= 0) & (places < axis.count)
    if not kept.all():
        batch, places = batch[kept], places[kept]
    versions = batch["version"].unique()
    for version in versions:
        frame, at = batch, places
        if len(versions) > 1:
            own = (batch["version"] == version).to_numpy()
            frame, at = batch[own], places[own]
        if np.any(at[1:] < at[:-1]):
            order = np.argsort(at, kind="stable")
            frame, at = frame.iloc[order], at[order]
        yield str(version), frame, at
