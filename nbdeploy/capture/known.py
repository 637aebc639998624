"""The categories a fitted model itself lists: what its encoders saw in training, which a sample may lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.columns import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOOKED_AT = 2_000  # objects of a model
MOST = 1_000  # categories


def trained_categories(model: Any, known: Sequence[Any]) -> list[Any]:
    """Of the first encoder whose categories hold all of `known`."""
    wanted = set(known)
    for values in _listed(model):
        if len(values) <= MOST and wanted <= set(values):
            return values
    return []


def _listed(model: Any) -> Iterator[list[Any]]:
    """Every fitted `categories_`, depth first."""
    waiting = [model]
    seen: set[int] = set()
    while waiting and len(seen) < LOOKED_AT:
        item = waiting.pop(0)
        if id(item) in seen or isinstance(item, str | bytes | int | float):
            continue
        seen.add(id(item))
        for values in getattr(item, "categories_", None) or ():
            yield from _values(values)
        waiting += _inside(item)


def _inside(item: Any) -> list[Any]:
    if isinstance(item, list | tuple):
        return list(item[:100])
    if isinstance(item, dict):
        return list(item.values())[:100]
    return (
        list(getattr(item, "__dict__", {}).values()) if hasattr(item, "get_params") or hasattr(item, "predict") else []
    )


def _values(values: Any) -> Iterator[list[Any]]:
    try:
        yield [value for value in map(plain, list(values)) if value is not None]
    except TypeError:  # categories of a kind JSON does not have
        return
