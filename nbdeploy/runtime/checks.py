"""The checks of one row, as pydantic's core schemas."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from . import times

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import CoreSchema

    from .manifest import Column, Schema

MAX_TEXT = 1_000_000  # characters
OWN = "nbdeploy"  # the type of errors whose message is ours
UNKNOWN = "nbdeploy_category"
SHAPE = "nbdeploy_shape"
TOO_LARGE = "is too large a number"
INFINITE = ("Infinity", "-Infinity")
_FLOAT_MAX = {"float16": 65504.0, "float32": 3.4028234663852886e38}
_WIDE = 1_000  # from so many values a row on, an array's row is refused at its first problem
TEXT = core_schema.str_schema(strict=True, max_length=MAX_TEXT)


def row_check(schema: Schema) -> CoreSchema:
    if schema.keyed:
        fields = {column.name: core_schema.typed_dict_field(cell_check(column)) for column in schema.columns}
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid", strict=True)
    if schema.container == "array":
        return _array_check(schema)
    return cell_check(schema.columns[0])


def cell_check(column: Column) -> CoreSchema:
    listed = column.categories is not None and not column.unseen
    check = _listed(column) if listed else _CHECKS[column.kind](column)
    return core_schema.nullable_schema(check) if column.nullable else check


def integer_range(dtype: str) -> tuple[int, int] | None:
    """The bounds of an integer dtype in any spelling: int8, UInt16, int64[pyarrow]; None for what is no integer."""
    name = dtype.partition("[")[0].lower()
    unsigned = name.startswith("u")
    digits = name.removeprefix("u").removeprefix("int")
    if not digits.isdigit():
        return None
    bits = int(digits)
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def unit_of(dtype: str) -> tuple[str, bool]:
    """The unit of a dtype of moments or durations, and whether it has a time zone."""
    inside = dtype.partition("[")[2].partition("]")[0]
    unit, _, zone = inside.partition(",")
    return (unit.strip() or "D"), bool(zone)


def _array_check(schema: Schema) -> CoreSchema:
    if not schema.shape:
        return cell_check(schema.columns[0])
    cells = [cell_check(column) for column in schema.columns]
    if len(cells) > 1 and any(cell != cells[0] for cell in cells):
        return core_schema.tuple_schema(cells, strict=False)
    check = cells[0]
    wide = math.prod(schema.shape) > _WIDE
    for length in reversed(schema.shape):
        check = core_schema.list_schema(check, min_length=length, max_length=length, strict=True, fail_fast=wide)
    return check


def _integer(column: Column) -> CoreSchema:
    bounds = integer_range(column.dtype) or (-(2**63), 2**64 - 1)
    return core_schema.int_schema(strict=True, ge=bounds[0], le=bounds[1])


def _number(column: Column) -> CoreSchema:
    limit = _FLOAT_MAX.get(column.dtype.partition("[")[0].lower())
    bounds = {"ge": -limit, "le": limit} if limit else {}
    finite = core_schema.float_schema(strict=True, allow_inf_nan=False, **bounds)  # type: ignore[arg-type]
    if not column.nonfinite:
        return finite
    return core_schema.union_schema([finite, core_schema.literal_schema([*INFINITE, "NaN"])], mode="left_to_right")


def _boolean(_: Column) -> CoreSchema:
    return core_schema.bool_schema(strict=True)


def _text(_: Column) -> CoreSchema:
    return TEXT


def _time(parse: Callable[[str], int]) -> CoreSchema:
    def check(text: str) -> str:
        try:
            parse(text)
        except ValueError as exc:
            raise PydanticCustomError(OWN, "{problem}", {"problem": str(exc)}) from None
        return text

    return core_schema.no_info_after_validator_function(check, core_schema.str_schema(strict=True, max_length=100))


def _moment(column: Column) -> CoreSchema:
    unit, aware = unit_of(column.dtype)
    return _time(partial(times.moment, unit=unit, aware=aware))


def _duration(column: Column) -> CoreSchema:
    return _time(partial(times.duration, unit=unit_of(column.dtype)[0]))


def _any(_: Column) -> CoreSchema:
    return SCALAR


def _category(column: Column) -> CoreSchema:
    """As the categories themselves are."""
    types = {type(value) for value in column.categories or ()}
    if types <= {str}:
        return TEXT
    if types == {bool}:
        return core_schema.bool_schema(strict=True)
    if types == {int}:
        return core_schema.int_schema(strict=True, ge=-(2**63), le=2**64 - 1)
    if types == {float}:
        return core_schema.float_schema(strict=True, allow_inf_nan=False)
    return SCALAR


def _listed(column: Column) -> CoreSchema:
    known = frozenset((type(value), value) for value in column.categories or ())

    def check(value: Any) -> Any:
        if (type(value), value) not in known:
            raise PydanticCustomError(UNKNOWN, "is not one of the known categories")
        return value

    return core_schema.no_info_after_validator_function(check, _category(column))


def _scalar(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return _TEXT.validate_python(value)
    if kind is int and not -(2**63) <= value < 2**64:
        raise PydanticCustomError(OWN, "{problem}", {"problem": TOO_LARGE})
    if kind is float and not math.isfinite(value):
        raise PydanticCustomError(OWN, "{problem}", {"problem": TOO_LARGE})
    if kind not in {bool, int, float}:
        raise PydanticCustomError(SHAPE, "must be a single value")
    return value


SCALAR = core_schema.no_info_plain_validator_function(_scalar)
_TEXT = SchemaValidator(TEXT)

_CHECKS: dict[str, Callable[[Column], CoreSchema]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "text": _text,
    "category": _category,
    "datetime": _moment,
    "timedelta": _duration,
    "any": _any,
}
