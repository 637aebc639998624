"""A number with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from nbdeploy.render.plain import figures


@dataclass(frozen=True, slots=True)
class Estimate:
    """`low` and `high` are the ends of the interval at `level`, None where there is none; `n` is the number of rows."""

    value: float
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    n: int | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return figures(self.value, 4)
        return f"{figures(self.value, 4)} ({figures(self.low, 4)} to {figures(self.high, 4)})"
