"""What a request may hold: bytes in, rows or every problem out.

`Contract` is built once from a bundle's schema. The parse refuses what JSON parsers differ about (duplicate keys, NaN,
text after the document); pydantic's core then checks all rows in one call. Only when that fails are problems looked
for one by one (problems.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from .checks import SCALAR, row_check
from .documents import input_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from .manifest import Column, Schema

MAX_ROWS = 10_000
LARGE = 100_000  # bytes; smaller bodies cannot hold a row that is slow to refuse


class Refusal(Exception):  # the answer to a request, not a fault
    """An HTTP status with the envelope's code, message and details."""

    def __init__(self, status: int, code: str, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(status, code, message, details)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []


@dataclass(frozen=True, slots=True)
class Request:
    """`rows` are as JSON gave them, in the schema's order and without keys. `keys` has one object a row, None where the
    schema knows no keys. Requests of one `group` give tables of the same dtypes, so they may share one model call.
    """

    rows: list[Any]
    keys: list[dict[str, Any]] | None
    group: Hashable


class _DuplicateKey(ValueError):
    pass


class Contract:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.names = frozenset(column.name for column in schema.columns)
        self._keyed = schema.keyed
        self._width = len(schema.columns) + len(schema.keys)
        row = row_check(schema)
        self._row = SchemaValidator(row)
        self._rows = SchemaValidator(core_schema.list_schema(row, fail_fast=True))
        self._keys = frozenset(schema.keys)
        self._key = SchemaValidator(core_schema.nullable_schema(SCALAR))
        self._group = _grouping(schema)
        self._json = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)

    def decode(self, body: bytes, max_rows: int = MAX_ROWS) -> Request:
        """Raises Refusal 400 (not JSON), 413 (too many rows) or 422, with all problems, none of which holds a value."""
        rows = self._list(self.document(body), max_rows)
        if self._keyed and len(body) > LARGE and any(type(row) is dict and len(row) > self._width for row in rows):
            raise self._refusal(rows)
        keys = None
        given = rows
        if self._keys:
            rows, keys = self._split(rows)
        try:
            valid = self._rows.validate_python(rows)
        except ValidationError:
            raise self._refusal(given) from None
        return Request(valid, keys, self._group(valid))

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of a request's body."""
        return input_schema(self.schema, MAX_ROWS)

    def document(self, body: bytes, wanted: str = '{"rows": [...]}') -> dict[str, Any]:
        """The JSON object of a body that should be like `wanted`. Raises Refusal 400."""
        if not body.strip():
            raise Refusal(400, "bad_json", f"The body is empty; send {wanted}.")
        try:
            found = self._json.decode(body.decode())
        except UnicodeDecodeError as exc:
            raise Refusal(400, "bad_json", f"The body is not UTF-8: byte {exc.start} cannot be read.") from None
        except json.JSONDecodeError as exc:
            raise Refusal(400, "bad_json", f"The body is not JSON: {exc.msg} at character {exc.pos}.") from None
        except _DuplicateKey:
            raise Refusal(400, "bad_json", "An object in the body has the same key twice.") from None
        except RecursionError:
            raise Refusal(400, "bad_json", "The body is nested too deeply.") from None
        except ValueError as exc:
            fact = str(exc) if str(exc) == _NOT_A_NUMBER else "it holds a number of too many digits"
            raise Refusal(400, "bad_json", f"The body is not JSON: {fact}.") from None
        if type(found) is not dict:
            raise Refusal(400, "bad_json", f"The body must be a JSON object: {wanted}.")
        return found

    def _list(self, document: dict[str, Any], max_rows: int) -> list[Any]:
        if document.keys() != {"rows"}:
            raise self._misshapen(document)
        rows = document["rows"]
        if type(rows) is not list:
            raise Refusal(422, "invalid_rows", '"rows" must be a list, one entry for each row.')
        if len(rows) > max_rows:
            fact = f"{len(rows):,} rows were sent, at most {max_rows:,} are taken at once; send them in parts."
            raise Refusal(413, "too_many_rows", fact)
        return rows

    def _misshapen(self, document: dict[str, Any]) -> Refusal:
        if "rows" in document:
            return Refusal(422, "invalid_rows", 'The body holds keys beside "rows"; send {"rows": [...]} alone.')
        hint = " A single row is sent as a list of one." if self._keyed and document.keys() & self.names else ""
        return Refusal(422, "invalid_rows", f'The body has no "rows"; send {{"rows": [...]}}.{hint}')

    def _split(self, rows: list[Any]) -> tuple[list[Any], list[dict[str, Any]]]:
        """Rows without keys, and the keys; a key that is no scalar stays, to be refused with the rest."""
        bare, keys = [], []
        for row in rows:
            found = row.keys() & self._keys if type(row) is dict else ()
            key = {name: row[name] for name in found if self._key.isinstance_python(row[name])}
            keys.append(key)
            bare.append({name: row[name] for name in row if name not in key} if key else row)
        return bare, keys

    def _refusal(self, rows: list[Any]) -> Refusal:
        from .problems import MAX_DETAILS, problems_of

        found, more = problems_of(self.schema, self._row, rows)
        first = "the first " if len(found) == MAX_DETAILS else ""
        message = first + _counted(len(found)) + (f", and {_counted(more, 'more row')} with others" if more else "")
        return Refusal(422, "invalid_rows", f"The rows do not fit the model: {message}.", found)


_NOT_A_NUMBER = "NaN, Infinity and -Infinity are not JSON numbers"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKey
    return found


def _constant(_: str) -> Any:
    raise ValueError(_NOT_A_NUMBER)


def _counted(number: int, what: str = "problem") -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def group_of(schema: Schema, rows: list[Any]) -> Hashable:
    """The group of rows that are valid."""
    return _grouping(schema)(rows)


def _grouping(schema: Schema) -> Callable[[list[Any]], Hashable]:
    """What of the rows decides the dtypes of their table, beside the schema."""
    at = {column.name: place for place, column in enumerate(schema.columns)}
    keyed = schema.keyed
    if schema.library != "pandas" and schema.container != "array":
        return _alike
    shifting = [column for column in schema.columns if column.nullable and shifts(column)]
    growing = [column for column in schema.columns if column.dtype.startswith("category") and column.unseen]
    if schema.container == "array" and schema.library == "numpy":
        return _array_grouping(schema)
    if not (shifting or growing) or schema.container == "array":
        return _alike

    def cells(rows: list[Any], column: Column) -> Sequence[Any]:
        return [row[column.name] for row in rows] if keyed else rows

    def group(rows: list[Any]) -> Hashable:
        nulls = tuple(at[column.name] for column in shifting if None in cells(rows, column))
        new = ((at[column.name], _unseen(cells(rows, column), column)) for column in growing)
        return nulls, tuple(pair for pair in new if pair[1])

    return group


def shifts(column: Column) -> bool:
    """Whether a null changes the column's dtype, as it does in pandas and numpy: integers to float64, bool to object."""
    return column.dtype == "bool" or (column.dtype.startswith(("int", "uint")) and "[" not in column.dtype)


def _unseen(values: Sequence[Any], column: Column) -> frozenset[Any]:
    return frozenset(value for value in values if value is not None).difference(column.categories or ())


def _array_grouping(schema: Schema) -> Callable[[list[Any]], Hashable]:
    dtype = schema.dtype or ""
    if not (dtype == "bool" or dtype.startswith(("int", "uint"))):
        return _alike
    if not any(column.nullable for column in schema.columns):
        return _alike
    return _has_null


def _has_null(value: Any) -> bool:
    if type(value) in {list, tuple}:
        return any(_has_null(item) for item in value)
    return value is None


def _alike(rows: list[Any]) -> Hashable:  # noqa: ARG001  # one of several groupings
    return ()
