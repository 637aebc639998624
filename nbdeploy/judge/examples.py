"""Held-out rows as one model takes them, with what is true of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import UnsupportedData, WrongUse
from nbdeploy.judge import heldout

if TYPE_CHECKING:
    from nbdeploy.judge.heldout import HeldOut
    from nbdeploy.judge.served import Served

HERE = "the held-out data"


@dataclass(frozen=True)
class Examples:
    """`rows` are JSON rows, `truth` plain Python values, None without a target.

    `columns` has the JSON values of every column by name, also of those the model is not given (`extra`): they can be
    looked at as slices. `numbers` are the rows' places in the data, of which there were `of`; `unlabelled` were left out.
    """

    rows: list[Any]
    truth: list[Any] | None
    columns: dict[str, list[Any]]
    extra: tuple[str, ...]
    numbers: list[int]
    of: int
    unlabelled: int = 0

    def __len__(self) -> int:
        return len(self.rows)


def required(data: str) -> None:
    """A gate without data fails.

    Raises:
        WrongUse.
    """
    if not data:
        raise WrongUse(
            "There is nothing to judge the model on: data is empty. Give held-out rows: "
            "--data X_test,y_test, or --data FILE --target COLUMN."
        )


def examples(served: Served, data: str, target: str, *, most: int, seed: int, labelled: bool) -> Examples:
    """At most `most` rows, by chance but the same for a seed; where `labelled` is wanted, of those with a label.

    Raises:
        WrongUse, NotFound, UnsupportedData: there is no such file or column, no row, no label, or a column is lacking.
    """
    required(data)
    held = heldout.read(data, target, schema=served.schema)
    if labelled and held.target is None:
        raise WrongUse(f"The labels are missing: {data} has none. Name their column with --target COLUMN.")
    rows = _json_rows(served, held)
    if not rows:
        raise UnsupportedData(HERE, "has no rows", "give rows the model was not trained on")
    truth = None if held.target is None else _plain(held)
    kept = [place for place in range(len(rows)) if truth is None or not labelled or truth[place] is not None]
    if not kept:
        raise UnsupportedData(f'the target "{held.target_name}"', "is missing in every row", "give rows with labels")
    numbers = _some(kept, most, seed)
    return _examples(served, rows, truth, numbers, len(rows) - len(kept))


def _examples(
    served: Served, rows: list[Any], truth: list[Any] | None, numbers: list[int], unlabelled: int
) -> Examples:
    chosen = [rows[place] for place in numbers]
    columns: dict[str, list[Any]] = {}
    extra: tuple[str, ...] = ()
    if served.keyed:
        own = [column.name for column in served.columns]
        columns = {name: [row[name] for row in chosen] for name in chosen[0]}
        extra = tuple(name for name in columns if name not in own)
        chosen = [{name: row[name] for name in own} for row in chosen]
    return Examples(
        rows=chosen,
        truth=None if truth is None else [truth[place] for place in numbers],
        columns=columns,
        extra=extra,
        numbers=numbers,
        of=len(rows),
        unlabelled=unlabelled,
    )


def _some(kept: list[int], most: int, seed: int) -> list[int]:
    if len(kept) <= most:
        return kept
    import numpy as np

    places = np.sort(np.random.default_rng(seed).choice(len(kept), most, replace=False))
    return [kept[int(place)] for place in places]


def _json_rows(served: Served, held: HeldOut) -> list[Any]:
    from nbdeploy.runtime import tables

    schema, rows = served.schema, held.rows
    try:
        if schema.container == "array" and hasattr(rows, "to_numpy"):
            rows = rows.to_numpy().reshape(len(rows), *schema.shape)
        elif not served.keyed and getattr(rows, "ndim", 1) == 2 and rows.shape[1] == 1:
            rows = rows.iloc[:, 0] if hasattr(rows, "iloc") else rows[:, 0]
        found = tables.rows_of(schema, rows)
    except (TypeError, ValueError) as exc:
        raise UnsupportedData(HERE, f"cannot be sent: {exc}", "give rows like the model's sample") from exc
    if served.keyed and found:
        missing = [column.name for column in served.columns if column.name not in found[0]]
        if missing:
            told = f"lacks {', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''}, which {served.title} is asked with"
            raise UnsupportedData(HERE, told, f"there is: {', '.join(list(found[0])[:12])}")
    return found


def _plain(held: HeldOut) -> list[Any]:
    """The labels as Python values, None where missing."""
    import numpy as np
    import pandas as pd

    labels = held.target
    if getattr(labels, "ndim", 1) != 1:
        raise UnsupportedData(
            f'the target "{held.target_name}"', f"has {labels.shape[1]} columns", "judge it with a notebook of your own"
        )
    values = labels.to_list() if hasattr(labels, "to_list") else np.asarray(labels).tolist()
    return [None if value is None or pd.isna(value) else value for value in values]
