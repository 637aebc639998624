"""A fingerprint of rows: names, types and values, in their order. A million rows of 30 columns take less than a second."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.columns import column_values, length, thinned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_CELLS = 50_000_000  # beyond that, evenly spread rows only


def fingerprint(data: Any) -> dict[str, Any]:
    """{"sha256", "rows", "columns" (names, or null), "counted": rows that entered, if not all}."""
    rows = length(data)
    names = _names(data)
    most = max(MOST_CELLS // _width(data), 1)
    used = thinned(data, most)
    digest = hashlib.sha256(json.dumps([rows, names, _types(used)], default=str).encode())
    digest.update(_content(used, names))
    counted = length(used)
    return {
        "sha256": digest.hexdigest(),
        "rows": rows,
        "columns": names,
        "counted": None if counted == rows else counted,
    }


def _names(data: Any) -> list[str] | None:
    return [str(label) for label in data.columns] if hasattr(data, "columns") else None


def _width(data: Any) -> int:
    width = 1
    for size in getattr(data, "shape", ())[1:]:
        width *= int(size)
    return max(width, 1)


def _types(data: Any) -> list[str]:
    if hasattr(data, "dtypes"):
        found = data.dtypes
        return [
            str(item) for item in (found if isinstance(found, list) else getattr(found, "tolist", lambda: [found])())
        ]
    return [str(getattr(data, "dtype", type(data).__name__))]


def _content(data: Any, names: list[str] | None) -> bytes:
    import numpy as np

    if hasattr(data, "columns"):
        return _of_columns([_column(data, place) for place in range(len(names or ()))])
    if hasattr(data, "toarray"):
        sparse = data.tocsr()
        return b"".join(np.ascontiguousarray(part).tobytes() for part in (sparse.indptr, sparse.indices, sparse.data))
    if isinstance(data, np.ndarray) and not data.dtype.hasobject:
        return np.ascontiguousarray(data).tobytes()
    if isinstance(data, np.ndarray) and data.ndim > 1:
        return _of_columns(list(data.reshape(len(data), -1).T))
    if isinstance(data, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in data):
        return json.dumps(data, default=str, sort_keys=True).encode()
    return _of_columns([column_values(data, None)])


def _column(data: Any, place: int) -> Any:
    """By place: labels may be equal."""
    return data.iloc[:, place] if hasattr(data, "iloc") else column_values(data, str(data.columns[place]))


def _of_columns(columns: list[Any]) -> bytes:
    """One 64-bit number a row, mixed over the columns in their order."""
    import numpy as np

    mixed: NDArray[np.uint64] | None = None
    for column in columns:
        hashed = _hashed(column)
        mixed = hashed if mixed is None else (mixed * np.uint64(0x9E3779B97F4A7C15)) ^ (mixed >> np.uint64(29)) ^ hashed
    return b"" if mixed is None else mixed.tobytes()


def _hashed(column: Any) -> NDArray[np.uint64]:
    import numpy as np
    import pandas as pd

    series = (
        column if isinstance(column, pd.Series) else pd.Series(column if hasattr(column, "dtype") else list(column))
    )
    try:
        hashed = pd.util.hash_pandas_object(series, index=False)
    except TypeError:  # values that have no hash: lists, dicts
        hashed = pd.util.hash_pandas_object(series.map(repr), index=False)
    return np.asarray(hashed, dtype=np.uint64)
