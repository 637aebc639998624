"""Alerts of a service: its rules listed, previewed, added and taken away; channels tested; the loop without a kernel."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbdeploy.deployment import Deployment
from nbdeploy.errors import HomeUnavailable, NotFound, WrongUse
from nbdeploy.keep import store
from nbdeploy.run.feedback import FOLDER as LABELS
from nbdeploy.run.predictions import Predictions
from nbdeploy.spans import seconds, span
from nbdeploy.watch import vocabulary
from nbdeploy.watch.alerts import Alerts, Tested
from nbdeploy.watch.axis import Axis, floored
from nbdeploy.watch.channels import NOTEBOOK, channels_of
from nbdeploy.watch.ledger import FOLDER, Ledger
from nbdeploy.watch.look import MOST, look
from nbdeploy.watch.message import Message
from nbdeploy.watch.outbox import Outbox
from nbdeploy.watch.plan import Plan
from nbdeploy.watch.preview import Preview, unseen
from nbdeploy.watch.reading import Reading
from nbdeploy.watch.readings import readings
from nbdeploy.watch.rule import Rule
from nbdeploy.watch.traffic import traffic
from nbdeploy.watch.watcher import INTERVAL, Watcher, until_told, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbdeploy.keep.registry import Registry
    from nbdeploy.run.services import ServiceState
    from nbdeploy.runtime.manifest import Manifest
    from nbdeploy.settings import Settings
    from nbdeploy.watch.channels import Channel

    Progress = Callable[[str], None]

LAST = "7d"
LOG = "predictions"
BEFORE = 3  # windows that are read before those that are judged: drift asks how long it has lasted
MOST_OF_REQUESTS = 4_900  # windows of a preview: a week of short ones is more than can be read at once
DOWN = {"dead", "failed", "unknown"}


def alerts(
    settings: Settings, registry: Registry, name: str, progress: Progress, asked: Mapping[str, Any]
) -> Alerts | Preview | Tested:
    """What `Workspace.alerts` was asked: a rule to add or preview (`when`), to take away, a channel to test, or the list.

    Raises:
        WrongUse, UnknownOption, NotFound: with what was probably meant.
    """
    desk = Desk(Deployment(settings, registry, name), progress)
    given = {key: value for key, value in asked.items() if value is not None and value is not False and value != ()}
    chosen = [key for key in ("when", "remove", "test") if key in given]
    if len(chosen) > 1:
        raise WrongUse(f"alerts does one thing at a time: --{chosen[0]} or --{chosen[1]}.")
    if stray := sorted(set(given) - {*chosen, *(_WITH_WHEN if chosen == ["when"] else ())}):
        raise WrongUse(f'--{stray[0]} is of a rule that is added or previewed: give --when "error_rate>0.05" with it.')
    if "remove" in given:
        desk.remove(given["remove"])
        return replace(desk.listed(), removed=given["remove"])
    if "test" in given:
        return desk.test(given["test"])
    if "when" in given:
        return desk.add(given)
    return desk.listed()


def watch(
    settings: Settings,
    registry: Registry,
    name: str,
    say: Callable[[str], None],
    *,
    interval: float | str | None = None,
) -> None:
    """Look at the service every `interval` (seconds, or a span; 60), and deliver what waits, until Ctrl-C, SIGTERM or its removal.

    Raises:
        Refused: another process watches it; NotFound.
    """
    desk = Desk(Deployment(settings, registry, name), lambda _: None)
    ledger = Ledger(desk.ledger.folder, there=True)
    watcher = Watcher(
        name=name,
        plan=desk.plan,
        ledger=ledger,
        source=Readings(desk.deployment),
        outbox=Outbox(ledger, desk.channels),
        gone=lambda: name not in registry.names(),
        say=lambda text: say(f"{datetime.now(UTC):%H:%M:%S} {text}"),
        interval=INTERVAL if interval is None else seconds(interval),
    )
    with until_told() as ending:
        watcher.run(ending)


_WITH_WHEN = {"clear", "windows", "every", "rows", "repeat", "send", "rule", "preview", "last"}


@dataclass
class Desk:
    """The alerts of one name."""

    deployment: Deployment
    progress: Progress

    def __post_init__(self) -> None:
        self.deployment.registry.versions(self.name)  # NotFound, with the names there are
        self.plan = Plan.of(self.deployment.settings.alerts)
        self.ledger = Ledger(self.deployment.folder / FOLDER)

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def channels(self) -> dict[str, Channel]:
        return channels_of(self.plan.addresses, self.plan.reach, self.ledger.folder)

    def listed(self) -> Alerts:
        """As it is now: where nobody watches, every window that has closed is judged first."""
        watch, unjudged = watched(self.ledger.folder), ""
        if watch is None:
            self.progress("watch")
            try:
                look(self.name, self.plan, self.ledger, Readings(self.deployment), datetime.now(UTC))
            except HomeUnavailable as exc:  # on such a disk nothing is new, and what is known is shown all the same
                unjudged = f"{exc.path}: {exc.fact}"
        shown = {name: channel.shown for name, channel in self.channels.items()}
        listed = Alerts.of(self.name, self.plan, self.ledger.read(), shown, watch)
        return replace(listed, damaged=self.ledger.damaged, unjudged=unjudged)

    def add(self, given: Mapping[str, Any]) -> Preview:
        """Or only show what it would have done."""
        table = {key: given[key] for key in ("when", "clear", "windows", "every", "rows", "repeat") if key in given}
        if "send" in given:
            table["send"] = list(given["send"])
        rule = self.plan.check(Rule.of(given.get("rule"), table, "notebook").check_shares())
        vocabulary.check(rule.when, self._columns())
        vocabulary.check_task(rule.when, str(self._manifest.model.get("task") or ""))
        preview = self._preview(rule, span(given.get("last", LAST)))
        if given.get("preview"):
            return preview
        with self.ledger.turn() as page:
            before = {item.name for item in self.plan.of_name(self.name, page.book.rules)}
            page.add({"ruled": {"name": rule.name, "table": table}})
        return preview.switched_on(instead=rule.name in before)

    def remove(self, rule: str) -> None:
        with self.ledger.turn() as page:
            there = {item.name: item for item in self.plan.of_name(self.name, page.book.rules)}
            if rule not in there:
                raise NotFound("rule", rule, list(there))
            if there[rule].source == "settings":
                raise WrongUse(f'The rule "{rule}" stands in the settings: take it out of [alerts.rules].')
            off = {"table": None} if there[rule].source == "built in" else {}
            page.add({"ruled": {"name": rule} | off})

    def test(self, channel: str) -> Tested:
        """Raises DeliveryFailed, Unsupported: what the channel would have to be for alerts to come through."""
        if channel == NOTEBOOK:
            raise WrongUse("The channel notebook is this one: the next %deploy of a kernel shows what waits there.")
        if channel not in self.channels:
            raise NotFound("channel", channel, list(self.plan.channels))
        message = Message(self.name, channel, datetime.now(UTC), (), test=True)
        began = time.monotonic()
        self.channels[channel].send(message)
        return Tested(self.name, channel, self.channels[channel].shown, message.id, time.monotonic() - began)

    def _preview(self, rule: Rule, last: timedelta) -> Preview:
        now = datetime.now(UTC)
        if rule.every is None:
            return unseen(self.name, rule, now)
        self.progress("watch")
        traffic = rule.when.metric in vocabulary.OF_REQUESTS
        last = min(last, (MOST_OF_REQUESTS if traffic else MOST) * rule.every)
        since = max(now - last, self._began(now))
        found = Readings(self.deployment).windows(rule.every, floored(since, rule.every), now, traffic=traffic)
        return Preview.over(self.name, rule, found, since, now)

    def _began(self, now: datetime) -> datetime:
        """Before its first event and the first segment of its log there was no service that had no requests."""
        events = self.deployment.registry.events(self.name)
        logged = (path.stem.partition("-")[0] for path in Predictions(self.deployment.folder / LOG).segments())
        begun = [datetime.fromtimestamp(int(micros) / 1e6, UTC) for micros in logged if micros.isdecimal()]
        return min((*begun, *(datetime.fromisoformat(event.time) for event in events)), default=now)

    @property
    def _manifest(self) -> Manifest:
        """Of the live version, or the newest."""
        registry = self.deployment.registry
        return store.manifest_of(registry.live(self.name) or registry.versions(self.name)[0])

    def _columns(self) -> list[str]:
        """Those of the live version's input, or the newest's; none where they have no names."""
        schema = self._manifest.schema
        return [column.name for column in schema.columns] if schema.keyed else []


class Readings:
    """The readings of a service, from its log, its labels and what it says of itself."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.said = "not looked at yet"

    def state(self, now: datetime) -> Reading:
        service = self.deployment.state()
        self.said = _said(service)
        values = {
            "down": service.state in DOWN,
            "degraded": service.state == "degraded",
            "log_degraded": service.unlogged,
            "stopped": service.state == "stopped",
        }
        return Reading(now, now, service.version, {name: float(value) for name, value in values.items()})

    def labels(self) -> str:
        sizes = []
        for path in (self.deployment.folder / LABELS).glob("*"):
            with suppress(FileNotFoundError):  # retention took it meanwhile
                sizes.append(path.stat().st_size)
        return f"{len(sizes)}-{sum(sizes)}" if sizes else ""

    def windows(self, every: timedelta, since: datetime, now: datetime, *, traffic: bool) -> Sequence[Reading]:
        found = self._of_requests(every, since, now) if traffic else self._of_all(every, since, now)
        return [reading for reading in found if reading.began >= since and reading.closed(now)]

    def _of_requests(self, every: timedelta, since: datetime, now: datetime) -> Sequence[Reading]:
        axis = Axis(since, floored(now, every), every, now)
        if not axis.count:
            return ()
        log = Predictions(self.deployment.folder / LOG).within(axis.began, axis.ended)
        return readings(axis, traffic(log.requests(), axis.began, axis.ended, every), (), {}, {})

    def _of_all(self, every: timedelta, since: datetime, now: datetime) -> Sequence[Reading]:
        from nbdeploy.watching import Look

        found = Look(self.deployment, now - since + BEFORE * every, every, now).health(lambda _: None)
        return found.readings


def _said(service: ServiceState) -> str:
    version = f", version {service.version}" if service.version else ""
    why = f": {service.failure}" if service.failure else ""
    return f"{service.state}{version}{why}"
