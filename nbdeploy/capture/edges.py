"""Edge rows with the kernel's answers: nulls, unseen values, whole numbers for floats, reordered columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.runtime.schema import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.capture.methods import Seen
    from nbdeploy.capture.quiet import Budget
    from nbdeploy.capture.tries import Trial, Tried, Try
    from nbdeploy.runtime.manifest import Schema

MOST = 5  # edge cases of one sort that need a call of their own
_NAMES = {"null": "null in {}", "unseen": "unseen value in {}", "whole": "whole numbers for floats"}


@dataclass
class Edges:
    """`columns` of a case name what each of its rows is about."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def edge_cases(model: Any, tried: Tried, seen: Seen, budget: Budget) -> Edges:
    from nbdeploy.capture.tries import Trial

    edges = Edges()
    trial = Trial(model, tried.schema, seen.methods, budget)
    rowwise = all(method.rowwise for method in seen.methods)
    for what in ("null", "unseen", "whole"):
        items = [item for item in tried.taken if item.what == what]
        shared = [item for item in items if rowwise and _plain(tried.schema, item)]
        if shared:
            edges.cases.append(_shared(tried, what, shared))
        for item in [item for item in items if item not in shared][:MOST]:
            edges.cases += _alone(trial, what, item)
    edges.cases += _reordered(tried.schema, seen)
    return edges


def _plain(schema: Schema, item: Try) -> bool:
    return bool(group_of(schema, [item.row]) == group_of(schema, []))


def _shared(tried: Tried, what: str, items: Sequence[Try]) -> dict[str, Any]:
    names = [_column(tried.schema, item) for item in items]
    shown = ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")
    methods = tried.answers[items[0]]
    return {
        "name": _NAMES[what].format(shown),
        "columns": names,
        "rows": [item.row for item in items],
        "answers": {method: [tried.answers[item][method] for item in items] for method in methods},
    }


def _alone(trial: Trial, what: str, item: Try) -> list[dict[str, Any]]:
    """A case of one row, answered by a call of its own: its table has dtypes of its own."""
    answers = {}
    for method in trial.methods:
        found = trial.call(method, [item.row]) if trial.budget.allows(method.milliseconds / 1000) else None
        if found is not None:
            answers[method.name] = found
    if not answers:
        return []
    name = _column(trial.schema, item)
    return [{"name": _NAMES[what].format(name), "columns": [name], "rows": [item.row], "answers": answers}]


def _reordered(schema: Schema, seen: Seen) -> list[dict[str, Any]]:
    """The golden rows, whose answers are known, with their columns in reverse."""
    if not schema.keyed or len(schema.columns) < 2:
        return []
    rows = [dict(reversed(row.items())) for row in seen.rows]
    return [{"name": "columns reordered", "rows": rows, "answers": seen.answers}]


def _column(schema: Schema, item: Try) -> str:
    return schema.columns[item.column].name if item.column >= 0 else "all"
