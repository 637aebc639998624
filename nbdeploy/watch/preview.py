"""`Preview`: what a rule would have done, before it is switched on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import number
from nbdeploy.watch import vocabulary
from nbdeploy.watch.alert import clock, lasted
from nbdeploy.watch.standing import Standing, step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbdeploy.render import Tone
    from nbdeploy.watch.reading import Reading
    from nbdeploy.watch.rule import Rule


@dataclass(frozen=True, slots=True)
class Episode:
    """`ended` is where the first good window began, None where it still lasts. `told`: it was not held by the rule's repeat."""

    began: datetime
    ended: datetime | None
    worst: float | None
    told: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "began": self.began.isoformat(),
            "ended": self.ended and self.ended.isoformat(),
            "worst": self.worst,
            "told": self.told,
        }


@dataclass(frozen=True)
class Preview(Shown):
    """`judged` windows could be, `unjudged` counts the reasons of the others. `added`: the rule is on now."""

    name: str
    rule: Rule
    since: datetime
    until: datetime
    firings: tuple[Episode, ...] = ()
    judged: int = 0
    unjudged: Mapping[str, int] = field(default_factory=dict)
    added: bool = False
    replaced: bool = False  # one of the same name

    @classmethod
    def over(cls, name: str, rule: Rule, readings: Sequence[Reading], since: datetime, until: datetime) -> Preview:
        """Closed windows, oldest first; `since` becomes the first that could be judged."""
        standing, firings, unjudged = Standing(), list[Episode](), Counter[str]()
        first: datetime | None = None
        for reading in readings:
            before = standing
            standing, alert = step(name, rule, before, reading)
            unjudged.update([standing.why] if standing.why else [])
            first = first or (None if standing.why else reading.began)
            if standing.state == "firing" and before.state != "firing":
                firings.append(Episode(standing.since or reading.began, None, standing.worst, told=False))
            if standing.state == "firing" and alert is not None:
                firings[-1] = replace(firings[-1], told=True)
            if before.state == "firing":
                ended = reading.began if standing.state == "ok" else None
                firings[-1] = replace(firings[-1], ended=ended, worst=standing.worst)
        judged = len(readings) - unjudged.total()
        return cls(name, rule, first or since, until, tuple(firings), judged, dict(unjudged))

    def switched_on(self, *, instead: bool) -> Preview:
        """`instead`: of another rule of that name."""
        return replace(self, added=True, replaced=instead)

    @property
    def text(self) -> str:
        """Would have fired 3 times since Monday."""
        if not self.judged:
            return f"cannot be told: {self._nothing()}"
        count = len(self.firings)
        times = {0: "not once", 1: "once", 2: "twice"}.get(count, f"{count} times")
        return f"would {'not have fired' if not count else f'have fired {times}'} since {self._since()}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rule": self.rule.to_dict(),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "windows": self.judged,
            "not_computable": dict(self.unjudged),
            "firings": [firing.to_dict() for firing in self.firings],
            "text": self.text,
            "added": self.added,
            "replaced": self.replaced,
        }

    def card(self) -> Card:
        status = ("replaced" if self.replaced else "switched on") if self.added else "preview: not switched on"
        facts = [("when", self.rule.when.text), ("judged", self.rule.said()), ("history", self.text)]
        rows = [
            (
                clock(item.began, seconds=item.began.second > 0),
                lasted((item.ended or self.until) - item.began),
                _number(item.worst),
                self._how(item),
            )
            for item in self.firings[::-1]
        ]
        tables = (Table(("fires at", "for", "worst", ""), rows),) if rows else ()
        return Card(
            title=f"Rule {self.rule.name} of {self.name}",
            tone="good" if self.added else "neutral",
            status=status,
            facts=facts,
            tables=tables,
            notes=self._notes(),
        )

    def _notes(self) -> list[tuple[Tone, str]]:
        warning = self.rule.warning()
        notes: list[tuple[Tone, str]] = [("warning", warning)] if warning else []
        most = sorted(self.unjudged.items(), key=lambda item: -item[1])[:3]
        if self.judged:
            notes += [
                ("neutral", f"{count} window{'s' if count > 1 else ''} not computable: {why}") for why, count in most
            ]
        return notes

    def _how(self, episode: Episode) -> str:
        told = "" if episode.told else f"held: told within {lasted(self.rule.repeat)} before"
        return ", ".join(filter(None, ("" if episode.ended else "still", told)))

    def _nothing(self) -> str:
        if vocabulary.is_state(self.rule.when.metric):
            return "how the service was is not kept; it is looked at from now on"
        if not self.unjudged:
            return f"there is no whole window of {self.rule.length} yet"
        return max(self.unjudged, key=lambda why: self.unjudged[why])

    def _since(self) -> str:
        """The day of the week where that says it, else the date."""
        began = self.since.astimezone(UTC)
        return f"{began:%A}" if timedelta(days=1) <= self.until - self.since < timedelta(days=7) else clock(began)


def unseen(name: str, rule: Rule, now: datetime) -> Preview:
    """Of a rule that history says nothing of."""
    return Preview(name, rule, now, now)


def _number(value: float | None) -> str | None:
    return None if value is None else number(value)
