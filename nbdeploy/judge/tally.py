"""What changed from logged answers to those of a candidate, counted row by row in bounded memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.comparison import difference

if TYPE_CHECKING:
    from nbdeploy.run.predictions import Record

KEPT = 1_000  # rows that flipped, with their content
LARGEST = 10  # moves
VALUES = 20  # of a column that is taken for a segment
LABELLING = ("predict", "fit_predict")


@dataclass(frozen=True, slots=True)
class Row:
    """One logged row with its answer then and the candidate's now; `row` is its place in the request."""

    request_id: str
    row: int
    method: str
    input: Any
    then: Any
    now: Any
    move: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Without its input."""
        told = {name: getattr(self, name) for name in ("request_id", "row", "method", "then", "now")}
        return told if self.move is None else told | {"move": self.move}


@dataclass(slots=True)
class Count:
    """Of a segment, or of all: `labelled` rows have a label, `measured` ones a number that can move."""

    rows: int = 0
    changed: int = 0
    labelled: int = 0
    flips: int = 0
    measured: int = 0
    moved: float = 0.0

    @property
    def flip_rate(self) -> float | None:
        return self.flips / self.labelled if self.labelled else None

    @property
    def mean_move(self) -> float | None:
        return self.moved / self.measured if self.measured else None

    @property
    def change_rate(self) -> float | None:
        return self.changed / self.rows if self.rows else None

    def add(self, *, changed: bool, flip: bool | None, move: float | None) -> None:
        self.rows += 1
        self.changed += changed
        if flip is not None:
            self.labelled += 1
            self.flips += flip
        if move is not None:
            self.measured += 1
            self.moved += move


@dataclass
class Tally:
    """`labels`: the answers of `predict` are labels even where they are numbers."""

    labels: bool
    tolerances: dict[str, float]  # by method
    total: Count = field(default_factory=Count)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  # label then, label now
    flipped: list[Row] = field(default_factory=list)
    _segments: dict[str, dict[Any, Count] | None] = field(default_factory=dict)  # None: too many values
    _largest: list[tuple[float, int, Row]] = field(default_factory=list)

    def add(self, record: Record, number: int, now: Any) -> None:
        then, method = record.predictions[number], record.method
        before, after = self._label(method, then), self._label(method, now)
        flip = None if before is None or after is None else before != after
        move = None if before is not None and not isinstance(then, dict) else moved(then, now)
        changed = bool(difference(then, now, self.tolerances.get(method, 0.0)))
        for count in (self.total, *self._of(record.rows[number])):
            count.add(changed=changed, flip=flip, move=move)
        row = Row(record.request_id, number, method, record.rows[number], then, now, move)
        if flip:
            self.pairs[str(before), str(after)] += 1
            if len(self.flipped) < KEPT:
                self.flipped.append(row)
        if move and changed:
            self._keep(move, row)

    @property
    def largest(self) -> tuple[Row, ...]:
        return tuple(row for _, _, row in sorted(self._largest, key=lambda item: (-item[0], item[1])))

    @property
    def segments(self) -> dict[tuple[str, Any], Count]:
        """By column and value; of columns with at least two values."""
        return {
            (column, value): count
            for column, values in self._segments.items()
            if values is not None and len(values) > 1
            for value, count in values.items()
        }

    def _keep(self, move: float, row: Row) -> None:
        entry = (move, -self.total.rows, row)  # the second figure is unique, so rows are never compared
        if len(self._largest) < LARGEST:
            heapq.heappush(self._largest, entry)
        else:
            heapq.heappushpop(self._largest, entry)

    def _of(self, row: Any) -> list[Count]:
        """The counts of the segments a row is in."""
        found = []
        for column, value in row.items() if isinstance(row, dict) else ():
            values = self._segments.setdefault(column, {})
            if values is None:
                continue
            if isinstance(value, float | list | dict) or (value not in values and len(values) >= VALUES):
                self._segments[column] = None
                continue
            found.append(values.setdefault(value, Count()))
        return found

    def _label(self, method: str, answer: Any) -> Any:
        """The class an answer stands for; None where it is a quantity."""
        if isinstance(answer, dict):
            numbers = {key: value for key, value in answer.items() if _is_number(value)}
            return max(numbers, key=lambda key: (numbers[key], key)) if numbers else None
        if isinstance(answer, str | bool):
            return answer
        if self.labels and method in LABELLING and answer is not None:
            return tuple(answer) if isinstance(answer, list) else answer
        return None


def moved(then: Any, now: Any) -> float | None:
    """The largest distance between two answers' numbers; None where they cannot be compared."""
    if _is_number(then) and _is_number(now):
        return abs(float(then) - float(now))
    if isinstance(then, dict) and isinstance(now, dict):
        return moved([then.get(key, 0.0) for key in then | now], [now.get(key, 0.0) for key in then | now])
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        moves = [moved(one, other) for one, other in zip(then, now, strict=True)]
        known = [move for move in moves if move is not None]
        return max(known) if known else None
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
