"""What is wrong with rows that were refused: row, column, problem and hint, never a value."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic_core import ValidationError

from .checks import INFINITE, OWN, SHAPE, TOO_LARGE, UNKNOWN, integer_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import SchemaValidator

    from .manifest import Column, Schema

MAX_DETAILS = 100
MAX_NAME = 80  # characters of a column's name that are shown
_MAX_KNOWN = 300  # names or categories among which a similar one is looked for
_MAX_LISTED = 8
_MAX_HINTS = 20  # unknown columns of one row that get a hint
_LEAVE_OUT = "leave it out, or have it named with --keys when the model is deployed"

_WANTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "text": "text",
    "datetime": "text with a date and time",
    "timedelta": "text with a duration",
    "any": "a number, text, true or false",
}
_GIVEN = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}

Detail = dict[str, Any]


def problems_of(schema: Schema, check: SchemaValidator, rows: Sequence[Any]) -> tuple[list[Detail], int]:
    """The first problems, and how many further rows have some."""
    found: list[Detail] = []
    more = 0
    for number, row in enumerate(rows):
        if len(found) < MAX_DETAILS:
            found += _row_problems(schema, check, number, row)[: MAX_DETAILS - len(found)]
        elif not _fits(schema, check, row):
            more += 1
    return found, more


def similar(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant."""
    names = list(known)[:_MAX_KNOWN]
    if len(word) > MAX_NAME:
        return None
    folded = {name.casefold().strip(): name for name in names}
    same = folded.get(word.casefold().strip())
    if same is not None:
        return same
    close = difflib.get_close_matches(word, [name for name in names if len(name) <= MAX_NAME], n=1, cutoff=0.6)
    return close[0] if close else None


def _fits(schema: Schema, check: SchemaValidator, row: Any) -> bool:
    if type(row) is dict and schema.keys:
        row = {name: value for name, value in row.items() if name not in schema.keys}
    return (type(row) is not dict or len(row) <= len(schema.columns)) and check.isinstance_python(row)


def _row_problems(schema: Schema, check: SchemaValidator, number: int, row: Any) -> list[Detail]:
    keyed = schema.keyed
    found = _extra_problems(schema, number, row) if keyed and type(row) is dict else []
    if found or (keyed and schema.keys and type(row) is dict):
        names = {column.name for column in schema.columns}
        row = {name: value for name, value in row.items() if name in names}
    try:
        check.validate_python(row)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        found += (_keyed_problems if keyed else _placed_problems)(schema, number, errors)
    return found


def _extra_problems(schema: Schema, number: int, row: dict[str, Any]) -> list[Detail]:
    known = {column.name for column in schema.columns}
    free = [name for name in (*known, *schema.keys) if name not in row]
    found = []
    for name, value in row.items():
        if name in known:
            continue
        if name in schema.keys:
            if isinstance(value, list | dict):
                found.append(_detail(number, name, "must be a single value, to be kept as a key"))
            elif isinstance(value, int | float) and not -(2**63) <= value < 2**64:
                found.append(_detail(number, name, TOO_LARGE))
            continue
        meant = similar(name, free) if len(found) < _MAX_HINTS else None
        found.append(_detail(number, name, "is not a column of the model", _did_you_mean(meant) or _LEAVE_OUT))
        if len(found) >= MAX_DETAILS:
            break
    return found


def _keyed_problems(schema: Schema, number: int, errors: Iterable[Any]) -> list[Detail]:
    columns = {column.name: column for column in schema.columns}
    found: dict[Any, Detail] = {}
    for error in errors:
        place = error["loc"]
        if place and place[0] in columns:
            found.setdefault(place[0], _detail(number, place[0], *_explained(columns[place[0]], error)))
        else:
            fact = "must be an object keyed by column" if error["type"] == "dict_type" else "is not valid Unicode"
            found.setdefault(None, _detail(number, None, fact))
    return list(found.values())


def _placed_problems(schema: Schema, number: int, errors: Iterable[Any]) -> list[Detail]:
    """Of rows that are lists or single values."""
    depth = len(schema.shape) if schema.container == "array" else 0
    found: dict[Any, Detail] = {}
    for error in errors:
        place = tuple(step for step in error["loc"] if isinstance(step, int))[:depth]
        if place in found:
            continue
        if len(place) < depth:
            found[place] = _detail(number, _position(place), *_misshapen(schema, place, error))
            continue
        column = schema.columns[place[0] if len(schema.columns) > 1 else 0]
        name = column.name if depth <= 1 else _position(place)
        found[place] = _detail(number, name if depth else None, *_explained(column, error))
    return list(found.values())


def _misshapen(schema: Schema, place: tuple[int, ...], error: Any) -> tuple[str, str | None]:
    wanted = schema.shape[len(place)]
    given = error["input"]
    if isinstance(given, list | tuple):
        return f"has {len(given)} values, not {wanted}", None
    return f"must be a list of {wanted}, not {_given(given)}", None


def _explained(column: Column, error: Any) -> tuple[str, str | None]:
    kind, value = error["type"], error.get("input")
    if kind == "missing":
        return "is missing", "every column must be present, null or not"
    if value is None:
        return "is null, and the model does not answer rows with a null here", None
    if kind == UNKNOWN:
        return "is not one of the known categories", _category_hint(column, value)
    if kind == OWN:
        return error["msg"], None
    if kind == "string_too_long":
        return f"is longer than {error['ctx']['max_length']:,} characters", None
    if kind == "string_unicode":
        return "is not valid Unicode", None
    if kind != SHAPE and isinstance(value, int | float) and not isinstance(value, bool):
        fact = _numeric(column, value)
        if fact:
            return fact
    wanted = _wanted(column)
    return f"must be {wanted}, not {_given(value)}", _type_hint(column, value)


def _numeric(column: Column, value: float) -> tuple[str, str | None] | None:
    """What is wrong with a number where a number is wanted."""
    bounds = integer_range(column.dtype) if column.kind == "integer" else None
    if isinstance(value, float) and value - value != 0:
        return TOO_LARGE, None
    if column.kind == "integer" and isinstance(value, float):
        return "must be a whole number", "write it without a fraction: 3, not 3.0"
    if column.kind == "integer":
        return (f"must be from {bounds[0]} to {bounds[1]} ({column.dtype})", None) if bounds else (TOO_LARGE, None)
    if column.kind == "number":
        return f"{TOO_LARGE} for {column.dtype}", None
    return None


def _wanted(column: Column) -> str:
    if column.kind != "category":
        return _WANTED[column.kind]
    types = {type(value) for value in column.categories or ()}
    words = {"text" if kind is str else _GIVEN[kind] for kind in types}
    return words.pop() if len(words) == 1 else _WANTED["any"]


def _type_hint(column: Column, value: Any) -> str | None:
    if not isinstance(value, str) or column.kind not in {"integer", "number"}:
        return None
    if value in {*INFINITE, "NaN"}:
        return "infinite numbers were not in the sample, so this column does not take them; a missing value is null"
    if not value.strip():
        return "a missing value is null"
    try:
        float(value[:MAX_NAME])
    except ValueError:
        return None
    return "send numbers without quotes"


def _category_hint(column: Column, value: Any) -> str | None:
    known = [item for item in column.categories or () if isinstance(item, str)]
    if known and isinstance(value, str):
        meant = similar(value, known)
        if meant is not None:
            return _did_you_mean(meant)
    categories = column.categories or ()
    shown = ", ".join(_quoted(item) for item in categories[:_MAX_LISTED])
    return f"known: {shown}{', ...' if len(categories) > _MAX_LISTED else ''}"


def _did_you_mean(meant: str | None) -> str | None:
    return None if meant is None else f"did you mean {_quoted(meant)}?"


def _quoted(value: Any) -> str:
    return f'"{_short(value)}"' if isinstance(value, str) else str(value).lower()


def _given(value: Any) -> str:
    return _GIVEN.get(type(value), "something else")


def _position(place: tuple[int, ...]) -> str | None:
    return "".join(f"[{step}]" for step in place) or None


def _detail(row: int, column: str | None, problem: str, hint: str | None = None) -> Detail:
    return {"row": row, "column": None if column is None else _short(column), "problem": problem, "hint": hint}


def _short(name: str) -> str:
    """Shown in answers and logs: of bounded length, and encodable."""
    text = name if len(name) <= MAX_NAME else name[:MAX_NAME] + "..."
    return text.encode("utf-8", "replace").decode()
