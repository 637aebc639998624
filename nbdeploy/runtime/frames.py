"""JSON rows into a pandas or polars DataFrame.

`pd.DataFrame(...)` takes longer than checking the rows did. pandas 3 has a door for those who know their blocks; with
older ones, and for what the door does not take, the ordinary constructor is used. Both give the same frame.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from . import polar
from .columns import builder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .manifest import Schema


def frame_builder(schema: Schema) -> Callable[[Sequence[Any]], Any]:
    if schema.library == "polars":
        return polar.frame_builder(schema.columns)
    floats, others = _parts(schema)
    index = labels(schema)
    assemble = _assembler()

    def build(rows: Sequence[Any]) -> Any:
        blocks: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
        for place, name, make in others:
            array = make([row[name] for row in rows])
            blocks[array.dtype if isinstance(array, np.ndarray) else place].append((place, array))
        float_block = None
        if floats:
            names = [name for _, name in floats]
            data = np.array([[row[name] for row in rows] for name in names], dtype=np.float64)
            float_block = (data, [place for place, _ in floats])
        return assemble(float_block, blocks, index, len(rows))

    return build


def labels(schema: Schema) -> Any:
    """The columns' own labels, as an Index of the sample's kind."""
    import pandas as pd

    own = [column.name if column.label is None else column.label for column in schema.columns]
    if own == list(range(len(own))) and not any(isinstance(label, bool) for label in own):
        return pd.RangeIndex(len(own))
    return pd.Index(own)


def _parts(schema: Schema) -> tuple[list[tuple[int, str]], list[tuple[int, str, Any]]]:
    """float64 columns, which one call converts together, and the others with their builders."""
    floats, others = [], []
    for place, column in enumerate(schema.columns):
        if column.dtype == "float64":
            floats.append((place, column.name))
        else:
            others.append((place, column.name, builder(column)))
    return floats, others


def _assembler() -> Callable[..., Any]:
    try:
        from pandas.api.internals import create_dataframe_from_blocks  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return from_columns
    return lambda floats, blocks, index, count: from_blocks(create_dataframe_from_blocks, floats, blocks, index, count)


def from_blocks(create: Any, floats: Any, blocks: dict[Any, list[tuple[int, Any]]], index: Any, count: int) -> Any:
    import pandas as pd

    parts = [floats] if floats else []
    for block in blocks.values():
        places = [place for place, _ in block]
        first = block[0][1]
        if isinstance(first, np.ndarray):
            parts.append((np.stack([array for _, array in block]), places))
        else:
            parts.append((first, places))
    merged = _merged(parts)
    return create(
        [(data, np.array(places, dtype=np.intp)) for data, places in merged],
        index=pd.RangeIndex(count),
        columns=index.view(),
    )


def _merged(parts: list[tuple[Any, list[int]]]) -> list[tuple[Any, list[int]]]:
    """An integer column that a null made float64 joins the block of the float64 columns."""
    if len(parts) < 2 or not isinstance(parts[0][0], np.ndarray):
        return parts
    first, places = parts[0]
    rest = []
    for data, where in parts[1:]:
        if isinstance(data, np.ndarray) and data.dtype == first.dtype:
            first, places = np.concatenate([first, data]), [*places, *where]
        else:
            rest.append((data, where))
    return [(first, places), *rest]


def from_columns(floats: Any, blocks: dict[Any, list[tuple[int, Any]]], index: Any, count: int) -> Any:
    """By the ordinary constructor."""
    import pandas as pd

    arrays = {place: array for block in blocks.values() for place, array in block}
    if floats:
        arrays |= dict(zip(floats[1], floats[0], strict=True))
    frame = pd.DataFrame(
        {place: pd.Series(arrays[place], dtype=arrays[place].dtype) for place in range(len(arrays))},
        index=pd.RangeIndex(count),
    )
    frame.columns = index.view()
    return frame
