"""Held-out rows against the schema, and against each other: missing, out of range, unseen, twice, and the target given away."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.judge.scores import coded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbdeploy.runtime.manifest import Column

LEAK = 0.999  # what one column alone may reach, as a share right or as R², before it is taken for the target
LEAK_ROWS = 2_000
FEWEST_ROWS = 30
FOLDS = 5


@dataclass(frozen=True)
class ColumnQuality:
    """Counts of rows; `unseen` counts values that are not among those of training."""

    name: str
    kind: str
    missing: int
    out_of_range: int
    unseen: int
    accepted: bool  # whether the service takes a missing value here


def column_quality(column: Column, values: Sequence[Any]) -> ColumnQuality:
    there = [value for value in values if value is not None]
    known = None if column.categories is None else set(column.categories)
    return ColumnQuality(
        name=column.name,
        kind=column.kind,
        missing=len(values) - len(there),
        out_of_range=_outside(column, there),
        unseen=0 if known is None else sum(value not in known for value in there),
        accepted=column.nullable,
    )


def _outside(column: Column, values: Iterable[Any]) -> int:
    if column.low is None or column.high is None:
        return 0
    if column.kind == "datetime":
        import numpy as np

        low, high = (np.datetime64(str(end).removesuffix("Z")) for end in (column.low, column.high))
        return sum(not low <= np.datetime64(str(value).removesuffix("Z")) <= high for value in values)
    numbers = [float(value) for value in values if not isinstance(value, bool)]
    return sum(not column.low <= value <= column.high for value in numbers)


def repeated(rows: Sequence[Any], truth: Sequence[Any] | None) -> tuple[int, int]:
    """Rows that were there before with the same label, and with another."""
    seen: dict[str, set[str]] = defaultdict(set)
    twice = otherwise = 0
    for place, row in enumerate(rows):
        labels = seen[json.dumps(row, sort_keys=True, default=str)]
        label = "" if truth is None else str(truth[place])
        twice += label in labels
        otherwise += bool(labels) and label not in labels
        labels.add(label)
    return twice, otherwise


@dataclass(frozen=True)
class Leak:
    """`score` is what the column alone reaches: the share right, or R²."""

    column: str
    how: str
    score: float


def leaks(columns: Mapping[str, Sequence[Any]], truth: Sequence[Any], *, numeric: bool, seed: int = 0) -> list[Leak]:
    """Columns that equal the target, are another name for it, or predict it alone. `numeric`: a regression's target.

    With one column there is nothing that others could add, so only its being the target itself is looked at.
    """
    import numpy as np

    places = np.random.default_rng(seed).permutation(len(truth))[:LEAK_ROWS]
    wanted = [truth[place] for place in places]
    if len(set(map(str, wanted))) < 2:
        return []
    found = (
        _leak(name, [values[place] for place in places], wanted, numeric=numeric, alone=len(columns) > 1, seed=seed)
        for name, values in columns.items()
    )
    return [leak for leak in found if leak is not None]


def _leak(name: str, values: list[Any], truth: list[Any], *, numeric: bool, alone: bool, seed: int) -> Leak | None:
    pairs = [(value, label) for value, label in zip(values, truth, strict=True) if value is not None]
    if len(pairs) < FEWEST_ROWS:
        return None
    if all(_equal(value, label) for value, label in pairs):
        return Leak(name, "equals the target", 1.0)
    if not numeric and _renamed(pairs):
        return Leak(name, "is the target under other names", 1.0)
    if not alone:
        return None
    score = _alone([value for value, _ in pairs], [label for _, label in pairs], numeric=numeric, seed=seed)
    return Leak(name, "predicts the target alone", score) if score >= LEAK else None


def _equal(value: Any, label: Any) -> bool:
    if isinstance(value, int | float) and isinstance(label, int | float):
        return math.isclose(value, label, rel_tol=1e-9)
    return str(value) == str(label)


def _renamed(pairs: Sequence[tuple[Any, Any]]) -> bool:
    """One value for each label and one label for each value."""
    forth, back = defaultdict(set), defaultdict(set)
    for value, label in pairs:
        forth[str(value)].add(str(label))
        back[str(label)].add(str(value))
    one = all(len(labels) == 1 for labels in forth.values()) and all(len(values) == 1 for values in back.values())
    return one and 2 <= len(forth) <= len(pairs) // 4


def _alone(values: Sequence[Any], truth: Sequence[Any], *, numeric: bool, seed: int) -> float:
    """A tree on this column only, cross-validated; or how well the ranks of two numbers agree."""
    import numpy as np
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    numbers = all(isinstance(value, int | float) for value in values)
    column = np.array(values, dtype=float) if numbers else coded((), [str(value) for value in values])[1].astype(float)
    if len(np.unique(column)) < 2 or not np.isfinite(column).all():
        return 0.0
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    if not numeric:
        labels = coded((), [str(label) for label in truth])[1]
        tree = DecisionTreeClassifier(max_leaf_nodes=64, random_state=seed)
        return float(cross_val_score(tree, column[:, None], labels, cv=folds).mean())
    target = np.array(truth, dtype=float)
    ranks = abs(float(np.corrcoef(_ranks(column), _ranks(target))[0, 1]))
    tree = DecisionTreeRegressor(random_state=seed)
    return max(ranks, float(cross_val_score(tree, column[:, None], target, cv=folds, scoring="r2").mean()))


def _ranks(values: Any) -> Any:
    import numpy as np

    known, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    del known
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
