"""`Alerts`: the rules of a service, what fires, and how its channels do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.render import Card, Shown, Table
from nbdeploy.render.plain import counted, number
from nbdeploy.watch import vocabulary
from nbdeploy.watch.alert import Alert, clock
from nbdeploy.watch.channels import NOTEBOOK
from nbdeploy.watch.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from nbdeploy.render import Tone
    from nbdeploy.watch.book import Book, Post
    from nbdeploy.watch.plan import Plan
    from nbdeploy.watch.rule import Rule

RECENT = 10
NEXT = (NOTEBOOK, "shown by the next %deploy", None, None, None)


@dataclass(frozen=True)
class Watch:
    """Who watches."""

    pid: int
    since: str
    interval: float


@dataclass(frozen=True)
class Alerts(Shown):
    """`problems` says, by rule, why the last window could not be judged."""

    name: str
    rules: tuple[tuple[Rule, Standing], ...]
    posts: Mapping[str, Post]
    shown: Mapping[str, str]  # each channel's address, without a secret
    recent: tuple[Alert, ...] = ()
    looked: datetime | None = None
    watch: Watch | None = None
    damaged: int = 0  # lines of the ledger that say nothing any more
    removed: str | None = None  # the rule that was just taken away
    unjudged: str = ""  # why what came since could not be judged now

    @classmethod
    def of(cls, name: str, plan: Plan, book: Book, shown: Mapping[str, str], watch: Watch | None) -> Alerts:
        return cls(
            name=name,
            rules=tuple((rule, book.standings.get(rule.key, Standing())) for rule in plan.of_name(name, book.rules)),
            posts={channel: book.post(channel) for channel in plan.channels},
            shown=shown,
            recent=tuple(
                Alert.back({key: value for key, value in raw.items() if key != "id"}) for raw in book.recent[-RECENT:]
            ),
            looked=book.looked,
            watch=watch,
        )

    @property
    def firing(self) -> tuple[Rule, ...]:
        return tuple(rule for rule, standing in self.rules if standing.state == "firing")

    @property
    def delayed(self) -> dict[str, Post]:
        """The channels for which messages wait; the notebook's wait for nobody."""
        return {channel: post for channel, post in self.posts.items() if post.waiting and channel != NOTEBOOK}

    def waits(self, alert: Alert) -> list[str]:
        """The channels that have not taken it yet."""
        return [
            channel
            for channel, post in self.delayed.items()
            if any(alert.id == other.id for message in post.waiting for other in message.alerts)
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "firing": [rule.name for rule in self.firing],
            "rules": [rule.to_dict() | _stands(standing) for rule, standing in self.rules],
            "channels": [
                {"name": channel, "address": self.shown.get(channel)} | _does(post)
                for channel, post in self.posts.items()
            ],
            "recent": [alert.to_dict() | {"waits_for": self.waits(alert)} for alert in self.recent],
            "looked": self.looked and self.looked.isoformat(),
            "damaged": self.damaged,
            "unjudged": self.unjudged or None,
            "removed": self.removed,
            "watched": None if self.watch is None else {"pid": self.watch.pid, "since": self.watch.since},
        }

    def card(self) -> Card:
        firing = len(self.firing)
        headers = ("rule", "when", "state", "since (UTC)", "now")
        rows = [_line(rule, standing) for rule, standing in self.rules]
        posts = [
            (channel, self.shown.get(channel), *_delivery(post)) if channel != NOTEBOOK else NEXT
            for channel, post in self.posts.items()
        ]
        return Card(
            title=f"Alerts of {self.name}",
            status=f"{firing} firing" if firing else "nothing fires" if self.looked else "not looked at yet",
            tone="bad" if firing else "good" if self.looked and not self.unjudged else "neutral",
            tables=(
                Table(headers, rows, empty='no rules; `alerts NAME --when "error_rate>0.05"` adds one'),
                *self._asked(),
                Table(("channel", "to", "sent (UTC)", "waiting", "trouble"), posts),
                *self._told(),
            ),
            notes=[
                *(*self._unread(), *self._gone(), *self._undelivered()),
                *(*self._watched(), *self._damaged(), *self._unjudged()),
            ],
        )

    def _asked(self) -> list[Table]:
        """How each rule is judged, in a table of its own: beside how it stands the lines would be too long to read."""
        rows = [(rule.name, rule.said(), rule.source) for rule, _ in self.rules]
        return [Table(("rule", "judged", "from"), rows)] if rows else []

    def _unread(self) -> list[tuple[Tone, str]]:
        """The rules whose last window could not be judged, by the reason."""
        found: dict[str, list[str]] = {}
        for rule, standing in self.rules:
            if standing.why:
                found.setdefault(standing.why, []).append(rule.name)
        return [("neutral", f"not computable now, {why}: {', '.join(names)}") for why, names in found.items()]

    def _damaged(self) -> list[tuple[Tone, str]]:
        if not self.damaged:
            return []
        return [
            ("bad", f"lines of the ledger that cannot be read, so alerts may be missing or told again: {self.damaged}")
        ]

    def _unjudged(self) -> list[tuple[Tone, str]]:
        if not self.unjudged:
            return []
        return [("bad", f"this is as it was; nothing can be judged now, since that could not be kept: {self.unjudged}")]

    def _watched(self) -> list[tuple[Tone, str]]:
        looked = f"; last judged {clock(self.looked)}" if self.looked else ""
        if self.watch is not None:
            since = f"{self.watch.since[:16].replace('T', ' ')} UTC"
            return [("good", f"watched by process {self.watch.pid} since {since}{looked}")]
        return [
            ("warning", f"nobody watches{looked}: `nbdeploy monitor {self.name} --watch` looks and delivers"),
        ]

    def _undelivered(self) -> list[tuple[Tone, str]]:
        """How many wait for each channel, since when and why."""
        untried = "not tried yet" if self.watch is not None else "nobody delivers"
        return [
            ("warning", f"{_some(post)} for {channel} since {clock(post.waiting[0].queued)}: {post.fact or untried}")
            for channel, post in self.delayed.items()
        ]

    def _gone(self) -> list[tuple[Tone, str]]:
        if self.removed is None:
            return []
        still = any(rule.name == self.removed for rule, _ in self.rules)
        return [
            ("good", f"removed: {self.removed}" + ("; the one of that name in the settings holds" if still else ""))
        ]

    def _told(self) -> list[Table]:
        """What there was to tell, the newest first, and who has yet to be told: history, whatever fires now."""
        if not self.recent:
            return []
        rows = [
            (
                *(clock(alert.ended, zone=False), alert.rule, "fired" if alert.state == "firing" else "over"),
                *(_worth(alert), ", ".join(self.waits(alert)) or None),
            )
            for alert in self.recent[::-1][:RECENT]
        ]
        return [Table(("alert of (UTC)", "rule", "what", "value", "waits for"), rows)]


def _worth(alert: Alert) -> str | None:
    return None if alert.value is None else number(alert.value)


def _line(rule: Rule, standing: Standing) -> tuple[Any, ...]:
    since = None if standing.state == "ok" or standing.since is None else clock(standing.since, zone=False)
    now = "not computable" if standing.why else _number(rule, standing)
    held = f", {standing.held} held" if standing.held and not standing.open else ""
    return (rule.name, rule.when.text, standing.state + held, since, now)


def _number(rule: Rule, standing: Standing) -> str | None:
    if standing.value is None:
        return None
    if vocabulary.is_state(rule.when.metric):
        return "yes" if standing.value else "no"
    return number(standing.value)


def _delivery(post: Post) -> tuple[Any, ...]:
    trouble = []
    if post.fact:
        trouble.append(f"{post.attempts} tries: {post.fact}" if post.attempts > 1 else post.fact)
    if post.dropped:
        trouble.append(f"{post.dropped} never sent")
    return (post.sent and clock(post.sent, zone=False), len(post.waiting), "; ".join(trouble) or None)


def _some(post: Post) -> str:
    return f"{counted(len(post.waiting), 'message')} {'waits' if len(post.waiting) == 1 else 'wait'}"


def _stands(standing: Standing) -> dict[str, Any]:
    return {
        "state": standing.state,
        "since": None if standing.state == "ok" else standing.since and standing.since.isoformat(),
        "value": standing.value,
        "not_computable": standing.why or None,
        "held": standing.held,
    }


def _does(post: Post) -> dict[str, Any]:
    return {
        "waiting": len(post.waiting),
        "waiting_since": post.waiting[0].queued.isoformat() if post.waiting else None,
        "sent": post.sent and post.sent.isoformat(),
        "failed": post.failed and post.failed.isoformat(),
        "fact": post.fact or None,
        "attempts": post.attempts,
        "due": post.due and post.due.isoformat(),
        "dropped": post.dropped,
    }


@dataclass(frozen=True)
class Noticed(Shown):
    """Alerts that no notebook has shown yet. `problems` are ledgers that could not be read."""

    alerts: tuple[Alert, ...]
    problems: tuple[str, ...] = ()

    def to_dict(self) -> list[dict[str, Any]]:
        return [alert.to_dict() for alert in self.alerts]

    def card(self) -> Card:
        firing = any(alert.state == "firing" for alert in self.alerts)
        told = self.alerts[-RECENT:]
        notes: list[tuple[Tone, str]] = [("bad" if alert.state == "firing" else "good", alert.text) for alert in told]
        if len(self.alerts) > len(told):
            notes.insert(0, ("neutral", f"and {len(self.alerts) - len(told)} before these"))
        names = ", ".join(dict.fromkeys(alert.name for alert in self.alerts))
        return Card(
            title=f"Alerts since you last looked: {names}" if names else "Alerts that cannot be read",
            tone="bad" if firing or self.problems else "good",
            notes=[*notes, *(("bad", problem) for problem in self.problems)],
        )


@dataclass(frozen=True)
class Tested(Shown):
    """A test that a channel took."""

    name: str
    channel: str
    address: str
    id: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "channel": self.channel, "address": self.address, "id": self.id, "sent": True}

    def card(self) -> Card:
        return Card(
            title=f"{self.channel} took a test message",
            tone="good",
            facts=(("to", self.address), ("took", f"{self.seconds:.1f} s"), ("id", self.id)),
        )
