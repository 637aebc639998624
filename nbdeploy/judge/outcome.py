"""What became of one check of a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["condition", "expectation", "run"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`passed` is None where the check did not apply; then it does not count. `value` is what was judged, if a number.

    kind: a condition on a metric, an expectation of the notebook, or the run of the notebook itself.
    """

    name: str
    passed: bool | None
    kind: Kind = "condition"
    value: float | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "passed": self.passed,
            "kind": self.kind,
            "value": self.value,
            "detail": self.detail,
        }

    def __str__(self) -> str:
        word = {True: "passed", False: "failed", None: "not applicable"}[self.passed]
        return f"{self.name}: {word}{f' ({self.detail})' if self.detail else ''}"


def failing_first(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Failed, then passed, then what did not apply; otherwise in order."""
    order = {False: 0, True: 1, None: 2}
    return tuple(sorted(outcomes, key=lambda outcome: order[outcome.passed]))
