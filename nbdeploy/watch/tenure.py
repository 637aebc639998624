"""`Tenure`: how long which version was live, and the other events of a service on the time axis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nbdeploy.keep.event import MOVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.keep.event import Event

WITHDRAWN = "taken down"


@dataclass(frozen=True)
class Tenure:
    """Within the axis: one that began before it begins with it."""

    version: str
    began: datetime
    ended: datetime

    def to_dict(self) -> dict[str, Any]:
        return {"version": self.version, "began": self.began.isoformat(), "ended": self.ended.isoformat()}


def moment(event: Event) -> datetime:
    return datetime.fromisoformat(event.time)


def tenures(events: Sequence[Event], began: datetime, now: datetime) -> list[Tenure]:
    """Of all events of a name, in their order."""
    moves = [event for event in events if event.kind in MOVES]
    ends = [*(moment(event) for event in moves[1:]), now][: len(moves)]
    return [
        Tenure(event.version, max(moment(event), began), end)
        for event, end in zip(moves, ends, strict=True)
        if event.kind != WITHDRAWN and event.version is not None and end > began
    ]


def within(events: Sequence[Event], began: datetime, now: datetime) -> list[Event]:
    return [event for event in events if began <= moment(event) <= now]
