"""The model is watched in the kernel: which methods answer, how their answers look, which rows they take.

What is seen here is what the service has to do later: golden rows and edge rows with the kernel's own answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.capture import rows as golden_rows
from nbdeploy.capture.edges import edge_cases
from nbdeploy.capture.methods import watch
from nbdeploy.capture.quiet import Budget, undisturbed
from nbdeploy.capture.schema import without_keys
from nbdeploy.capture.tries import accepted

if TYPE_CHECKING:
    from collections.abc import Collection

    from nbdeploy.runtime.manifest import Method, Schema

SECONDS = 10.0  # for all that is tried beyond one call of each method


@dataclass(frozen=True)
class Observed:
    """`golden` is the content of golden.json; `schema` the sample's, with what the model accepts."""

    methods: tuple[Method, ...]
    golden: dict[str, Any]
    schema: Schema
    warnings: tuple[str, ...]


def observe(
    model: Any,
    sample: Any,
    schema: Schema,
    *,
    real_rows: bool = True,
    hidden: Collection[str] = (),
    seconds: float = SECONDS,
) -> Observed:
    """With `real_rows` some rows of the sample become golden rows; without, rows made up from the schema. What the sample
    has in `hidden` columns is in neither.

    Raises:
        NotServable: no method answers the sample's rows.
    """
    sample = without_keys(sample, schema.keys)
    budget = Budget(seconds)
    with undisturbed():
        chosen = golden_rows.choose(schema, sample) if real_rows else golden_rows.invented(schema)
        chosen = golden_rows.without(schema, chosen, hidden)
        seen = watch(model, schema, chosen, budget)
        tried = accepted(model, schema, seen, budget, sample)
        edges = edge_cases(model, tried, seen, budget)
    golden = {"rows": seen.rows, "answers": seen.answers, "edge": edges.cases}
    warnings = (*seen.warnings, *tried.warnings, *edges.warnings)
    return Observed(seen.methods, golden, tried.schema, tuple(dict.fromkeys(warnings)))
