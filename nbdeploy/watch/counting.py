"""Rows of the log counted, window by window, over the bins of a baseline."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.columns import column_values
from nbdeploy.capture.counts import Bins
from nbdeploy.watch.baseline import INPUT, NEEDED, PREDICTION, columns_of, part_of
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.distinct import Distinct, hashes_of
from nbdeploy.watch.pane import Pane, Panes, Sample
from nbdeploy.watch.task import top

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    import pandas as pd
    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts
    from nbdeploy.capture.profile import Profile
    from nbdeploy.watch.baseline import Baseline

PROBA = "predict_proba"
ANSWERS = ("predict", PROBA)

Part = tuple[int, int, int]  # of sorted rows: the place of their window, and where they begin and end


def counted(
    frame: pd.DataFrame,
    places: NDArray[np.int64],
    baseline: Baseline,
    random: Callable[[int], np.random.Generator],
    pool: ThreadPoolExecutor,
) -> Panes:
    """Rows of the baseline's version, sorted by the places of their windows. `random` gives each place its numbers."""
    found = Panes.over(baseline)
    parts = list(_parts(places))
    hashing = pool.submit(_hashed, frame, baseline, parts)
    counts: dict[int, dict[str, Counts]] = defaultdict(dict)
    tasks = list(_tasks(frame, places, baseline, parts))
    for name, by_place in pool.map(lambda task: (task[0], _counted(*task[1:])), tasks):
        if isinstance(by_place, NotComputable):
            found.broken[name] = by_place
            continue
        rounded = name != PREDICTION and baseline.bucketed(name.removeprefix(f"{INPUT}."))
        for place, own in by_place.items():
            counts[place][name] = _spread(own) if rounded and isinstance(own, Bins) else own
    hashed, samples = hashing.result(), _samples(frame, baseline, parts, random)
    for place, begin, end in parts:
        found.put(place, Pane(end - begin, counts[place], *hashed[place], samples.get(place, Sample())))
    return found


def together(frame: pd.DataFrame, baseline: Baseline) -> Profile:
    """Answered rows of the baseline's version as one; of a column that cannot be counted nothing."""
    places = np.zeros(len(frame), dtype=np.int64)
    counts: dict[str, Counts] = {}
    for name, *task in _tasks(frame, places, baseline, list(_parts(places))):
        by_place = _counted(*task)
        if not isinstance(by_place, NotComputable):
            counts.update((name, own) for own in by_place.values())
    return baseline.profiled(len(frame), counts)


def _tasks(
    frame: pd.DataFrame, places: NDArray[np.int64], baseline: Baseline, parts: list[Part]
) -> Iterator[tuple[str, Counts, Any, list[Part]]]:
    broken, given = baseline.broken(), _inputs(frame, baseline)
    for name, own in baseline.profile.columns.items():
        if part_of(name) not in broken:
            yield part_of(name), own, _of_kind(own, given(name)), parts
    predictions = baseline.profile.predictions
    if predictions is None:
        return
    if not set(frame["method"].unique()) <= set(ANSWERS):
        said = frame["method"].isin(ANSWERS).to_numpy()
        frame, parts = frame[said], list(_parts(places[said]))
    yield PREDICTION, predictions, _of_kind(predictions, _answers(frame, baseline)), parts


def _hashed(frame: pd.DataFrame, baseline: Baseline, parts: list[Part]) -> dict[int, tuple[Distinct, Distinct]]:
    """Of each place the questions and the rows: rows asked of two methods are two questions, but given once."""
    known = columns_of([baseline])[len(NEEDED) :]
    names = [name for name in known if name in frame.columns]
    hashes = hashes_of(frame[names])
    given = {place: Distinct().added(hashes[begin:end]) for place, begin, end in parts}
    if len(frame["method"].unique()) < 2:
        return {place: (one, one) for place, one in given.items()}
    hashes = hashes_of(frame[[*names, "method"]])
    return {place: (Distinct().added(hashes[begin:end]), given[place]) for place, begin, end in parts}


def _samples(
    frame: pd.DataFrame, baseline: Baseline, parts: list[Part], random: Callable[[int], np.random.Generator]
) -> dict[int, Sample]:
    labels = list(baseline.labels)
    if len(labels) < 2 or PROBA not in frame["method"].unique():
        return {}
    asked = (frame["method"] == PROBA).to_numpy()
    answers = frame["prediction"].to_numpy(dtype=object)
    found = {}
    for place, begin, end in parts:
        given = [item for item, proba in zip(answers[begin:end], asked[begin:end], strict=True) if proba]
        rows = [[item.get(label) for label in labels] for item in given if isinstance(item, dict)]
        if rows:
            found[place] = Sample.drawn(np.array(rows, dtype=np.float64), random(place))
    return found


def _parts(places: NDArray[np.int64]) -> Iterator[Part]:
    """Each stretch of one place."""
    if not len(places):
        return
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    for begin, end in zip(starts, [*starts[1:], len(places)], strict=True):
        yield int(places[begin]), int(begin), int(end)


def _counted(own: Counts, values: Any, parts: list[Part]) -> dict[int, Counts] | NotComputable:
    """By place, so that what one column holds never hides another."""
    try:
        at = getattr(values, "iloc", values)
        return {place: own.counted(at[begin:end]) for place, begin, end in parts if len(values)}
    except Exception as exc:  # noqa: BLE001 - whatever a log of months holds, in one column: the reason stands in its place
        return NotComputable(f"it could not be counted: {type(exc).__name__}: {exc}")


def _spread(counts: Bins) -> Bins:
    """Of lower edges the lowest and the highest value are not known: they are held to be the ends of their bins."""
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
    return lambda name: values.get(part_of(name), [])


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
