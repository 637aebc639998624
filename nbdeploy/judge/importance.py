"""Permutation importance through the service: what the score loses when one column is shuffled (Breiman 2001)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.judge.served import Served

ROWS = 500
REPEATS = 5
SECONDS = 20.0
MOST_COLUMNS = 50


@dataclass(frozen=True)
class Importance:
    """`loss` is the mean over the repeats, `spread` their standard deviation."""

    column: str
    loss: float
    spread: float


def importance(
    served: Served, method: str, rows: Sequence[Any], score: Callable[[Sequence[Any]], float], seed: int = 0
) -> tuple[list[Importance], list[str]]:
    """The columns by what their shuffling costs, and those there was no time for. `score` judges answers to `rows`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    until = time.monotonic() + SECONDS
    whole = score(served.answers(method, rows).values)
    columns = columns_of(served, rows)
    found: list[Importance] = []
    for place, column in enumerate(columns):
        if time.monotonic() > until or place >= MOST_COLUMNS:
            return _sorted(found), [str(name) for name in columns[place:]]
        shuffled = [row for _ in range(REPEATS) for row in _shuffled(rows, column, rng.permutation(len(rows)).tolist())]
        answers = served.answers(method, shuffled).values
        losses = [whole - score(answers[start : start + len(rows)]) for start in range(0, len(answers), len(rows))]
        found.append(Importance(str(column), float(np.mean(losses)), float(np.std(losses, ddof=1))))
    return _sorted(found), []


def columns_of(served: Served, rows: Sequence[Any]) -> list[Any]:
    """The names of a row's columns, or the places of a flat list's values; none where a row is one value."""
    if served.keyed:
        return [column.name for column in served.columns]
    flat = isinstance(rows[0], list) and not any(isinstance(value, list) for value in rows[0])
    return list(range(len(rows[0]))) if flat else []


def replaced(row: Any, column: Any, value: Any) -> Any:
    """The row with another value in one column."""
    if isinstance(row, dict):
        return {**row, column: value}
    return [*row[:column], value, *row[column + 1 :]]


def _shuffled(rows: Sequence[Any], column: Any, order: Sequence[int]) -> list[Any]:
    return [replaced(row, column, rows[place][column]) for row, place in zip(rows, order, strict=True)]


def _sorted(found: list[Importance]) -> list[Importance]:
    return sorted(found, key=lambda one: -one.loss)
