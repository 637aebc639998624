"""What fires now, as the last look left it: for the pages that show a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.render.plain import number
from nbdeploy.watch.alert import called, clock, state_of
from nbdeploy.watch.ledger import FOLDER, Ledger
from nbdeploy.watch.standing import about

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Firing:
    """`why` says why the last window could not be judged, where it could not: then it fires on what was before."""

    rule: str
    when: str
    since: datetime
    value: float | None
    worst: float | None
    looked: datetime | None
    why: str = ""

    @property
    def text(self) -> str:
        state = state_of(self.when)
        told = "" if state or self.value is None else f", {'last' if self.why else 'now'} {number(self.value)}"
        why = f"; not computable now: {self.why}" if self.why else ""
        since = clock(self.since, seconds=not state and self.since.second > 0)  # of a window; looks begin at any second
        return f"{called(self.rule, self.when)} fires since {since}{told}{why}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "when": self.when,
            "since": self.since.isoformat(),
            "value": self.value,
            "worst": self.worst,
            "looked": self.looked and self.looked.isoformat(),
            "not_computable": self.why or None,
            "text": self.text,
        }


def firing(folder: Path) -> tuple[Firing, ...]:
    """Of the service whose folder this is; the oldest first. Nothing is read but the alerts' own ledger."""
    book = Ledger(folder / FOLDER).read()
    found = []
    for key, standing in book.standings.items():
        rule, when = about(key)
        if standing.state == "firing" and standing.since is not None:
            times = (standing.value, standing.worst, book.looked, standing.why)
            found.append(Firing(rule, when, standing.since, *times))
    return tuple(sorted(found, key=lambda item: item.since))
