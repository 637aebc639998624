"""`Shelf`: the panes of closed segments, kept beside them: a later look adds them up instead of counting rows again."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from nbdeploy.capture.counts import Bins
from nbdeploy.run import beside
from nbdeploy.run.piece import micros
from nbdeploy.watch.axis import floored
from nbdeploy.watch.packed import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbdeploy.run.piece import Piece
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.baseline import Baseline
    from nbdeploy.watch.pane import Panes

FORMAT = 4  # raise it when a pane is computed in another way
ABOUT = "about"


class Shelf:
    """For windows of one length on clock time, since others never come again; and for segments that lie wholly in the view,
    since of others a window may be cut, and what is counted of a part need not be what it is in the whole.
    """

    def __init__(self, baselines: Mapping[str, Baseline], axis: Axis) -> None:
        self._baselines = baselines
        self._axis = axis
        self._digests = {version: _digest(baseline) for version, baseline in baselines.items()}
        self._name = f"{axis.every // timedelta(microseconds=1)}us"
        self._comes_again = floored(axis.began, axis.every) == axis.began

    def taken(self, piece: Piece) -> dict[str, Panes] | None:
        """By version; None where they have to be counted."""
        if piece.facts is None or not (piece.whole and self._comes_again):
            return None
        arrays = beside.read(piece.path, self._name)
        if arrays is None or ABOUT not in arrays:
            return None
        about = json.loads(arrays[ABOUT].tobytes())
        if (about["format"], about["bytes"]) != (FORMAT, piece.facts.bytes):
            return None
        found = {}
        for number, (version, digest) in enumerate(about["versions"]):
            if version in self._baselines:
                if digest != self._digests[version]:
                    return None
                own = {name: arrays[f"{number}.{name}"] for name in about["arrays"][number]}
                found[version] = unpacked(own, self._baselines[version], self._place)
        return found

    def put(self, piece: Piece, panes: Mapping[str, Panes | None]) -> None:
        """`panes` of every version that the segment has rows of; None where they were not counted."""
        if piece.facts is None or not (piece.whole and self._comes_again):
            return
        kept = [
            {} if one is None else packed(one, self._baselines[version], self._begin) for version, one in panes.items()
        ]
        if sum(array.nbytes for arrays in kept for array in arrays.values()) > piece.facts.bytes:
            return  # many windows with few rows each: reading those is as quick
        about = {
            "format": FORMAT,
            "bytes": piece.facts.bytes,
            "versions": [(version, self._digests.get(version)) for version in panes],
            "arrays": [list(arrays) for arrays in kept],
        }
        named = {f"{number}.{name}": array for number, arrays in enumerate(kept) for name, array in arrays.items()}
        with suppress(OSError):  # no room, not our folder: they are counted again, which is only slower
            beside.write(
                piece.path, self._name, {ABOUT: np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **named}
            )

    def _begin(self, place: int) -> int:
        return micros(self._axis.begin(place))

    def _place(self, begin: int) -> int:
        return (begin - self._begin(0)) // (self._begin(1) - self._begin(0))


def _digest(baseline: Baseline) -> str:
    """Of all that a count depends on: two versions may share it."""
    held = [
        *(baseline.schema, baseline.container, baseline.own),
        None if baseline.columns is None else sorted(baseline.columns),
        [(text, repr(label)) for text, label in baseline.labels.items()],
        sorted(baseline.policy.items()),
        [
            (
                name,
                own.kind,
                own.edges if isinstance(own, Bins) else [(type(value).__name__, value) for value in own.seen],
            )
            for name, own in baseline.parts()
        ],
    ]
    return hashlib.sha256(json.dumps(held, default=repr).encode()).hexdigest()[:32]
