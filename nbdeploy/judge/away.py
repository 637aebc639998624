"""The away-from-home check: the candidate, a fresh interpreter, answers over HTTP as the kernel did.

Each method is asked for the golden rows and for the edge rows (nulls, unseen categories, reordered columns, integers
for floats). The worker has loaded the bundle with an import guard, so a package outside the lock is already found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import CallRefused, CheckFailed
from nbdeploy.render import Card, Shown
from nbdeploy.runtime.comparison import difference, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.run.client import Client


@dataclass(frozen=True)
class Check(Shown):
    """What was asked and answered; a check that failed is a CheckFailed instead."""

    bundle: str
    requests: int
    rows: int
    cases: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle,
            "requests": self.requests,
            "rows": self.rows,
            "cases": list(self.cases),
            "passed": True,
        }

    def card(self) -> Card:
        return Card(
            title=self.bundle,
            status="answers away from home as here",
            tone="good",
            facts=(("requests", self.requests), ("rows", self.rows), ("cases", ", ".join(self.cases))),
        )


@dataclass(frozen=True)
class _Case:
    name: str
    method: str
    rows: list[Any]
    expected: list[Any]
    columns: list[Any]  # the column each row is about, in edge cases
    tolerance: float | None  # None: the answers are not the same twice


def check(bundle: Bundle, client: Client) -> Check:
    """Ask the candidate everything the kernel has answered.

    Raises:
        CheckFailed: the findings name the case, the row, and the column, object or package where one is to blame.
    """
    cases = list(_cases(bundle))
    findings = [finding for case in cases if (finding := _judge(case, client))]
    if findings:
        raise CheckFailed(bundle.reference, tuple(dict.fromkeys(findings)))
    return Check(
        bundle=bundle.reference,
        requests=len(cases),
        rows=sum(len(case.rows) for case in cases),
        cases=tuple(dict.fromkeys(case.name for case in cases)),
    )


def _cases(bundle: Bundle) -> Iterator[_Case]:
    golden = json.loads((bundle.src / "golden.json").read_bytes())
    tolerances = {
        method.name: tolerance_of(method.output) if method.deterministic else None for method in bundle.manifest.methods
    }
    for case in ({"name": "golden rows", **golden}, *golden["edge"]):
        for method, expected in case["answers"].items():
            yield _Case(case["name"], method, case["rows"], expected, case.get("columns", []), tolerances[method])


def _judge(case: _Case, client: Client) -> str | None:
    """A sentence for what is wrong, or None."""
    try:
        answers = client.predictions(case.method, case.rows)
    except CallRefused as exc:
        return f"{case.method}, {case.name}: {exc}"
    if len(answers) != len(case.expected):
        return f"{case.method}, {case.name}: {len(answers)} answers for {len(case.expected)} rows"
    if case.tolerance is None:
        return None
    for row, (here, there) in enumerate(zip(case.expected, answers, strict=True)):
        if told := difference(here, there, case.tolerance):
            about = f" (column {case.columns[row]})" if row < len(case.columns) else ""
            return f"{case.method}, {case.name}, row {row}{about}: {told}"
    return None
