"""`Served`: the rows of one version, counted window by window over a baseline's bins, in one reading of the log."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.columns import column_values
from nbdeploy.capture.counts import Bins
from nbdeploy.capture.profile import Profile
from nbdeploy.runtime.manifest import KEYED
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.distinct import Distinct, expected, hashes_of
from nbdeploy.watch.task import top
from nbdeploy.watch.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts
    from nbdeploy.watch.axis import Axis

SHARES = 2_000  # answers of a window whose probabilities are kept, drawn evenly
PREDICTION = "prediction"
PROBA = "predict_proba"
ANSWERS = ("predict", PROBA)
NEEDED = ("time", "row", "version", "method", PREDICTION)
INPUT = "input"
AHEAD = 2  # batches
THREADS = min(4, os.cpu_count() or 1)  # sorting and hashing let go of the interpreter


@dataclass(frozen=True)
class Baseline:
    """What the rows of a version are counted over. `called` says it in words; `columns` are those the version's rows have.

    `labels` are the classes of `predict_proba`, by the texts that stand for them in answers; `policy` names the columns
    that the log does not keep as they came; `own` says whether the bins are those that its buckets were made of, `fitted`
    whether the profile is of rows that a model was fitted on.
    """

    version: str
    profile: Profile
    schema: str | None = None
    called: str = "training"
    container: str = "frame"
    columns: frozenset[str] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)
    own: bool = True
    fitted: bool = True

    @property
    def named(self) -> bool:
        """Whether its columns have names in the log."""
        return self.container in KEYED

    def lacking(self, name: str) -> str | None:
        """Why a column cannot be counted."""
        if self.columns is not None and name not in self.columns:
            return f"version {self.version} does not have it"
        if name in self.policy and not self.bucketed(name):
            word = {"drop": "dropped", "hash": "hashed", "bucket": "rounded"}.get(self.policy[name], self.policy[name])
            return f"{word} by the log's policy"
        return None

    def has(self, name: str) -> bool:
        """Whether the log has anything of that column."""
        return (self.columns is None or name in self.columns) and self.policy.get(name) != "drop"

    @property
    def blurred(self) -> bool:
        """Whether rows may look alike in the log that were not."""
        return any(self.policy.get(name) in {"drop", "bucket"} for name in self.profile.columns)

    def bucketed(self, name: str) -> bool:
        """Whether the log has the lower edge of a value's own bin: counted over these bins it is what the value would be."""
        counts = self.profile.columns.get(name)
        return self.own and self.policy.get(name) == "bucket" and isinstance(counts, Bins) and counts.kind == "number"


@dataclass
class Sample:
    """Rows of shares drawn evenly: those of the smallest random numbers, so that parts can be added."""

    random: np.random.Generator
    numbers: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rows: NDArray[np.float64] | None = None

    def add(self, rows: NDArray[np.float64]) -> None:
        numbers = np.concatenate([self.numbers, self.random.random(len(rows))])
        rows = rows if self.rows is None else np.concatenate([self.rows, rows])
        kept = np.sort(np.argsort(numbers, kind="stable")[:SHARES])
        self.numbers, self.rows = numbers[kept], rows[kept]


class Served:
    """`rows`, `distinct` and `samples` are by the place of their window; `broken` are parts, and why. Parts go by the names
    of `parts_of`, so that a column called prediction is not what was answered.
    """

    def __init__(self, baseline: Baseline, axis: Axis) -> None:
        self.baseline = baseline
        self.axis = axis
        self.rows: dict[int, int] = {}
        self.distinct: dict[int, Distinct] = {}
        self._given: dict[int, Distinct] = {}
        self.samples: dict[int, Sample] = {}
        self.broken: dict[str, NotComputable] = {}
        self._counts: dict[int, dict[str, Counts]] = {}
        for name in baseline.profile.columns:
            if reason := baseline.lacking(name):
                self.broken[_part(name)] = NotComputable(reason)

    @property
    def places(self) -> list[int]:
        return sorted(self.rows)

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
        chosen = self.samples if places is None else places
        kept = [sample.rows for place in chosen if (sample := self.samples.get(place)) and sample.rows is not None]
        return np.concatenate(kept) if kept else np.empty((0, len(self.baseline.labels)))

    def add(self, frame: pd.DataFrame, places: NDArray[np.int64], pool: ThreadPoolExecutor) -> None:
        """Rows of this version, sorted by window."""
        parts = list(_parts(places))
        for place, begin, end in parts:
            self.rows[place] = self.rows.get(place, 0) + end - begin
        profile = self.baseline.profile
        columns = [(name, own) for name, own in profile.columns.items() if _part(name) not in self.broken]
        given = _inputs(frame, self.baseline)
        tasks = [(_part(name), own, _of_kind(own, given(name)), parts) for name, own in columns]
        if profile.predictions is not None and PREDICTION not in self.broken:
            answered, at = frame, places
            if not set(frame["method"].unique()) <= set(ANSWERS):
                said = frame["method"].isin(ANSWERS).to_numpy()
                answered, at = frame[said], places[said]
            answers = _answers(answered, self.baseline)
            tasks.append((PREDICTION, profile.predictions, _of_kind(profile.predictions, answers), list(_parts(at))))
        again = pool.submit(self._hash, frame, parts)
        for name, counted in pool.map(lambda task: (task[0], _counted(*task[1:])), tasks):
            self._note(name, _spread(counted) if self.baseline.bucketed(name) else counted)
        again.result()
        self._sample(frame, parts)

    def _note(self, name: str, counted: dict[int, Counts] | NotComputable) -> None:
        if isinstance(counted, NotComputable):
            self.broken[name] = counted
            return
        for place, counts in counted.items():
            kept = self._counts.setdefault(place, {})
            kept[name] = kept[name].merged(counts) if name in kept else counts

    def _hash(self, frame: pd.DataFrame, parts: list[tuple[int, int, int]]) -> None:
        """Rows asked of two methods are two questions, no duplicates, but given once."""
        known = columns_of([self.baseline])[len(NEEDED) :]
        names = [name for name in known if name in frame.columns]
        given = hashes_of(frame[names])
        asked = hashes_of(frame[[*names, "method"]]) if len(frame["method"].unique()) > 1 else given
        for place, begin, end in parts:
            self.distinct[place] = self.distinct.get(place, Distinct()).added(asked[begin:end])
            self._given[place] = self._given.get(place, Distinct()).added(given[begin:end])

    def _sample(self, frame: pd.DataFrame, parts: list[tuple[int, int, int]]) -> None:
        labels = list(self.baseline.labels)
        if len(labels) < 2 or PROBA not in frame["method"].unique():
            return
        asked = (frame["method"] == PROBA).to_numpy()
        answers = frame["prediction"].to_numpy(dtype=object)
        for place, begin, end in parts:
            given = [item for item, proba in zip(answers[begin:end], asked[begin:end], strict=True) if proba]
            rows = [[item.get(label) for label in labels] for item in given if isinstance(item, dict)]
            if rows:
                seed = round(self.axis.begin(place).timestamp())
                sample = self.samples.setdefault(place, Sample(np.random.default_rng(seed)))
                sample.add(np.array(rows, dtype=np.float64))

    def _window(self, place: int) -> Window:
        profile, kept = self.baseline.profile, self._counts.get(place, {})
        empty = {name: own.counted([]) for name, own in profile.columns.items() if _part(name) not in kept}
        counted = Profile(
            rows=self.rows[place],
            columns={name: kept.get(_part(name)) or empty[name] for name in profile.columns},
            predictions=None if profile.predictions is None else kept.get(PREDICTION, profile.predictions.counted([])),
        )
        once = max(self._given[place].count, 1)
        told = [counts for name, counts in profile.columns.items() if self.baseline.has(name)]
        repeats = max(1.0, self.distinct[place].count / once, expected(told, self.rows[place]) / once)
        return Window(counted, self.baseline.schema, self.axis.begin(place), self.axis.begin(place + 1), repeats)


def columns_of(baselines: Iterable[Baseline]) -> list[str]:
    """What of the log is read for them."""
    found = dict.fromkeys(NEEDED)
    for one in baselines:
        found |= dict.fromkeys([_part(name) for name in one.profile.columns] if one.named else [INPUT])
    return list(found)


def read(batches: Iterable[pd.DataFrame], baselines: Mapping[str, Baseline], axis: Axis) -> dict[str, Served]:
    """By version. One batch is held, and the next ones read meanwhile; rows of versions without a baseline, and of other times, are passed over."""
    found = {version: Served(baseline, axis) for version, baseline in baselines.items()}
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(THREADS) as pool:
        for batch in _ahead(batches, reader):
            for version, frame, places in _split(batch, axis):
                if version in found:
                    found[version].add(frame, places, pool)
    return found


def _ahead(batches: Iterable[pd.DataFrame], reader: ThreadPoolExecutor) -> Iterator[pd.DataFrame]:
    """The next ones are read while this one is counted: two, since the rest of a segment that was read comes at once."""
    source = iter(batches)
    coming = deque(reader.submit(next, source, None) for _ in range(AHEAD))
    while (batch := coming.popleft().result()) is not None:
        coming.append(reader.submit(next, source, None))
        yield batch


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


def _part(name: str) -> str:
    return f"{INPUT}.{name}"


def _parts(places: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Place, begin and end of each stretch."""
    if not len(places):
        return
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    for begin, end in zip(starts, [*starts[1:], len(places)], strict=True):
        yield int(places[begin]), int(begin), int(end)


def _counted(own: Counts, values: Any, parts: list[tuple[int, int, int]]) -> dict[int, Counts] | NotComputable:
    """By place, so that what one column holds never hides another."""
    try:
        at = getattr(values, "iloc", values)
        return {place: own.counted(at[begin:end]) for place, begin, end in parts if len(values)}
    except Exception as exc:  # noqa: BLE001 - whatever a log of months holds, in one column: the reason stands in its place
        return NotComputable(f"it could not be counted: {type(exc).__name__}: {exc}")


def _spread(counted: dict[int, Counts] | NotComputable) -> dict[int, Counts] | NotComputable:
    """Of lower edges the lowest and the highest value are not known: they are held to be the ends of their bins."""
    if isinstance(counted, NotComputable):
        return counted
    return {place: _ends(counts) if isinstance(counts, Bins) else counts for place, counts in counted.items()}


def _ends(counts: Bins) -> Bins:
    held = [place for place, count in enumerate(counts.counts) if count]
    if not held:
        return counts
    return replace(
        counts, low=counts.edges[max(held[0] - 1, 0)], high=counts.edges[min(held[-1], len(counts.edges) - 1)]
    )


def _of_kind(own: Counts, values: Any) -> Any:
    """Only values of a fixed list are counted as categories."""
    if isinstance(own, Bins) and getattr(values, "dtype", None) == "category":
        return values.astype(object)
    return values


def _inputs(frame: pd.DataFrame, baseline: Baseline) -> Any:
    """A function from a column's name to its values; nothing where there is no such column."""
    if INPUT in frame.columns and not baseline.named:
        rows: Any = frame[INPUT].tolist()
        if baseline.container == "array":
            rows = _matrix(rows)
        return lambda name: column_values(rows, name)
    values = {str(name): frame[name] for name in frame.columns if str(name).startswith(f"{INPUT}.")}
    return lambda name: values.get(f"{INPUT}.{name}", [])


def _matrix(rows: list[Any]) -> Any:
    """An array of numbers where the rows are; else of what they hold. Nothing, where they differ in length."""
    for dtype in (np.float64, object):
        try:
            return np.asarray(rows, dtype=dtype)
        except (TypeError, ValueError):
            continue
    return []


def _answers(frame: pd.DataFrame, baseline: Baseline) -> Any:
    """What `predict` answered, and the most probable label where probabilities were asked for."""
    if PROBA not in frame["method"].unique():
        return frame["prediction"]
    proba = (frame["method"] == PROBA).to_numpy()
    said = frame["prediction"].to_numpy(dtype=object).copy()
    said[proba] = [top(item, baseline.labels) for item in said[proba]]
    return said
