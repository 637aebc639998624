"""What became of one check of a gate, and of all of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["condition", "expectation", "run"]
Verdict = Literal["passed", "refused"]
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`passed` is None where the check did not apply; then it does not count. `value` is what was judged, if a number.

    kind: a condition on a metric, an expectation of the notebook, or the run of the notebook itself. `condition` is the
    one that was judged, as written; `name` the same with its slice, where one condition speaks of several.
    """

    name: str
    passed: bool | None
    value: float | None = None
    condition: str = ""
    detail: str = ""
    kind: Kind = "condition"

    @property
    def word(self) -> str:
        return {True: "passed", False: "failed", None: "not applicable"}[self.passed]

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON: NaN and infinities are texts."""
        told = asdict(self)
        if self.value is not None and not math.isfinite(self.value):
            told["value"] = next(text for text, number in _NONFINITE.items() if repr(number) == repr(float(self.value)))
        return told

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Outcome:
        found = cls(**raw)
        return replace(found, value=_NONFINITE[found.value]) if isinstance(found.value, str) else found

    def __str__(self) -> str:
        return f"{self.name}: {self.word}{f' ({self.detail})' if self.detail else ''}"


def verdict(outcomes: Iterable[Outcome]) -> Verdict:
    """Passed when at least one check counts and none failed."""
    counted = [outcome.passed for outcome in outcomes if outcome.passed is not None]
    return "passed" if counted and all(counted) else "refused"


def failing_first(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Failed, then passed, then what did not apply; otherwise in order."""
    order = {False: 0, True: 1, None: 2}
    return tuple(sorted(outcomes, key=lambda outcome: order[outcome.passed]))
