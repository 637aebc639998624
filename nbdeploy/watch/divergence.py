"""`Divergence`: what `drift` shows: the columns of a service beside training, another version's, or an earlier time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown
from nbdeploy.watch import page, sheet
from nbdeploy.watch.computable import NotComputable
from nbdeploy.watch.drift import DRIFTED, SUSPECTED

if TYPE_CHECKING:
    from nbdeploy.render import Tone
    from nbdeploy.watch.axis import Axis
    from nbdeploy.watch.compared import Compared


@dataclass(frozen=True)
class Divergence(Shown):
    """`fail` makes the exit code 1 where a column drifted, and where none could be compared."""

    name: str
    axis: Axis
    compared: Compared
    fail: bool = False

    @property
    def exit_code(self) -> int:
        """It fails closed: where nothing could be compared, nothing is known to be like training."""
        return int(self.fail and (bool(self.compared.drifted) or self.unknown))

    @property
    def blank(self) -> int:
        """Columns that are not computable."""
        return sum(isinstance(track.now.verdict, NotComputable) for track in self.compared.tracks)

    @property
    def unknown(self) -> bool:
        """Whether no column could be compared."""
        return self.compared.reason is not None or self.blank == len(self.compared.tracks)

    @property
    def status(self) -> str:
        found = self.compared
        count = len(found.tracks)
        if found.reason is not None:
            return str(found.reason)
        if self.unknown:
            return f"not computable ({self.blank} of {count} columns)" if count else "not computable (no rows)"
        drifted, suspected = len(found.drifted), len(found.suspected)
        said = f"like {found.called}"
        if drifted:
            said = f"{drifted} of {count} {DRIFTED}"
        elif suspected:
            said = f"{suspected} of {count} {SUSPECTED}"
        return f"{said}, {self.blank} of {count} not computable" if self.blank else said

    @property
    def tone(self) -> Tone:
        found = self.compared
        return "bad" if found.drifted else "warning" if found.suspected else "neutral" if self.unknown else "good"

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
            **self.axis.to_dict(),
            "status": self.status,
            **self.compared.to_dict(),
        }
