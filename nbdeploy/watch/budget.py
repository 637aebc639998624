"""`Budget`: how many false alarms are accepted, over everything that is compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbdeploy.errors import WrongUse


@dataclass(frozen=True)
class Budget:
    """At most `alarms` false ones while `windows` windows are compared, on average, whatever the number of columns.

    The defaults are one a month with a window a day. An alarm needs `persistence` windows on end, which lets each of them
    be judged much less strictly: with 2 at a budget of 1 %, one window in ten may pass its threshold. `at_once` is the part
    of the alarms that is kept for a single window far beyond, so that a gross change need not wait for the next one.
    """

    windows: float = 30.0
    alarms: float = 1.0
    persistence: int = 2
    at_once: float = 0.0

    def __post_init__(self) -> None:
        if not (self.windows > 0 and self.alarms > 0 and self.persistence >= 1 and 0 <= self.at_once < 1):
            raise WrongUse(
                f"A budget of {self.alarms:g} false alarms in {self.windows:g} windows, {self.persistence} on end, is none: "
                "give numbers above 0, for example Budget(windows=30, alarms=1, persistence=2)."
            )

    def level(self, tests: int) -> float:
        """The chance that one of `tests` tests begins an alarm at a window (Bonferroni: right under any dependence)."""
        return min(self.alarms / self.windows, 0.5) * (1 - self.at_once) / max(tests, 1)

    def sudden(self, tests: int) -> float:
        """The same for a single window far beyond; 0 where none is enough."""
        return min(self.alarms / self.windows, 0.5) * self.at_once / max(tests, 1)

    def said(self) -> str:
        end = "" if self.persistence == 1 else f", {self.persistence} on end"
        end += " or one far beyond" if self.at_once else ""
        return f"{_number(self.alarms)} false alarm{'' if self.alarms == 1 else 's'} in {_number(self.windows)} windows{end}"


def _number(value: float) -> str:
    return f"{round(value):,}" if math.isclose(value, round(value)) else f"{value:g}"
