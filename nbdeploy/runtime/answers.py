"""What a method returned: seen once in the kernel (`observe`), as JSON from the service (`encode`), back at the client (`decode`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from . import restored
from .columns import numpy_values, plain, plain_float, values_of
from .comparison import difference, same
from .dtypes import dtype_text
from .manifest import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ModelFault", "decode", "difference", "dumps", "encode", "observe", "same"]

MAX_WIDTH = 65_536  # values that answer one row


class ModelFault(Exception):  # the model's, not ours
    """What the model returned cannot be an answer to the rows; says why, for the service's log."""


def observe(value: Any, n: int, labels: Any = None, *, keyed: bool = True) -> Output:
    """How the answers to `n` rows look. `labels` are the classes of probabilities, a list of such lists for several
    outputs. A frame's rows become objects by column if `keyed`, else lists.

    Raises:
        ModelFault: this is no answer that JSON could hold.
    """
    container = _container(value, n, labels)
    output = _OBSERVERS[container](value, n, labels, keyed)
    encode(output, value, n)
    return output


def encode(output: Output, value: Any, n: int) -> list[Any]:
    """JSON-ready, one entry a row: NaN is None, infinities are texts. Raises ModelFault."""
    try:
        rows = _ENCODERS[output.container](output, value, n)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as exc:
        raise ModelFault(
            f"an answer of the type {type(value).__name__} and this shape or content cannot be used: {exc}"
        ) from exc
    if len(rows) != n:
        raise ModelFault(f"{len(rows)} answers for {n} rows")
    return rows


def decode(output: Output, predictions: Sequence[Any], *, index: Any = None) -> Any:
    """What the model itself would have returned: type, shape, dtype. `index` is that of a pandas input, which frames and
    series that a model returns usually keep.
    """
    return restored.restore(output, predictions, index)


def dumps(obj: Any) -> bytes:
    """Strict JSON, also of what was not encoded: NaN is null, infinities are "Infinity" and "-Infinity"."""
    try:
        return json.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a character in a label
        return json.dumps(obj, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return dumps(_finite(obj))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return plain_float(value) if isinstance(value, float) else value


def _container(value: Any, n: int, labels: Any) -> str:
    if isinstance(value, np.ndarray):
        return "array"
    if hasattr(value, "toarray") and hasattr(value, "format"):
        return "sparse"
    if type(value).__name__ in {"DataFrame", "Series"}:
        return "frame" if hasattr(value, "columns") else "series"
    if isinstance(value, list):
        nested = isinstance(labels, list | tuple) and bool(labels) and isinstance(labels[0], list | tuple)
        arrays = bool(value) and all(isinstance(item, np.ndarray) and len(item.shape) > 1 for item in value)
        return "arrays" if arrays and (nested or len(value) != n) else "list"
    if isinstance(value, tuple):
        return "tuple"
    raise ModelFault(f"the type {type(value).__name__} is no answer; return an array, a list, a Series or a DataFrame")


def _observed_array(value: Any, n: int, labels: Any, keyed: bool) -> Output:  # noqa: ARG001  # one of a table
    shape = _row_shape(value, n)
    text = dtype_text(value.dtype) if value.dtype.kind != "T" else "StringDType"
    if text is None:
        raise ModelFault(f"an array of {value.dtype} has no JSON form")
    _refuse_mask(value)
    flat = _flat_labels(labels)
    classes = flat if shape == (len(flat or ()),) and len(flat or ()) > 0 else None
    extra: dict[str, Any] = {"null": _null_in(value)} if text == "object" else {}
    if classes is not None and [str(label) for label in classes] != (names := [str(label) for label in labels]):
        extra["names"] = names
    if isinstance(value, np.matrix):
        extra["matrix"] = True
    return Output("array", dtype=text, shape=shape, labels=classes, extra=extra)


def _refuse_mask(value: Any) -> None:
    """JSON has one null, which is NaN already: masked values could not be told from it. Raises ModelFault."""
    if isinstance(value, np.ma.MaskedArray):
        raise ModelFault("a masked array has no JSON form; return filled(numpy.nan), whose NaN is sent as null")


def _row_shape(value: Any, n: int) -> tuple[int, ...]:
    if len(value.shape) == 0 or value.shape[0] != n:
        raise ModelFault(f"an array of shape {tuple(value.shape)} does not answer {n} rows")
    shape = tuple(int(length) for length in value.shape[1:])
    if int(np.prod(shape, dtype=np.int64)) > MAX_WIDTH:
        raise ModelFault(
            f"each row is answered with {int(np.prod(shape)):,} values, too many to send (at most {MAX_WIDTH:,})"
        )
    return shape


def _flat_labels(labels: Any) -> tuple[Any, ...] | None:
    """Classes as JSON values; refused where two have one text."""
    if not isinstance(labels, list | tuple) or any(isinstance(label, list | tuple) for label in labels):
        return None
    texts = [str(label) for label in labels]
    if len(set(texts)) < len(texts):
        raise ModelFault("two of its classes have the same text, so probabilities cannot be keyed by class")
    return tuple(plain(label) for label in labels)


def _null_in(array: Any) -> str:
    """What a missing value of an array of objects is."""
    missing = [value for value in array.ravel().tolist() if value is None or value != value]  # noqa: PLR0124  # NaN
    return "nan" if missing and isinstance(missing[0], float) else "None"


def _observed_sparse(value: Any, n: int, labels: Any, keyed: bool) -> Output:  # noqa: ARG001  # one of a table
    shape = _row_shape(value, n)
    noun = "array" if type(value).__name__.endswith("array") else "matrix"
    return Output("sparse", dtype=dtype_text(value.dtype), shape=shape, extra={"format": value.format, "noun": noun})


def _observed_frame(value: Any, n: int, labels: Any, keyed: bool) -> Output:  # noqa: ARG001  # one of a table
    _row_shape(value, n)
    columns = tuple(plain(label) for label in value.columns)
    keyed = keyed and len({str(label) for label in columns}) == len(columns)
    extra: dict[str, Any] = {"library": type(value).__module__.partition(".")[0], "keyed": keyed}
    parts = [_column(value, place) for place in range(len(columns))]
    extra |= _categories_of(parts)
    dtypes = tuple(_column_dtype(part) for part in parts)
    return Output("frame", shape=(len(columns),), columns=columns, dtypes=dtypes, extra=extra)


def _observed_series(value: Any, n: int, labels: Any, keyed: bool) -> Output:  # noqa: ARG001  # one of a table
    _row_shape(value, n)
    extra: dict[str, Any] = {"library": type(value).__module__.partition(".")[0], "name": plain(value.name)}
    return Output("series", dtype=_column_dtype(value), extra=extra | _categories_of([value]))


def _column(frame: Any, place: int) -> Any:
    return frame.iloc[:, place] if hasattr(frame, "iloc") else frame.to_series(place)


def _column_dtype(series: Any) -> str:
    if not hasattr(series, "iloc"):
        from .polar import dtype_text as polars_text

        return polars_text(series.dtype)
    text = dtype_text(series.dtype)
    if text is None:
        raise ModelFault(f"a column of dtype {series.dtype} has no JSON form")
    return text


def _categories_of(columns: Sequence[Any]) -> dict[str, Any]:
    found = {}
    for place, series in enumerate(columns):
        categories = getattr(series.dtype, "categories", None)
        if categories is not None:
            known = values_of(categories) if hasattr(series, "iloc") else list(categories)
            found[str(place)] = {"values": known, "ordered": bool(getattr(series.dtype, "ordered", False))}
    return {"categories": found} if found else {}


def _observed_list(value: Any, n: int, labels: Any, keyed: bool) -> Output:  # noqa: ARG001  # one of a table
    if len(value) != n:
        raise ModelFault(f"{len(value)} answers for {n} rows")
    numbers = bool(value) and all(isinstance(item, float | np.floating) for item in value)
    return Output("list", dtype="float" if numbers else None)


def _observed_arrays(value: Any, n: int, labels: Any, keyed: bool) -> Output:
    nested = labels if isinstance(labels, list | tuple) and len(labels) == len(value) else [None] * len(value)
    parts = [_observed_array(array, n, own, keyed) for array, own in zip(value, nested, strict=True)]
    return Output("arrays", shape=(len(parts),), extra={"parts": [as_dict(part) for part in parts]})


def _observed_tuple(value: Any, n: int, labels: Any, keyed: bool) -> Output:
    if not value or not all(hasattr(part, "__len__") and not isinstance(part, str | dict) for part in value):
        raise ModelFault("a tuple is an answer only if each of its parts has one entry a row")
    parts = [_OBSERVERS[_container(part, n, None)](part, n, labels, keyed) for part in value]
    return Output("tuple", shape=(len(parts),), extra={"parts": [as_dict(part) for part in parts]})


def as_dict(output: Output) -> dict[str, Any]:
    """As `manifest.json` holds it."""
    return {
        "container": output.container,
        "dtype": output.dtype,
        "shape": list(output.shape),
        "columns": list(output.columns),
        "dtypes": list(output.dtypes),
        "labels": None if output.labels is None else list(output.labels),
        "extra": output.extra,
    }


def _encoded_array(output: Output, value: Any, n: int) -> list[Any]:
    if not isinstance(value, np.ndarray) or value.shape[:1] != (n,):
        raise ValueError(f"an array of {n} rows was expected")
    _refuse_mask(value)
    if value.shape[1:] != output.shape:
        raise ValueError(f"rows of shape {output.shape} were expected, not {value.shape[1:]}")
    rows = _objects(value) if value.dtype.kind == "O" else numpy_values(value)
    if output.labels is None:
        return rows
    names = restored.class_names(output)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _objects(array: Any) -> list[Any]:
    return [_nested(value) for value in array.tolist()]


def _nested(value: Any) -> Any:
    """Any answer made of lists, objects and single values, numpy's included."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("an object's keys must be texts")
        return {str(key): _nested(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    return numpy_values(value) if isinstance(value, np.ndarray) else plain(value)


def _encoded_sparse(output: Output, value: Any, n: int) -> list[Any]:
    return _encoded_array(output, value.toarray(), n)


def _encoded_frame(output: Output, value: Any, n: int) -> list[Any]:  # noqa: ARG001  # one of a table
    places = range(value.shape[1])
    if len(places) != len(output.columns):
        raise ValueError(f"{len(output.columns)} columns were expected, not {len(places)}")
    columns = [_series_values(_column(value, place)) for place in places]
    rows = zip(*columns, strict=True)
    if not output.extra.get("keyed"):
        return [list(row) for row in rows]
    names = [str(label) for label in output.columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _series_values(series: Any) -> Any:
    if hasattr(series, "iloc"):
        return values_of(series)
    from .polar import values_of as polars_values

    return polars_values(series)


def _encoded_series(output: Output, value: Any, n: int) -> Any:  # noqa: ARG001  # one of a table
    return _series_values(value)


def _encoded_list(output: Output, value: Any, n: int) -> list[Any]:  # noqa: ARG001  # one of a table
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return [_nested(item) for item in value]


def _encoded_parts(output: Output, value: Any, n: int) -> list[Any]:
    parts = restored.parts_of(output)
    columns = [encode(part, item, n) for part, item in zip(parts, value, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


_OBSERVERS: dict[str, Callable[[Any, int, Any, bool], Output]] = {
    "array": _observed_array,
    "sparse": _observed_sparse,
    "frame": _observed_frame,
    "series": _observed_series,
    "list": _observed_list,
    "arrays": _observed_arrays,
    "tuple": _observed_tuple,
}
_ENCODERS: dict[str, Callable[[Output, Any, int], list[Any]]] = {
    "array": _encoded_array,
    "sparse": _encoded_sparse,
    "frame": _encoded_frame,
    "series": _encoded_series,
    "list": _encoded_list,
    "arrays": _encoded_parts,
    "tuple": _encoded_parts,
}
