"""`Divergence`: what `drift` shows: the columns of a service beside training, another version's, or an earlier time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown
from nbdeploy.watch import page, sheet
from nbdeploy.watch.drift import DRIFTED, SUSPECTED

if TYPE_CHECKING:
    from nbdeploy.render import Tone
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.compared import Compared


@dataclass(frozen=True)
class Divergence(Shown):
    """`fail` makes the exit code 1 where a column drifted."""

    name: str
    axis: Axis
    compared: Compared
    fail: bool = False

    @property
    def exit_code(self) -> int:
        return int(self.fail and bool(self.compared.drifted))

    @property
    def status(self) -> str:
        found = self.compared
        if found.reason is not None:
            return str(found.reason)
        drifted, suspected = len(found.drifted), len(found.suspected)
        if drifted:
            return f"{drifted} of {len(found.tracks)} {DRIFTED}"
        return f"{suspected} of {len(found.tracks)} {SUSPECTED}" if suspected else "like " + found.called

    @property
    def tone(self) -> Tone:
        found = self.compared
        return "bad" if found.drifted else "warning" if found.suspected else "neutral" if found.reason else "good"

    def __getitem__(self, column: str) -> Any:
        return self.compared.track(column)

    @property
    def text(self) -> str:
        return self.as_text()

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, *, colour: bool = False) -> str:
        return sheet.divergence(self, colour=colour)

    def _repr_html_(self) -> str:
        return page.divergence(self)

    def card(self) -> Card:
        facts = (("span", self.axis.said()), ("rows", self.compared.rows), ("against", self.compared.called))
        return Card(f"{self.name}: drift", self.tone, self.status, facts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "as_of": self.axis.now.isoformat(),
            "began": self.axis.began.isoformat(),
            "ended": self.axis.ended.isoformat(),
            "every_seconds": self.axis.every.total_seconds(),
            "status": self.status,
            **self.compared.to_dict(),
        }
