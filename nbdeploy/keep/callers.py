"""What a new bundle means for those who call the service: each rule a function, each finding a sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbdeploy.runtime.manifest import Column, Manifest, Method, Output

# A value of the first kind is always one of the second.
WIDER = {
    ("integer", "number"),
    ("text", "any"),
    ("integer", "any"),
    ("number", "any"),
    ("boolean", "any"),
    ("category", "any"),
}
_BITS = re.compile(r"(u?)int([0-9]+)", re.IGNORECASE)


def breaks(before: Manifest, after: Manifest) -> list[str]:
    """What callers of `before` may do or rely on, and no longer can with `after`."""
    return [*_input_breaks(before, after), *_column_breaks(before, after), *_method_breaks(before, after)]


def gains(before: Manifest, after: Manifest) -> list[str]:
    """What callers may do with `after` and could not with `before`."""
    found = [f"rows may carry the key {q(key)}" for key in _fresh(after.schema.keys, before.schema.keys)]
    if before.schema.container == after.schema.container == "array" and _types(before, after) in WIDER:
        found.append(f"the values of a row are {after.schema.dtype}, so more are accepted")
    for old, new in _kept(before, after):
        found += _column_gains(old, new)
    names = {method.name for method in before.methods}
    return found + [f"{method.name} is served as well" for method in after.methods if method.name not in names]


def q(text: Any) -> str:
    """A name in quotes, on one line."""
    return '"' + " ".join(str(text).split()) + '"'


def _listed(values: Iterable[Any]) -> str:
    items = [repr(value) for value in values]
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _fresh(new: Sequence[Any], old: Sequence[Any]) -> list[Any]:
    return [value for value in new if value not in old]


def _input_breaks(before: Manifest, after: Manifest) -> Iterator[str]:
    old, new = before.schema, after.schema
    rows = {"frame": "objects", "records": "objects", "array": "lists"}
    if rows.get(old.container, "values") != rows.get(new.container, "values"):
        yield f"rows are {rows.get(new.container, 'values')} now, they were {rows.get(old.container, 'values')}"
    elif old.container == "array" and old.shape != new.shape:
        yield f"a row has the shape {new.shape}, it had {old.shape}"
    elif old.container == "array" and _family(old.dtype) != _family(new.dtype) and _types(before, after) not in WIDER:
        yield f"the values of a row are {new.dtype}, they were {old.dtype}"
    for key in _fresh(old.keys, new.keys):
        yield f"the key {q(key)} is no longer accepted"


def _types(before: Manifest, after: Manifest) -> tuple[str | None, str | None]:
    return _family(before.schema.dtype), _family(after.schema.dtype)


def _kept(before: Manifest, after: Manifest) -> list[tuple[Column, Column]]:
    new = {column.name: column for column in after.schema.columns}
    return [(column, new[column.name]) for column in before.schema.columns if column.name in new]


def _column_breaks(before: Manifest, after: Manifest) -> Iterator[str]:
    old = {column.name: column for column in before.schema.columns}
    new = {column.name: column for column in after.schema.columns}
    removed = [column for name, column in old.items() if name not in new]
    added = [column for name, column in new.items() if name not in old]
    for gone in list(removed):
        heir = _heir(gone, added, list(old).index(gone.name), list(new))
        if heir is not None:
            removed.remove(gone)
            added.remove(heir)
            yield f"column {q(gone.name)} is called {q(heir.name)} now"
    for column in removed:
        yield f"column {q(column.name)} was removed, rows that have it are refused"
    for column in added:
        yield f"column {q(column.name)} was added and must be present"
    for first, second in _kept(before, after):
        yield from _narrowed(first, second)


def _heir(gone: Column, added: Sequence[Column], position: int, order: Sequence[str]) -> Column | None:
    """The added column that looks like the removed one under another name: same type, and same place or like values."""
    alike = [column for column in added if (column.kind, column.dtype) == (gone.kind, gone.dtype)]
    for column in alike:
        if order.index(column.name) == position:
            return column
    return next((column for column in alike if _overlaps(gone, column)), None)


def _overlaps(old: Column, new: Column) -> bool:
    """Whether most of what was seen in the one was seen in the other."""
    if old.categories and new.categories:
        shared = [value for value in old.categories if value in new.categories]
        return 2 * len(shared) >= max(len(old.categories), len(new.categories))
    bounds = (old.low, old.high, new.low, new.high)
    if not all(isinstance(value, (int, float)) for value in bounds):
        return False
    common = min(old.high, new.high) - max(old.low, new.low)
    return bool(common >= 0.5 * max(old.high - old.low, new.high - new.low))


def _narrowed(old: Column, new: Column) -> Iterator[str]:
    name = q(old.name)
    if old.kind != new.kind and not _widened(old, new):
        yield f"column {name} is {new.kind}, it was {old.kind}"
        return
    if old.kind == new.kind == "integer" and not _holds(new.dtype, old.dtype):
        yield f"column {name} is {new.dtype}, it was {old.dtype}, so large values are refused"
    if old.nullable and not new.nullable:
        yield f"column {name} no longer accepts null"
    if new.kind == "category" and not new.unseen:
        yield from _categories_lost(old, new)


def _categories_lost(old: Column, new: Column) -> Iterator[str]:
    if old.unseen:
        yield f"column {q(old.name)} no longer accepts values it has not seen"
        return
    lost = _fresh(old.categories or (), new.categories or ())
    if lost:
        yield f"column {q(old.name)} no longer accepts {_listed(lost)}"


def _widened(old: Column, new: Column) -> bool:
    """Whether every value the old column took is one the new column takes, as far as the kind goes."""
    if (old.kind, new.kind) in WIDER:
        return True
    texts = all(isinstance(value, str) for value in (*(old.categories or ()), *(new.categories or ())))
    return (
        {old.kind, new.kind} == {"category", "text"} and texts and (new.kind == "text" or not old.unseen or new.unseen)
    )


def _holds(outer: str, inner: str) -> bool:
    """Whether integers of dtype `inner` fit into `outer`; True where either is not written as int64 or UInt8 are."""
    big, small = _BITS.fullmatch(outer), _BITS.fullmatch(inner)
    if big is None or small is None:
        return True
    signed, bits = not big[1], int(big[2])
    if not signed and not small[1]:
        return False
    return bits >= int(small[2]) + (signed and bool(small[1]))


def _column_gains(old: Column, new: Column) -> Iterator[str]:
    name = q(old.name)
    if old.kind != new.kind:
        yield f"column {name} is {new.kind}, it was {old.kind}, so it takes more values"
    elif old.kind == "integer" and old.dtype != new.dtype and not _holds(old.dtype, new.dtype):
        yield f"column {name} is {new.dtype}, it was {old.dtype}, so it takes larger values"
    if new.nullable and not old.nullable:
        yield f"column {name} accepts null"
    if old.kind == "category" and not old.unseen:
        more = _fresh(new.categories or (), old.categories or ())
        if new.kind == "category" and new.unseen:
            yield f"column {name} accepts values it has not seen"
        elif more:
            yield f"column {name} accepts {_listed(more)}"


def _method_breaks(before: Manifest, after: Manifest) -> Iterator[str]:
    new = {method.name: method for method in after.methods}
    for method in before.methods:
        if method.name not in new:
            yield f"{method.name} is no longer served"
        else:
            yield from _output_breaks(method, new[method.name])


def _output_breaks(old: Method, new: Method) -> Iterator[str]:
    before, after = old.output, new.output
    if before.labels != after.labels:
        yield f"the classes of {old.name} changed{_classes(before, after)}"
    elif (before.container, before.shape) != (after.container, after.shape):
        yield (
            f"{old.name} answers with {after.container} of shape {after.shape} a row, "
            f"it was {before.container} of shape {before.shape}"
        )
    if before.columns != after.columns:
        yield f"the columns of what {old.name} answers changed"
    old_types = [_family(dtype) for dtype in (before.dtype, *before.dtypes)]
    new_types = [_family(dtype) for dtype in (after.dtype, *after.dtypes)]
    if old_types != new_types:
        yield f"{old.name} answers with {after.dtype or list(after.dtypes)}, it was {before.dtype or list(before.dtypes)}"


def _classes(before: Output, after: Output) -> str:
    old, new = before.labels or (), after.labels or ()
    added, removed = _fresh(new, old), _fresh(old, new)
    parts = [f"{_listed(added)} added"] if added else []
    parts += [f"{_listed(removed)} removed"] if removed else []
    return ": " + ", ".join(parts) if parts else " their order"


def _family(dtype: str | None) -> str | None:
    """What a dtype is as JSON: integer, number, boolean, text or the dtype itself."""
    if dtype is None:
        return None
    low = dtype.lower()
    if low.startswith(("int", "uint")):
        return "integer"
    if low.startswith("float"):
        return "number"
    if low.startswith("bool"):
        return "boolean"
    return "text" if low.startswith(("<u", "str", "object", "large_str")) else low
