"""The panel as it is seen: a head, the tabs, and a strip for what runs; beneath it the twin for those without a front end."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import ipywidgets as widgets

from nbdeploy.render import markup, plain
from nbdeploy.render.progress import PHASES
from nbdeploy.widgets import parts
from nbdeploy.widgets.coding import CodeTab
from nbdeploy.widgets.deploying import DeployTab
from nbdeploy.widgets.desk import Desk
from nbdeploy.widgets.judging import ValidationTab
from nbdeploy.widgets.monitoring import MonitorTab
from nbdeploy.widgets.serving import ServicesTab
from nbdeploy.widgets.trying import TryTab
from nbdeploy.widgets.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbdeploy.overview import Overview
    from nbdeploy.widgets.actions import Action

T = TypeVar("T")
EVERY = 3.0  # seconds between two looks, where somebody asked to be kept up to date
VIEW = "application/vnd.jupyter.widget-view+json"
NOBODY = "no name yet"


class View:
    def __init__(self, overview: Overview, namespace: Callable[[], Mapping[str, Any]]) -> None:
        if overview.workspace is None:
            raise TypeError("this overview has no workspace to ask")  # for the type checker; Overview.of gives it
        self.desk = Desk(overview.workspace, namespace, overview, changed=self.draw, said=self.say)
        self.twin = Twin(self.desk)
        self._drawing = threading.RLock()
        self._quiet = parts.Quiet()
        self.ticker = Ticker(self.tick)
        self.tabs: list[Any] = [
            tab(self.desk) for tab in (DeployTab, TryTab, ServicesTab, MonitorTab, ValidationTab, CodeTab)
        ]
        self.services, self.monitor = self._tab(ServicesTab), self._tab(MonitorTab)
        for control in (self.services.live, self.services.log, self.monitor.again):
            control.observe(lambda _change: self._watch(), "value")
        self.name = parts.chooser("Service", tip="The service that is shown")
        self.time = widgets.HTML()
        self.refresh = parts.button("Refresh", "refresh", "Look again", self._refresh)
        self.watch = parts.tick(
            "keep up to date", tip=f"Look again every {EVERY:g} seconds", clicked=lambda _on: self._watch()
        )
        self.problems = parts.html()
        self.strip = parts.html()
        self.cancel = parts.button("Cancel", "ban", "End it, as Ctrl-C does; what is half done is undone", self._cancel)
        foot = parts.column(self.cancel, self.strip)
        foot.add_class("nbd-strip")
        self.pages = widgets.Tab([tab.box for tab in self.tabs], titles=[tab.title for tab in self.tabs])
        self.box = parts.column(
            widgets.HTML(f"<style>{_css()}{self.twin.hidden}</style>"),
            parts.row(self.name, self.time, self.refresh, self.watch),
            self.problems, self.pages, foot,
        )  # fmt: skip
        self.box.add_class("nbd-panel")
        self.name.observe(self._choose, "value")
        self.pages.observe(lambda _change: self._watch(), "selected_index")
        parts.show(self.cancel, shown=False)
        if overview.name:
            self.pages.selected_index = 2
        self.draw()

    def _tab(self, kind: type[T]) -> T:
        return next(tab for tab in self.tabs if isinstance(tab, kind))

    def display(self) -> None:
        """The view, and its twin as an output of its own: beside a view other forms are passed over."""
        from IPython.display import display

        view = self.box._repr_mimebundle_()[VIEW]  # IPython's own word for it
        display({VIEW: view, "text/plain": "The nbdeploy panel; what it showed stands below."}, raw=True)
        self.twin.display()

    def draw(self) -> None:
        overview = self.desk.overview
        with self._drawing:
            with self._quiet:
                parts.options(self.name, [(name, name) for name in overview.names] or [(NOBODY, "")])
                if overview.name:
                    self.name.value = overview.name
            self.time.value = parts.as_of(overview.clock)
            self.problems.value = "".join(parts.note(text, "bad") for text in overview.problems)
            for tab in self.tabs:
                tab.draw()
            self.twin.draw()

    def say(self, action: Action | None, refused: str) -> None:
        """What runs, or what came of it; why a click did nothing, above it."""
        shown = self.desk.shown_action
        if action is not None and (shown is None or shown.state != "running" or shown is action):
            self.desk.shown_action = shown = action
        self.strip.value = parts.note(refused, "bad") + ("" if shown is None else _strip(shown))
        parts.show(self.cancel, shown=shown is not None and shown.state == "running")

    def _cancel(self) -> None:
        if self.desk.shown_action is not None:
            self.desk.shown_action.cancel()

    def _choose(self, change: Any) -> None:
        if not self._quiet and change["new"]:
            self.desk.show_next(change["new"])
            self._apart(self.desk.read)

    def _refresh(self) -> None:
        self._apart(self.desk.read)

    def _watch(self) -> None:
        """Look again by itself where somebody wants it: in a thread that ends with the wish."""
        shown = self.tabs[self.pages.selected_index or 0]
        before, self.monitor.selected = self.monitor.selected, shown is self.monitor
        if self.monitor.selected and not before:
            self._apart(self.monitor.follow)
        wanted = bool(self.watch.value) or self.monitor.watching or self.services.watching
        self.ticker.run(wanted=wanted and self.desk.kept)

    def tick(self) -> None:
        if not self.desk.kept:  # so many others were opened since that nobody looks at it any more
            self.ticker.run(wanted=False)
            return
        if self.watch.value or self.services.watching:
            self.desk.attempt(self.desk.read)
        self.desk.attempt(self.monitor.follow)

    def _apart(self, work: Callable[[], object]) -> None:
        """Not in the kernel's own thread: a service that does not answer takes its time."""
        threading.Thread(target=self.desk.attempt, args=(work,), name="nbdeploy panel", daemon=True).start()


class Ticker:
    """A thread that lives only while somebody wants it."""

    def __init__(self, tick: Callable[[], object]) -> None:
        self._tick = tick
        self._stop: threading.Event | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._stop is not None

    def run(self, *, wanted: bool) -> None:
        with self._lock:
            if wanted and self._stop is None:
                self._stop = threading.Event()
                threading.Thread(target=self._go, args=(self._stop,), name="nbdeploy panel", daemon=True).start()
            elif not wanted and self._stop is not None:
                self._stop.set()
                self._stop = None

    def _go(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY):
            self._tick()


def _strip(action: Action) -> str:
    """The phases that are done, the one under way, and the lines that do the same."""
    told = [] if action.state in {"failed", action.text} else action.text.split(" · ")
    phases = "".join(map(_phase, told))
    failed = parts.note(action.text, "bad") if action.state == "failed" else ""
    head = f"{markup.icon(action.tone)} {action.state} · begun {markup.text(action.begun)}"
    lines = parts.codes((("in a notebook", action.code.magic), ("in Python", action.code.python)))
    return f'<div role="status" aria-live="polite"><div>{head}</div><div>{phases}</div>{failed}</div>{lines}'


def _phase(text: str) -> str:
    done = any(text.startswith(past) for _, past in PHASES.values())
    return f'<span class="nbd-phase">{markup.icon("good" if done else "neutral")} {markup.text(plain.cut(text, 160))}</span>'


@cache
def _css() -> str:
    return Path(__file__).with_name("panel.css").read_text(encoding="utf-8")
