"""One look at a service: every window that has closed since the last one is judged, and what is to be told is queued.

What is found depends on the windows alone, never on who looks, when, or how often: two that look at once, or one that was
killed and looks again, find the same alerts under the same ids, and the ledger takes each once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from nbdeploy.errors import NbdeployError
from nbdeploy.watch import vocabulary
from nbdeploy.watch.axis import EPOCH, floored
from nbdeploy.watch.message import Message
from nbdeploy.watch.standing import Standing, ended, stepped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from nbdeploy.watch.alert import Alert
    from nbdeploy.watch.book import Book
    from nbdeploy.watch.ledger import Ledger
    from nbdeploy.watch.plan import Plan
    from nbdeploy.watch.reading import Reading
    from nbdeploy.watch.rule import Rule

MISSED = timedelta(days=7)  # of which a watcher that was away catches up
LATE = timedelta(days=30)  # after which nobody waits for a window's labels any more
MOST = 900  # windows that are read at once
AHEAD = timedelta(minutes=1)  # by which clocks of two that look may differ
SETTLED = timedelta(seconds=10)  # after its end all requests of a window are in the log, but for slow ones


class Source(Protocol):
    """Where readings come from."""

    @property
    def said(self) -> str:
        """The service's state in words, as `state` found it last."""
        ...

    def state(self, now: datetime) -> Reading:
        """How the service is: one for this moment, with the names of `vocabulary.STATES`."""
        ...

    def labels(self) -> str:
        """Another text once labels have come; "" where there are none."""
        ...

    def windows(self, every: timedelta, since: datetime, now: datetime, *, traffic: bool) -> Sequence[Reading]:
        """Windows of the clock of length `every` that begin at `since` or later and have closed; oldest first.

        `traffic`: only what the requests say is asked for, which costs a fraction of the rest.
        """
        ...


@dataclass(frozen=True)
class Seen:
    """`alerts` are new, and queued. `stuck` are rules that fire or nearly do, and can no longer be judged, and why;
    `failed` says what could not be read: nothing of it was judged, and the next look tries again.
    """

    alerts: tuple[Alert, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()


def look(name: str, plan: Plan, ledger: Ledger, source: Source, now: datetime) -> Seen:
    """Readings are taken without the lock, which may be long; then all is judged and queued in one line, or nothing."""
    book, labels = ledger.read(), source.labels()
    read, failed = _read(plan.of_name(name, book.rules), book, source, now, labels)
    with ledger.turn() as page:
        rules = plan.of_name(name, page.book.rules)
        before = page.book.standings
        after: dict[str, Standing] = {}
        alerts: list[tuple[tuple[str, ...], Alert]] = []  # with the channels
        for rule in rules:
            standing, found = stepped(name, rule, _standing(rule, page.book, now), read.get(rule.key, ()))
            after[rule.key] = replace(standing, why=failed[rule.key]) if rule.key in failed else standing
            alerts += [(plan.to(rule), alert) for alert in found]
        gone = [ended(name, key, standing, now) for key, standing in before.items() if key not in after]
        alerts += [(plan.send, alert) for alert in gone if alert is not None]
        alerts = [(channels, alert) for channels, alert in alerts if alert.id not in page.book.told]
        if (
            alerts
            or _lasting(rules, after) != _lasting(rules, before)
            or len(before) != len(after)
            or labels != page.book.labels
        ):
            messages = messages_of(name, page.book, alerts, now)
            page.add(page.book.looking(now, after, [alert for _, alert in alerts], messages, labels))
    stuck = {
        rule.name: after[rule.key].why
        for rule in rules
        if after[rule.key].state != "ok" and after[rule.key].why and not before.get(rule.key, Standing()).why
    }
    return Seen(tuple(alert for _, alert in alerts), stuck, tuple(dict.fromkeys(failed.values())))


def messages_of(name: str, book: Book, alerts: Iterable[tuple[Sequence[str], Alert]], now: datetime) -> list[Message]:
    """One for each channel, of all the alerts that go there, by the time of their windows."""
    by_channel: dict[str, list[Alert]] = {}
    for channels, alert in sorted(alerts, key=lambda pair: pair[1].ended):
        for channel in channels:
            by_channel.setdefault(channel, []).append(alert)
    dropped = {channel: post.untold for channel, post in book.posts.items()}
    return [Message(name, channel, now, tuple(found), dropped.get(channel, 0)) for channel, found in by_channel.items()]


def _read(
    rules: Sequence[Rule], book: Book, source: Source, now: datetime, labels: str
) -> tuple[dict[str, Sequence[Reading]], dict[str, str]]:
    """What each rule has yet to judge, by its key, and what could not be read; rules of the same windows share one
    reading of the log.
    """
    found: dict[str, Sequence[Reading]] = {}
    failed: dict[str, str] = {}
    settled = now - SETTLED
    groups: dict[tuple[timedelta, bool], list[Rule]] = {}
    for rule in rules:
        waits = rule.late and rule.key in book.standings and labels == book.labels  # for labels, and none have come
        if rule.every is not None and not waits:
            groups.setdefault((rule.every, rule.when.metric in vocabulary.OF_REQUESTS), []).append(rule)
    for (every, traffic), group in groups.items():
        since = {
            rule.key: _since(rule, every, _standing(rule, book, now) if rule.key in book.standings else None, settled)
            for rule in group
        }
        first = min(since.values())
        if floored(settled, every) <= first:
            continue  # no window has closed meanwhile
        try:
            readings = source.windows(every, first, settled, traffic=traffic)
        except (NbdeployError, OSError) as exc:  # the other rules are judged all the same
            failed |= dict.fromkeys(since, str(exc))
            continue
        found |= {key: [item for item in readings if item.began >= began] for key, began in since.items()}
    state = source.state(now)
    return found | {rule.key: [state] for rule in rules if rule.every is None}, failed


def _standing(rule: Rule, book: Book, now: datetime) -> Standing:
    """What a clock that was ahead has seen keeps nothing from being judged once it goes right."""
    found = book.standings.get(rule.key, Standing())
    if found.until is None or found.until - now <= AHEAD:
        return found
    until = None if rule.every is None else floored(now - SETTLED, rule.every)
    return replace(found, until=until, told=found.told and min(found.told, now))


def _since(rule: Rule, every: timedelta, standing: Standing | None, now: datetime) -> datetime:
    """A rule that is new judges the windows it needs to fire at once, and none before."""
    back = min(max(LATE if rule.late else MISSED, (rule.windows + 1) * every), MOST * every)
    if standing is None or (standing.until is None and not rule.late):
        back = rule.windows * every
    return max(standing.until if standing and standing.until else EPOCH, floored(now, every) - back)


def _lasting(rules: Iterable[Rule], standings: Mapping[str, Standing]) -> dict[str, Standing]:
    """What is worth a line on the disk: that nothing changed at one more look is not, that a window is done is."""
    return {
        rule.key: replace(standings[rule.key], until=None) if rule.every is None else standings[rule.key]
        for rule in rules
        if rule.key in standings
    }
