"""Slices of the held-out rows: each value of a column that has few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_VALUES = 10
SMALL = 30  # rows below which a slice says little
MOST_SLICES = 100
MISSING = "missing"
ALL = ""  # the name of the slice of all rows


@dataclass(frozen=True)
class Slice:
    """`name` as records have it: column=value."""

    column: str
    value: str
    places: Any
    small: bool = False

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"


def slices(columns: Mapping[str, Sequence[Any]], *, most_values: int = MOST_VALUES, small: int = SMALL) -> list[Slice]:
    """In the order of the columns, by their JSON values; at most MOST_SLICES, whole columns only."""
    found: list[Slice] = []
    for column, values in columns.items():
        own = list(_of(column, values, most_values, small))
        if len(found) + len(own) > MOST_SLICES:
            break
        found += own
    return found


def _of(column: str, values: Sequence[Any], most: int, small: int) -> Iterator[Slice]:
    import numpy as np

    texts = np.array([text_of(value) for value in values], dtype=object)
    known = sorted(set(texts))
    if not 2 <= len(known) <= min(most, len(texts) - 1):
        return
    for text in known:
        places = np.flatnonzero(texts == text)
        yield Slice(column, text, places, len(places) < small)


def text_of(value: Any) -> str:
    """A slice's value as it is written in a condition; 1.0, which missing values made of 1, is 1."""
    if value is None:
        return MISSING
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
