"""The input as a JSON Schema, for callers and generated documents.

Two rules have no form there: a whole number is written without a fraction (3, not 3.0), and no key stands twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .checks import INFINITE, MAX_TEXT, integer_range, unit_of

if TYPE_CHECKING:
    from .manifest import Column, Schema

_SCALAR = {"type": ["string", "number", "boolean"]}
_DURATION = r"^-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?$"
_NAIVE = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?$"


def input_schema(schema: Schema, max_rows: int) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"rows": {"type": "array", "maxItems": max_rows, "items": _row(schema)}},
        "required": ["rows"],
        "additionalProperties": False,
    }


def _row(schema: Schema) -> dict[str, Any]:
    if schema.keyed:
        keys = {name: {"type": ["string", "number", "boolean", "null"]} for name in schema.keys}
        return {
            "type": "object",
            "properties": {column.name: _cell(column) for column in schema.columns} | keys,
            "required": [column.name for column in schema.columns],
            "additionalProperties": False,
        }
    if schema.container == "array" and len(schema.columns) > 1:
        cells = [_cell(column) for column in schema.columns]
        return {"type": "array", "prefixItems": cells, "items": False, "minItems": len(cells)}
    document = _cell(schema.columns[0])
    for length in reversed(schema.shape):
        document = {"type": "array", "items": document, "minItems": length, "maxItems": length}
    return document


def _cell(column: Column) -> dict[str, Any]:
    document = _listed(column) if column.categories is not None and not column.unseen else _typed(column)
    if not column.nullable:
        return document
    if "enum" in document:
        return {"enum": [*document["enum"], None]}
    return {"anyOf": [document, {"type": "null"}]}


def _listed(column: Column) -> dict[str, Any]:
    return {"enum": list(column.categories or ())}


def _typed(column: Column) -> dict[str, Any]:
    if column.kind == "integer":
        low, high = integer_range(column.dtype) or (-(2**63), 2**64 - 1)
        return {"type": "integer", "minimum": low, "maximum": high}
    if column.kind == "number":
        number = {"type": "number"}
        return {"anyOf": [number, {"enum": [*INFINITE, "NaN"]}]} if column.nonfinite else number
    if column.kind == "boolean":
        return {"type": "boolean"}
    if column.kind == "datetime":
        aware = unit_of(column.dtype)[1]
        return {"type": "string", "format": "date-time"} if aware else {"type": "string", "pattern": _NAIVE}
    if column.kind == "timedelta":
        return {"type": "string", "pattern": _DURATION}
    if column.kind == "category":
        return _like(column)
    return {"type": "string", "maxLength": MAX_TEXT} if column.kind == "text" else dict(_SCALAR)


def _like(column: Column) -> dict[str, Any]:
    """A column with categories that takes others of their type; the known ones are examples."""
    categories = list(column.categories or ())
    types = {type(value) for value in categories}
    name = {str: "string", bool: "boolean", int: "integer", float: "number"}
    own = {"type": name[types.pop()]} if len(types) == 1 else dict(_SCALAR)
    return {**own, "examples": categories[:20]}
