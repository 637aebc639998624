"""`Standing`: how a rule stands, and what one more window makes of it.

    ok -> pending -> firing -> ok       beyond `when` once; for `windows` windows on end; past `clear`

Between `when` and `clear` nothing changes, so that a reading that wavers around the bound fires once. A window that cannot
be judged changes nothing either: it neither counts nor interrupts, and its reason is kept. A rule is told at most once in
`repeat`; a firing that comes too soon is held, and told when the time is over if it still lasts. Who was told that it
fires is told that it is over.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.watch.alert import Alert
from nbdeploy.watch.computable import NotComputable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.watch.reading import Reading
    from nbdeploy.watch.rule import Rule

_TIMES = ("since", "until", "told")


@dataclass(frozen=True, slots=True)
class Standing:
    """`until` is the end of the last window seen; `why` says why the last one could not be judged.

    `told` is when the rule was last told to fire, `open` whether its end has yet to be told, `held` the firings not told.
    """

    state: Literal["ok", "pending", "firing"] = "ok"
    streak: int = 0
    since: datetime | None = None
    until: datetime | None = None
    value: float | None = None
    worst: float | None = None
    why: str = ""
    told: datetime | None = None
    open: bool = False
    held: int = 0

    def kept(self) -> dict[str, Any]:
        moments = {key: getattr(self, key) for key in _TIMES}
        return asdict(self) | {key: moment and moment.isoformat() for key, moment in moments.items()}

    @classmethod
    def back(cls, raw: Mapping[str, Any]) -> Standing:
        """Of what `kept` gave."""
        times = {key: datetime.fromisoformat(raw[key]) if raw[key] else None for key in _TIMES}
        return cls(**{**raw, **times})


def step(name: str, rule: Rule, before: Standing, reading: Reading) -> tuple[Standing, Alert | None]:
    """One window of the service `name`, and what is to be told. A window that was seen changes nothing."""
    if before.until is not None and reading.ended <= before.until:
        return before, None
    value = rule.read(reading)
    now = replace(before, until=reading.ended)
    if isinstance(value, NotComputable):
        now = replace(now, why=value.reason)
    elif rule.beyond(value):
        now = _beyond(rule, now, value, reading)
    else:
        now = _within(rule, now, value)
    return _told(name, rule, now, reading)


def stepped(name: str, rule: Rule, standing: Standing, readings: Sequence[Reading]) -> tuple[Standing, list[Alert]]:
    """Many windows, oldest first. Windows at the end that have no labels yet are left for the next time."""
    alerts, waiting = [], _waiting(rule, readings)
    for reading in readings[: len(readings) - len(waiting)]:
        standing, alert = step(name, rule, standing, reading)
        alerts += [alert] if alert else []
    return (replace(standing, why=waiting[-1]) if waiting else standing), alerts


def _waiting(rule: Rule, readings: Sequence[Reading]) -> list[str]:
    """Why each of them waits."""
    found: list[str] = []
    for reading in reversed(readings if rule.late else ()):
        value = rule.read(reading)
        if not isinstance(value, NotComputable):
            break
        found.append(value.reason)
    return found[::-1]


def about(key: str) -> tuple[str, str]:
    """Name and condition of the rule whose `Rule.key` it is; the column in a condition may hold a line break."""
    rule, _, rest = key.partition("\n")
    return rule, rest.rpartition("\n")[0]


def ended(name: str, key: str, standing: Standing, now: datetime) -> Alert | None:
    """What is told of a rule that fires and is no more; `key` is `Rule.key`."""
    if not standing.open or standing.since is None:
        return None
    rule, when = about(key)
    told = Alert(name, rule, when, "resolved", None, standing.worst, standing.since, now, now)
    return replace(told, note="the rule was changed or taken away")


def _beyond(rule: Rule, now: Standing, value: float, reading: Reading) -> Standing:
    began = reading.began if now.state == "ok" else now.since
    worst = value if now.state == "ok" or now.worst is None else _worse(rule, value, now.worst)
    now = replace(now, streak=now.streak + 1, since=began, value=value, worst=worst, why="")
    if now.state == "firing":
        return now
    fires = now.streak >= rule.windows
    return replace(now, state="firing" if fires else "pending", held=now.held + fires)


def _within(rule: Rule, now: Standing, value: float) -> Standing:
    now = replace(now, streak=0, value=value, why="")
    if now.state == "firing" and not rule.over(value):
        return now
    return replace(now, state="ok")


def _told(name: str, rule: Rule, now: Standing, reading: Reading) -> tuple[Standing, Alert | None]:
    if now.since is None:
        return now, None
    about = Alert(
        *(name, rule.name, rule.when.text, "firing", now.value, now.worst, now.since, reading.began, reading.ended),
        version=reading.version,
    )
    if now.state == "firing" and not now.open:
        if now.told is not None and reading.ended - now.told < rule.repeat:
            return now, None
        return replace(now, open=True, told=reading.ended, held=0), replace(about, held=now.held - 1)
    if now.state == "ok" and now.open:
        return replace(now, open=False), replace(about, state="resolved")
    return now, None


def _worse(rule: Rule, one: float, other: float) -> float:
    if rule.when.compare in {"<", "<="}:
        return min(one, other)
    return max(one, other)
