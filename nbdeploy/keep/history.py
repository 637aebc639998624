"""Questions about time: what was live when, and what was live before."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotFound, NothingToRollBackTo, WrongUse
from nbdeploy.keep.event import MOVES, Event
from nbdeploy.render import Card, Shown
from nbdeploy.runtime.clock import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.keep.registry import Registry
    from nbdeploy.keep.version import Version

_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(:([0-5][0-9]))?")
_EXAMPLES = 'write 14:00 (today), "2026-11-02 14:00" (both in this machine\'s zone) or 2026-11-02T14:00:00Z'


@dataclass(frozen=True)
class Moment(Shown):
    """What held at a time: the live version, whether it was being served, and the event that made it so."""

    name: str
    time: str  # UTC
    version: str | None
    serving: bool
    event: Event | None

    def to_dict(self) -> dict[str, Any]:
        event = self.event.to_dict() if self.event else None
        return {"name": self.name, "time": self.time, "version": self.version, "serving": self.serving, "event": event}

    def card(self) -> Card:
        local = datetime.fromisoformat(self.time).astimezone()
        facts: list[tuple[str, Any]] = [("time", f"{self.time} ({local:%Y-%m-%d %H:%M:%S %Z} here)")]
        if self.event:
            facts += [("since", self.event.time), ("because", f"{self.event.kind}, by {self.event.user}")]
        status = "serving" if self.serving else "live, but stopped" if self.version else "nothing was live"
        return Card(title=f"{self.name}:{self.version}" if self.version else self.name, status=status, facts=facts)


def at(registry: Registry, name: str, time: str) -> Moment:
    """What was live and served at that time; of events with later clocks but earlier order, the order decides."""
    moment = parse_time(time)
    events = [event for event in registry.events(name) if datetime.fromisoformat(event.time) <= moment]
    if not events and not registry.events(name):
        raise NotFound("service", name, registry.names())
    move = next((event for event in reversed(events) if event.kind in MOVES), None)
    stopped = move is not None and _stopped(events, move)
    version = move.version if move else None
    last = next((event for event in reversed(events) if event.kind in {*MOVES, "stopped", "served"}), None)
    return Moment(name, stamp(moment), version, version is not None and not stopped, last)


def _stopped(events: Sequence[Event], move: Event) -> bool:
    """Whether the last word after the version went live was that it stopped."""
    words = [event.kind for event in events if event.seq > move.seq and event.kind in {"stopped", "served"}]
    return bool(words) and words[-1] == "stopped"


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """A time in UTC. Without a zone it is this machine's local time; a time of day is today's.

    Raises:
        WrongUse: for anything else, and for the future.
    """
    here = (now or datetime.now(UTC)).astimezone()
    clock = _CLOCK.fullmatch(text.strip())
    try:
        if clock:
            hour, minute, second = int(clock[1]), int(clock[2]), int(clock[4] or 0)
            moment = here.replace(tzinfo=None, hour=hour, minute=minute, second=second, microsecond=0).astimezone(UTC)
        else:
            moment = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as exc:  # OSError: a year the C library's local time cannot reach
        raise WrongUse(f'"{text}" is not a time: {_EXAMPLES}.') from exc
    if moment > here.astimezone(UTC) + timedelta(seconds=1):
        raise WrongUse(f'"{text}" ({stamp(moment)}) is in the future: {_EXAMPLES}.')
    return moment


def rollback_target(registry: Registry, name: str) -> Version:
    """The version that was live before the live one first went live; removed ones are passed over.

    Raises:
        NotFound: nothing is live under that name.
        NothingToRollBackTo: the live one was the first.
    """
    with registry.reading() as view:
        current = view.get(name)
        moves = view.moves(name)
        number = _before(moves, current.version)
        while number is not None:
            with suppress(NotFound):
                return view.get(name, number)
            number = _before(moves, number)
    raise NothingToRollBackTo(current.tag)


def _before(moves: Sequence[Event], number: str) -> str | None:
    """What was live just before `number` first went live."""
    for earlier, event in zip([None, *moves], moves, strict=False):
        if event.version == number:
            return earlier.version if earlier else None
    return None
