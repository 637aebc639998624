"""Are two answers the same? Texts, booleans and structure exactly, numbers within a tolerance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .manifest import Output

TOLERANCE = 1e-9  # relative; sums taken in another order differ by less
SINGLE = 1e-5  # of answers in float32
TINY = 1e-12  # what cancels to nothing is compared as nothing


def same(expected: Any, answered: Any, tolerance: float = TOLERANCE) -> bool:
    return not difference(expected, answered, tolerance)


def difference(expected: Any, answered: Any, tolerance: float = TOLERANCE) -> str:
    """How two JSON values differ, the kernel's first; "" when they do not."""
    if _is_number(expected) and _is_number(answered):
        close = math.isclose(expected, answered, rel_tol=tolerance, abs_tol=TINY)
        return "" if close else f"{expected!r} in the kernel, {answered!r} here"
    if isinstance(expected, dict) and isinstance(answered, dict):
        return _objects(expected, answered, tolerance)
    if isinstance(expected, list | tuple) and isinstance(answered, list | tuple):
        return _lists(expected, answered, tolerance)
    if type(expected) is type(answered) and expected == answered:
        return ""
    return f"{_shown(expected)} in the kernel, {_shown(answered)} here"


def tolerance_of(output: Output) -> float:
    """Single precision is summed to fewer digits."""
    dtypes = (output.dtype, *output.dtypes, *(part["dtype"] for part in output.extra.get("parts", ())))
    return SINGLE if any(str(dtype).lower().startswith(("float32", "float16")) for dtype in dtypes) else TOLERANCE


def _objects(expected: dict[str, Any], answered: dict[str, Any], tolerance: float) -> str:
    if expected.keys() != answered.keys():
        return f"keys {_shown(list(expected))} in the kernel, {_shown(list(answered))} here"
    for key, value in expected.items():
        if told := difference(value, answered[key], tolerance):
            return f"{key}: {told}"
    return ""


def _lists(expected: Any, answered: Any, tolerance: float) -> str:
    if len(expected) != len(answered):
        return f"{len(expected)} values in the kernel, {len(answered)} here"
    for place, (one, other) in enumerate(zip(expected, answered, strict=True)):
        if told := difference(one, other, tolerance):
            return f"[{place}]: {told}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
