"""`Alert`: what is told of a rule, once: it fires, or it is over."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.judge.conditions import COMPARE, Condition
from nbdeploy.render.plain import number
from nbdeploy.watch.vocabulary import STATES, is_state

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["firing", "resolved"]
TIMES = ("since", "began", "ended")


@dataclass(frozen=True, slots=True)
class Alert:
    """`since` is when the first window began that was beyond, `began` to `ended` the window that is told of: of what is
    over the first good one, so that it lasted from `since` to `began`.

    `held` counts the firings before this one that were not told, because the rule had been told too recently. `id` is the
    same whoever finds it, and however often.
    """

    name: str
    rule: str
    when: str
    state: State
    value: float | None
    worst: float | None
    since: datetime
    began: datetime
    ended: datetime
    version: str | None = None
    held: int = 0
    note: str = ""

    @property
    def id(self) -> str:
        parts = (self.name, self.rule, self.when, self.state, self.since.isoformat())
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """One sentence, for people."""
        state = state_of(self.when)
        rule = called(self.rule, self.when)
        now = None if state or self.value is None else number(self.value)
        if self.state == "resolved":
            value = "" if now is None else f", now {now}"
            why = f", {self.note}" if self.note else ""
            return f"{self.name}: {rule} is over{value}{why}; it lasted {lasted(self.began - self.since)}, from {self._clock(self.since)}"
        held = f"; it fired {self.held} more time{'s' if self.held > 1 else ''} meanwhile" if self.held else ""
        version = f", version {self.version}" if self.version else ""
        since = self._clock(self.since)
        more = f", since {since}" if since != self._clock(self.began) else ""
        value = "" if state else f": {now}"
        return f"{self.name}: {rule} fires{value} {self._window()}{more}{version}{held}"

    def to_dict(self) -> dict[str, Any]:
        times = {key: getattr(self, key).isoformat() for key in TIMES}
        return {"id": self.id} | asdict(self) | times | {"text": self.text}

    def kept(self) -> dict[str, Any]:
        return asdict(self) | {key: getattr(self, key).isoformat() for key in TIMES}

    @classmethod
    def back(cls, raw: Mapping[str, Any]) -> Alert:
        """Of what `kept` gave."""
        return cls(**{**raw, **{key: datetime.fromisoformat(raw[key]) for key in TIMES}})

    def _window(self) -> str:
        if self.began == self.ended:
            return f"at {self._clock(self.ended)}"
        began, ended = self._clock(self.began), self._clock(self.ended)
        same = began[:_DAY] == ended[:_DAY]
        return f"from {began.removesuffix(' UTC')} to {ended[_DAY + 1 :] if same else ended}"

    def _clock(self, moment: datetime) -> str:
        """With seconds where its window has them."""
        short = self.began != self.ended and any(getattr(self, key).second for key in TIMES)
        return clock(moment, seconds=short)


def state_of(when: str) -> str:
    """What the service is where the condition holds: down, of down>0. Empty for any other condition."""
    if not when.strip().startswith((*STATES,)):
        return ""  # and what is kept of a column need not be as a user writes it
    condition = Condition.parse(when)
    holds = [COMPARE[condition.compare](value, condition.bound.number) for value in (0, 1)]
    return condition.metric if is_state(condition.metric) and holds == [False, True] else ""


def called(rule: str, when: str) -> str:
    """A rule by its name, and what it is about where that does not say it."""
    about = state_of(when) or when
    return about if rule in {about, when} else f"{rule} ({about})"


_DAY = len("2026-11-16")


def clock(moment: datetime, *, zone: bool = True, seconds: bool = False) -> str:
    return f"{moment.astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}{' UTC' if zone else ''}"


def lasted(length: timedelta) -> str:
    """90 s, 35 min, 2 h 5 min, 3 d 4 h."""
    seconds = max(int(length.total_seconds()), 0)
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if seconds >= 120 else f"{seconds} s"
