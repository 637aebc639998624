"""The names of dtypes in a manifest, and the dtypes they name."""

from __future__ import annotations

from typing import Any

import numpy as np

from .times import UNITS

NUMBERS = frozenset(
    {"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16", "float32", "float64"}
)
_ARROW_TEXTS = {"string", "large_string"}
_FOREIGN = {"SparseDtype", "IntervalDtype", "PeriodDtype"}


def dtype_text(dtype: Any) -> str | None:
    """The name `dtype_of` gives the dtype back from, None where values of it have no JSON form; numpy and pandas."""
    if isinstance(dtype, np.dtype):
        return _numpy_text(dtype)
    noun = type(dtype).__name__
    if noun == "CategoricalDtype":
        inner = dtype_text(dtype.categories.dtype)
        return f"category[{inner}]" if inner else None
    if noun == "StringDtype":
        return _string_text(dtype)
    if noun == "ArrowDtype" and str(dtype.pyarrow_dtype) in _ARROW_TEXTS:  # its own name is that of another dtype
        return f"arrow[{dtype.pyarrow_dtype}]"
    if noun in _FOREIGN or dtype.kind not in "biufMmOU":
        return None
    try:
        same = bool(dtype_of(str(dtype)) == dtype)
    except (TypeError, NotImplementedError):
        return None
    return str(dtype) if same else None


def dtype_of(text: str) -> Any:
    """Of numpy or pandas; not for categories, which are more than their name."""
    if text in NUMBERS or text.startswith("<U"):
        return np.dtype(text)
    import pandas as pd

    if text.startswith("string["):
        return pd.StringDtype(text[7:-1])
    if text.startswith("str["):
        return pd.StringDtype(text[4:-1], na_value=np.nan)
    if text.startswith("arrow["):
        import pyarrow as pa  # type: ignore[import-not-found,unused-ignore]

        return pd.ArrowDtype(pa.type_for_alias(text[6:-1]))
    return pd.api.types.pandas_dtype(text)


def _numpy_text(dtype: np.dtype[Any]) -> str | None:
    if dtype.kind == "O":
        return "object"
    if dtype.kind == "U":
        return f"<U{dtype.itemsize // 4}"
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return dtype.name
    if dtype.kind in "Mm" and np.datetime_data(dtype)[0] in UNITS and np.datetime_data(dtype)[1] == 1:
        return dtype.name
    return None


def _string_text(dtype: Any) -> str:
    import pandas as pd

    if dtype.na_value is pd.NA:
        return f"string[{dtype.storage}]"
    try:
        usual = bool(pd.api.types.pandas_dtype("str") == dtype)
    except TypeError:  # before pandas 3
        usual = False
    return "str" if usual else f"str[{dtype.storage}]"
