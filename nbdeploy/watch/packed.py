"""Panes as arrays, and back: a row for each window."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdeploy.capture.counts import Bins
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.distinct import Distinct
from nbdeploy.watch.pane import Pane, Panes, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nbdeploy.capture.counts import Counts
    from nbdeploy.watch.baseline import Baseline

    Arrays = Mapping[str, NDArray[Any]]


def packed(panes: Panes, baseline: Baseline, begin: Callable[[int], int]) -> dict[str, NDArray[Any]]:
    """`begin` is when the window of a place begins."""
    parts = list(baseline.parts())
    places = sorted(panes.by_place)
    found = [panes.by_place[place] for place in places]
    broken = {name: why.reason for name, why in panes.broken.items()}
    numbers = [[number for name, own in parts for number in _numbers(own, pane.counts.get(name))] for pane in found]
    ends = [[end for name, _ in parts for end in _ends(pane.counts.get(name))] for pane in found]
    arrays: dict[str, NDArray[Any]] = {
        "broken": np.frombuffer(json.dumps(broken).encode(), dtype=np.uint8),
        "begins": np.array([begin(place) for place in places], dtype=np.int64),
        "rows": np.array([pane.rows for pane in found], dtype=np.int64),
        "counts": np.array(numbers, dtype=np.int64),
        "ends": np.array(ends, dtype=np.float64),
        **_joined("asked", [pane.asked.hashes for pane in found]),
    }
    if any(pane.given is not pane.asked for pane in found):
        arrays |= _joined("given", [pane.given.hashes for pane in found])
    if sampled := [pane.sample.rows for pane in found if len(pane.sample.rows)]:
        arrays |= _joined("numbers", [pane.sample.numbers for pane in found]) | {"shares": np.concatenate(sampled)}
    return arrays


def unpacked(arrays: Arrays, baseline: Baseline, place_of: Callable[[int], int]) -> Panes:
    """`place_of` is the place of the window that begins then."""
    broken = json.loads(arrays["broken"].tobytes())
    panes = Panes(broken={name: NotComputable(reason) for name, reason in broken.items()})
    asked = _apart(arrays, "asked")
    given = _apart(arrays, "given") if "given" in arrays else asked
    samples = _samples(arrays) if "shares" in arrays else [Sample()] * len(asked)
    for window, begin in enumerate(arrays["begins"].tolist()):
        rows = int(arrays["rows"][window])
        counts = _counts(baseline, arrays["counts"][window].tolist(), arrays["ends"][window].tolist())
        different = Distinct(rows, asked[window])
        panes.by_place[place_of(begin)] = Pane(
            rows,
            dict(counts),
            different,
            different if given is asked else Distinct(rows, given[window]),
            samples[window],
        )
    return panes


def _numbers(own: Counts, counts: Counts | None) -> Sequence[int]:
    if counts is None:
        return [0] * (len(own.counts) + 2)
    return *counts.counts, counts.missing, counts.odd if isinstance(counts, Bins) else counts.other


def _ends(counts: Counts | None) -> tuple[float, float]:
    low, high = (counts.low, counts.high) if isinstance(counts, Bins) else (None, None)
    return np.nan if low is None else low, np.nan if high is None else high


def _counts(baseline: Baseline, numbers: list[int], ends: list[float]) -> Iterator[tuple[str, Counts]]:
    at = 0
    for place, (name, own) in enumerate(baseline.parts()):
        *counts, missing, other = numbers[at : at + len(own.counts) + 2]
        at += len(own.counts) + 2
        low, high = (None if math.isnan(end) else end for end in ends[2 * place : 2 * place + 2])
        if isinstance(own, Bins):
            yield name, replace(own, counts=tuple(counts), missing=missing, odd=other, low=low, high=high)
        else:
            yield name, replace(own, counts=tuple(counts), missing=missing, other=other)


def _samples(arrays: Arrays) -> list[Sample]:
    """`shares` has a row for each of the numbers."""
    numbers = _apart(arrays, "numbers")
    rows = np.split(arrays["shares"], np.cumsum([len(own) for own in numbers])[:-1])
    return [Sample(*pair) for pair in zip(numbers, rows, strict=True)]


def _joined(name: str, found: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate(found), f"{name}_each": np.array([len(one) for one in found], dtype=np.int64)}


def _apart(arrays: Arrays, name: str) -> list[NDArray[Any]]:
    return np.split(arrays[name], np.cumsum(arrays[f"{name}_each"])[:-1])
