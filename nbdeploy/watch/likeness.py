"""Is the labelled part like the rest? Metrics of rows that are not speak of these alone."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy import parquet
from nbdeploy.errors import UnsupportedData
from nbdeploy.run.piece import NUMBER
from nbdeploy.watch.baseline import INPUT, columns_of, part_of
from nbdeploy.watch.budget import Budget
from nbdeploy.watch.calibration import Calibration
from nbdeploy.watch.counting import together
from nbdeploy.watch.distinct import expected, hashes_of
from nbdeploy.watch.drift import Drift, drift
from nbdeploy.watch.window import Window, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts
    from nbdeploy.capture.profile import Profile
    from nbdeploy.run.piece import Piece
    from nbdeploy.watch.baseline import Baseline

ONCE_IN = 100.0  # looks at a part that is like the rest, one false warning
FEWEST = 20  # rows of either part
UNLIKE = "The labelled rows are unlike the rest"
MOST = 10_000  # rows of either part that are compared, drawn evenly


def compared(labelled: Profile, rest: Profile, once_in: float = ONCE_IN) -> Drift:
    """The labelled rows and their predictions beside those without a label, over the training sample's bins.

    Its `drifted` columns are those in which the labelled part is another one.
    """
    budget = Budget(windows=once_in, alarms=1.0, persistence=1)
    calibration = Calibration(parts_of(rest), budget, called="the rest")
    return drift(calibration, [Window(labelled)], visible=False)


def warnings_of(found: Drift, whose: str = UNLIKE) -> list[str]:
    """A sentence for each column that differs; empty where the labelled part speaks for all."""
    return [
        f"{whose} in {column.name}: {'; '.join(shift.text for shift in column.shifts)}." for column in found.drifted
    ]


class Drawn:
    """Rows drawn evenly of those that pass by: the ones of the smallest lots."""

    def __init__(self) -> None:
        self._frames: list[pd.DataFrame] = []
        self._lots: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._limit = 0  # of the lots, once there are enough

    def wanted(self, lots: NDArray[np.uint64]) -> NDArray[np.intp]:
        """The places of those that may be among them."""
        places = np.flatnonzero(lots < self._limit) if self._limit else np.arange(len(lots))
        return places if len(places) <= MOST else places[np.argpartition(lots[places], MOST)[:MOST]]

    def add(self, lots: NDArray[np.uint64], rows: pd.DataFrame) -> None:
        self._frames.append(rows)
        self._lots = np.concatenate([self._lots, lots])
        if len(self._lots) > MOST:
            kept = self._smallest(MOST)
            self._frames, self._lots = [self.rows().iloc[kept]], self._lots[kept]
            self._limit = int(self._lots.max())

    def __len__(self) -> int:
        return len(self._lots)

    def rows(self, most: int | None = None) -> pd.DataFrame:
        """All, or an even part of them."""
        frame = parquet.joined(self._frames)
        return frame if most is None or most >= len(frame) else frame.iloc[self._smallest(most)]

    def _smallest(self, count: int) -> NDArray[np.intp]:
        """In the order they came."""
        return np.sort(np.argpartition(self._lots, count)[:count])


class Likeness:
    """Rows of the log as they pass by, of every version with one of `baselines`, over whose bins they are counted. Inputs
    are read of those alone that are drawn.
    """

    def __init__(self, baselines: Mapping[str, Baseline]) -> None:
        self._baselines = baselines
        self._drawn = {(version, part): Drawn() for version in baselines for part in (True, False)}
        self._failed = ""

    def add(self, piece: Piece, rows: pd.DataFrame, labelled: NDArray[np.bool_]) -> None:
        """`rows`: numbers and versions of answered ones; which of them are `labelled`."""
        lots = _lots(piece, rows[NUMBER].to_numpy(dtype=np.uint64))
        versions, drawn = rows["version"].to_numpy(), np.zeros(len(rows), dtype=bool)
        for version in rows["version"].unique():
            for part in (True, False) if version in self._baselines else ():
                own = np.flatnonzero((versions == version) & (labelled == part))
                drawn[own[self._drawn[version, part].wanted(lots[own])]] = True
        if not drawn.any():
            return
        try:
            frame = piece.rows(rows[NUMBER].to_numpy(dtype=np.int64)[drawn], columns_of(self._baselines.values()))
        except (OSError, UnsupportedData) as exc:
            self._failed = str(exc).removesuffix(".")
            return
        lots, labelled = lots[drawn], labelled[drawn]
        for (version, part), found in self._drawn.items():
            own = np.flatnonzero((versions[drawn] == version) & (labelled == part))
            if len(own):
                found.add(lots[own], frame.iloc[own])

    def warnings(self) -> list[str]:
        """Where they differ; nothing of a version with too few rows of either part to say."""
        if self._failed:
            return [f"Whether the labelled rows are like the rest cannot be said: {self._failed}."]
        pairs = {version: (self._drawn[version, True], self._drawn[version, False]) for version in self._baselines}
        pairs = {version: pair for version, pair in pairs.items() if min(map(len, pair)) >= FEWEST}
        found = []
        for version, pair in pairs.items():
            whose = f"The labelled rows of {version} are unlike its others" if len(pairs) > 1 else UNLIKE
            found += self._warnings(version, pair, ONCE_IN * len(pairs), whose)
        return found

    def _warnings(self, version: str, pair: Sequence[Drawn], once_in: float, whose: str) -> list[str]:
        """Columns that the log has of neither part count nothing."""
        baseline = self._baselines[version]
        parts = [drawn.rows() for drawn in pair]
        logged = [name for name in baseline.profile.columns if baseline.has(name)]
        read = [part_of(name) for name in logged] if baseline.named else [INPUT]
        there = [name for name in read if any(part[name].notna().any() for part in parts)]
        told = [baseline.profile.columns[name] for name in logged if not baseline.named or part_of(name) in there]
        if any(len(_independent(part[there], told)) < len(part) for part in parts):
            # Each counts once, and of more rows that is another, more even mix: as many are looked at of both.
            parts = [drawn.rows(min(map(len, pair))) for drawn in pair]
            parts = [part.iloc[_independent(part[there], told)] for part in parts]
        if min(map(len, parts)) < FEWEST:
            return []
        labelled, rest = (together(part, baseline) for part in parts)
        return warnings_of(compared(labelled, rest, once_in), whose)


def _lots(piece: Piece, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same for the same row at every look, once the row is in a copy."""
    import pandas as pd

    segment = np.uint64(zlib.crc32(os.fsencode(piece.path.stem)))
    return pd.util.hash_array(numbers ^ (segment << np.uint64(32)))


def _independent(rows: pd.DataFrame, told: Iterable[Counts]) -> NDArray[np.intp]:
    """The places of different rows, and of as many that repeat one as chance makes: what was asked again tells nothing new."""
    _, first = np.unique(hashes_of(rows), return_index=True)
    again = np.setdiff1d(np.arange(len(rows)), first)
    by_chance = min(len(again), round(len(rows) - expected(told, len(rows))))
    return np.sort(np.concatenate([first, again[np.linspace(0, len(again) - 1, by_chance).astype(np.intp)]]))
