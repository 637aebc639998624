"""What one section of a gate notebook shows: a card, and its plots below it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.output import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.judge.plots import Plot
    from nbdeploy.render import Tone


@dataclass(frozen=True)
class Section(Shown):
    """`rows` are the numbers behind it, a dictionary a row; `frame` the same as a table to work on."""

    title: str
    tone: Tone = "neutral"
    status: str = ""
    facts: Sequence[tuple[str, Any]] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[tuple[Tone, str]] = ()
    plots: Sequence[Plot] = ()
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def frame(self) -> Any:
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def to_dict(self) -> dict[str, Any]:
        return {"title": self.title, "status": self.status, "rows": [dict(row) for row in self.rows]}

    def card(self) -> Card:
        return Card(self.title, self.tone, self.status, facts=self.facts, tables=self.tables, notes=self.notes)

    def _ipython_display_(self) -> None:
        show({"text/plain": str(self), "text/html": self._repr_html_()})
        for plot in self.plots:
            plot.show()


def number(value: float | None, digits: int = 3) -> str:
    """As people read it: `digits` places below one, as many significant ones above."""
    if value is None:
        return "-"
    if value != value or abs(value) == float("inf"):  # noqa: PLR0124  # NaN
        return "NaN" if value != value else str(value)  # noqa: PLR0124
    if value and (abs(value) >= 10**6 or abs(value) < 10**-digits):
        return f"{value:.{digits}g}"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:,.{max(digits - 2, 0)}f}"


def span(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{number(low)} to {number(high)}"
