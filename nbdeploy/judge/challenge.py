"""Champion against challenger: the live version and this one on the same rows, in pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.judge import intervals
from nbdeploy.judge.estimate import Estimate
from nbdeploy.judge.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.judge.intervals import Drawn, Weights
    from nbdeploy.judge.scores import Scored

ALL = ""  # the name of all rows among slices


@dataclass(frozen=True)
class Sampling:
    """How intervals are made."""

    level: float = 0.95
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Difference:
    """This version minus the live one, with its interval; `p` that there is none."""

    metric: str
    new: float
    live: float
    by: Estimate
    p: float

    @property
    def better(self) -> bool | None:
        """None where the numbers are equal or cannot be compared."""
        known = METRICS.get(self.metric)
        if known is None or known.greater_is_better is None or not self.by.value or math.isnan(self.by.value):
            return None
        return (self.by.value > 0) == known.greater_is_better

    @property
    def worse_for_sure(self) -> bool:
        """The whole interval lies on the worse side."""
        if self.better is not False or self.by.low is None or self.by.high is None:
            return False
        return self.by.low > 0 or self.by.high < 0


def estimates(scored: Scored, groups: Mapping[str, Any], sampling: Sampling) -> dict[str, dict[str, Estimate]]:
    """Every metric of every group of rows (name -> places)."""
    parts = {name: scored.at(places) for name, places in groups.items()}

    def compute(weights: Weights) -> dict[str, Drawn]:
        return {name: part.drawn(weights.of(groups[name])) for name, part in parts.items()}

    drawn = intervals.draw(len(scored), sampling.draws, sampling.seed, compute)
    return {name: _estimated(part, drawn[name], sampling) for name, part in parts.items()}


def _estimated(part: Scored, drawn: Drawn, sampling: Sampling) -> dict[str, Estimate]:
    values = part.values()
    found = {}
    for name in part.names:
        low, high = intervals.around(values[name], drawn[name], len(part), sampling.level)
        found[name] = Estimate(values[name], low, high, sampling.level, len(part))
    return found


def differences(new: Scored, live: Scored, sampling: Sampling) -> list[Difference]:
    """Both under the same weights: what is hard for both is no difference."""
    names = [name for name in new.names if name in live.names]

    def compute(weights: Weights) -> dict[str, Drawn]:
        one, other = new.drawn(weights), live.drawn(weights)
        return {ALL: {name: one[name] - other[name] for name in names}}

    drawn = intervals.draw(len(new), sampling.draws, sampling.seed, compute)[ALL]
    here, there = new.values(), live.values()
    found = []
    for name in names:
        value = here[name] - there[name]
        low, high = intervals.around(value, drawn[name], len(new), sampling.level)
        by = Estimate(value, low, high, sampling.level, len(new))
        found.append(Difference(name, here[name], there[name], by, intervals.p_value(drawn[name])))
    return found


@dataclass(frozen=True)
class McNemar:
    """Rows only this version had right, rows only the live one had, and the exact two-sided p-value."""

    gained: int
    lost: int

    @property
    def p(self) -> float:
        from scipy.special import bdtr

        discordant = self.gained + self.lost
        return 1.0 if not discordant else min(1.0, 2 * float(bdtr(min(self.gained, self.lost), discordant, 0.5)))


def mcnemar(new_right: Any, live_right: Any) -> McNemar:
    return McNemar(int((new_right & ~live_right).sum()), int((live_right & ~new_right).sum()))


def flips(
    numbers: Sequence[int], truth: Sequence[Any], live: Sequence[Any], new: Sequence[Any]
) -> list[dict[str, Any]]:
    """The rows answered with another label, lost ones first; `row` is the place in the data."""
    found = [
        {
            "row": number,
            "truth": str(label),
            "live": str(before),
            "new": str(after),
            "change": "lost" if before == label else "gained" if after == label else "wrong both",
        }
        for number, label, before, after in zip(numbers, truth, live, new, strict=True)
        if before != after
    ]
    order = {"lost": 0, "gained": 1, "wrong both": 2}
    return sorted(found, key=lambda row: order[row["change"]])
