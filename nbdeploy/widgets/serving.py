"""The tab Services: what runs where, its history, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NbdeployError
from nbdeploy.render import Table, markup, plain
from nbdeploy.widgets import parts
from nbdeploy.widgets.confirming import Confirm

if TYPE_CHECKING:
    from nbdeploy.keep.version import Version
    from nbdeploy.run.services import ServiceState
    from nbdeploy.widgets.actions import Action
    from nbdeploy.widgets.desk import Desk

ROOM = 120_000  # characters of the list of services; it scrolls
LINES = "100"  # of a log
MOST_NOTES = 5  # about services; the chosen one's come first


class ServicesTab:
    title = "Services"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.name = ""
        self.services = parts.html()
        self.versions = parts.listing("Versions")
        self.other = parts.chooser("Compare with", tip="The version it is compared with")
        self.details = parts.button("Details", "info-circle", "Everything known of the version", self._details)
        self.diff = parts.button("Compare", "exchange", "What changed from the other version to this one", self._diff)
        self.back = parts.button(
            "Make live", "history", "Let this version answer; what changes is said first", self._back
        )
        self.start = parts.button("Start", "play", "Serve the live version again", self._start)
        self.stop = parts.button("Stop", "stop", "End the service; its versions stay", self._stop)
        self.logs = parts.button("Logs", "align-left", "What the service wrote", self._logs)
        self.traffic = parts.button(
            "Traffic", "bar-chart", "What the service was asked in the last hour", self._traffic
        )
        self.live = parts.tick("follow the log", tip="Go on showing the log as it grows")
        self.confirm = Confirm()
        self.shown = parts.html()
        self.log = parts.html()
        self.seen: tuple[Any, ...] = ()  # of the service, when what is shown was new
        self.fresh = False
        self.versions.observe(lambda _change: self._allow(), "value")
        self.live.observe(lambda _change: self._begin(), "value")
        self.box = parts.column(
            parts.heading("What runs"), self.services, parts.heading("Versions"), self.versions,
            parts.row(self.details, self.other, self.diff),
            parts.row(self.back, self.start, self.stop, self.traffic, self.logs, self.live),
            self.confirm.box, self.log, self.shown,
        )  # fmt: skip

    @property
    def watching(self) -> bool:
        """Whether a log is followed."""
        return bool(self.live.value and self.log.value)

    def draw(self) -> None:
        overview = self.desk.overview
        if overview.name != self.name:
            self.name = overview.name or ""
            self.confirm.close()
            self.shown.value = self.log.value = ""
        self._forget_what_is_past()
        self.services.value = _services(list(overview.services), self.name)
        found = list(overview.versions or ())
        before = next((item.version for item in found if not item.live), None)
        parts.options(self.versions, [(_line(item), item.version) for item in found], before)
        parts.options(
            self.other,
            [("the live version; that, with the one before", ""), *((item.version, item.version) for item in found)],
        )
        self._allow()
        if self.watching:
            self.follow()

    def _forget_what_is_past(self) -> None:
        """A card that says "ready" does not stay when the service is that no more."""
        state = self.desk.overview.state
        seen = (state.state, state.version) if state else ()
        if seen != self.seen and not self.fresh:
            self.shown.value = ""
        self.seen, self.fresh = seen, False

    def _begin(self) -> None:
        """There is a log to go on with."""
        if self.live.value and not self.log.value and self.desk.name:
            self._logs()

    def follow(self) -> None:
        """The log as it is now."""
        try:
            lines = list(self.desk.workspace.logs(self.name, lines=int(LINES)))
        except NbdeployError as error:
            self.log.value = parts.note(str(error), "bad")
            return
        self.log.value = parts.log(lines) + parts.as_of(self.desk.overview.clock)

    def _allow(self) -> None:
        state, chosen = self.desk.overview.state, self.versions.value
        running = state is not None and state.running
        for control in (self.details, self.diff):
            control.disabled = not chosen
        self.back.disabled = not chosen or (running and chosen == self._live)
        self.start.disabled = running or not self.desk.overview.versions
        self.stop.disabled = state is None or state.state == "stopped"
        self.logs.disabled = self.traffic.disabled = not self.desk.name

    @property
    def _live(self) -> str:
        live = self.desk.overview.live
        return live.version if live else ""

    def _details(self) -> None:
        self.desk.do_here(["show", f"{self.desk.name}:{self.versions.value}"], self._show)

    def _diff(self) -> None:
        other = self.other.value or self._beside(self.versions.value)
        self.desk.do_here(["diff", self.desk.name, other, self.versions.value], self._show)

    def _beside(self, chosen: str) -> str:
        """The live version; of that one, the one before."""
        if chosen != self._live:
            return self._live or chosen
        held = [item.version for item in self.desk.overview.versions or ()]  # newest first
        return next(iter(held[held.index(chosen) + 1 :]), chosen)

    def _show(self, action: Action) -> None:
        self.fresh = True
        self.shown.value = parts.came_of(action)

    def _back(self) -> None:
        """What will change is said before."""
        name, to, live = self.desk.name, self.versions.value, self._live
        going = ["rollback", name, "--to", to]
        if not live or live == to:
            self._ask_back(to, "", ["serve", f"{name}:{to}"])
            return
        self.desk.do_here(["diff", name, live, to], lambda action: self._ask_back(to, parts.came_of(action), going))

    def _ask_back(self, to: str, changes: str, words: list[str]) -> None:
        self.shown.value = ""
        name, state = self.desk.name, self.desk.overview.state
        place = (state.url if state and state.running else None) or "its address"
        told = (
            f"{name} {to} will answer at {place} instead of {self._live or 'nothing'}, once it has answered its golden rows there. "
            "Requests under way are finished; every version stays."
        )
        self.confirm.open(
            told,
            changes,
            f"Make {to} live",
            "Leave it as it is",
            lambda: self.desk.do_here(words, self._show),
        )

    def _start(self) -> None:
        self.desk.do_here(["serve", self.desk.name], self._show)

    def _stop(self) -> None:
        name, state = self.desk.name, self.desk.overview.state
        told = f"Callers of {state.url if state else name} get no answer until {name} is started again. Versions, log and token stay."
        self.confirm.open(told, "", f"Stop {name}", "Let it run", lambda: self.desk.do_here(["stop", name], self._show))

    def _traffic(self) -> None:
        self.desk.do_here(["predictions", self.desk.name, "--last", "1h"], self._show)

    def _logs(self) -> None:
        self.desk.do_here(["logs", self.desk.name, "--lines", LINES], self._logged)

    def _logged(self, action: Action) -> None:
        if action.state == "done":
            self.log.value = parts.log(list(action.result)) + parts.as_of(action.time)
        else:
            self.log.value = parts.failed(action)


def _services(states: list[ServiceState], chosen: str) -> str:
    rows = [
        (
            f"{'▸ ' if state.name == chosen else ''}{state.name}",
            f"{plain.ICONS[state.tone]} {state.state}",
            state.version,
            state.url,
            state.launcher if state.running else None,
            state.workers if state.running else None,
            state.since[:16].replace("T", " ") if state.since else None,
        )
        for state in sorted(states, key=lambda state: (state.name != chosen, not state.running, state.name))
    ]
    headers = ("name", "state", "version", "url", "launcher", "workers", "since (UTC)")
    empty = "No service yet: deploy a model on the tab Deploy, or with %deploy MODEL --sample X_train."
    told = [note for state in sorted(states, key=lambda state: state.name != chosen) for note in _notes(state)]
    if len(told) > MOST_NOTES:
        told[MOST_NOTES:] = [parts.note(f"and {len(told) - MOST_NOTES} more like these: %deploy ps --all has them.")]
    shown = markup.table(Table(headers, rows, empty=empty), ROOM)
    return f'<div class="nbd-scroll" tabindex="0" role="region" aria-label="services">{shown}</div>{"".join(told)}'


def _notes(state: ServiceState) -> list[str]:
    """What is wrong with it, and the next step."""
    dead = (
        f"{state.name} is dead: nothing answers there any more; start it again here or with %deploy serve {state.name}."
    )
    said = [parts.note(dead, "bad")] if state.state == "dead" else []
    return [*said, *(parts.note(f"{state.name}: {text}", tone) for tone, text in state.notes)]


def _line(item: Version) -> str:
    marks = f" · {item.status}" if item.status else ""
    return plain.cut(
        f"{item.version}{marks} · {item.created[:16].replace('T', ' ')} · gate {item.gate} · {item.bump}: {item.reason}",
        160,
    )
