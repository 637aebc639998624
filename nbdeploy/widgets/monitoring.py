"""The tab Monitor: the page of `%deploy monitor`, which looks again by itself while it is in front."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from nbdeploy.widgets import parts
from nbdeploy.widgets.actions import told

if TYPE_CHECKING:
    from nbdeploy.widgets.actions import Action
    from nbdeploy.widgets.desk import Desk

SPANS = [("the last hour", "1h"), ("the last day", "1d"), ("the last 7 days", "7d"), ("the last 4 weeks", "4w")]
READING = parts.note("Reading the log ...")
SHARE = 5.0  # it rests at least so many times as long as a look takes


class MonitorTab:
    title = "Monitor"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.name = ""
        self.selected = False
        self._until = 0.0  # monotonic: rests till then
        self.span = parts.chooser("Over", SPANS, "7d", tip="The time that is looked at")
        self.again = parts.tick("look again by itself", True, tip="While this tab is in front")
        self.look = parts.button("Look", "heartbeat", "Read the log and compute the page", self._look, style="primary")
        self.alerts = parts.button("Alerts", "bell", "The service's rules, and what fires", self._alerts)
        self.rule = parts.line("Rule", hint="error_rate>0.05 or drift@age>1", tip="A condition to be previewed")
        self.preview = parts.button("Preview", "eye", "When it would have fired; nothing is added", self._preview)
        self.rule.observe(lambda _change: self._allow(), "value")
        self.advice = parts.html()
        self.page = parts.html()
        self.told = parts.html()
        self.box = parts.column(
            parts.row(self.span, self.look, self.again), parts.row(self.rule, self.preview, self.alerts),
            self.advice, self.told, self.page,
        )  # fmt: skip

    @property
    def watching(self) -> bool:
        return bool(self.selected and self.again.value and self.desk.overview.versions)

    def draw(self) -> None:
        overview = self.desk.overview
        if overview.name != self.name:
            self.name, self.page.value, self.told.value, self._until = overview.name or "", "", "", 0.0
        empty = "Nothing is published yet: deploy a model, ask it, and look again."
        self.advice.value = "" if overview.versions else parts.note(empty)
        self._allow()

    def _allow(self) -> None:
        self.look.disabled = self.alerts.disabled = not self.desk.overview.versions
        self.preview.disabled = self.alerts.disabled or not self.rule.value.strip()

    def follow(self) -> None:
        """Look again, in the thread that asks; a look that takes long is followed by a long rest."""
        began, asked = time.monotonic(), (self.name, self.span.value)
        if not self.watching or began < self._until:
            return
        if not self.page.value:  # of many columns it takes a while
            self.page.value = READING
        try:
            shown = parts.card(self.desk.workspace.monitor(self.name, last=self.span.value))
        except Exception as error:  # noqa: BLE001  # the thread that asks would end without a word; it is shown
            shown = parts.note(told(error), "bad")
        if asked != (self.name, self.span.value):  # another was chosen meanwhile; it is looked at next
            if self.page.value == READING:
                self.page.value = ""
            return
        self.page.value = shown + parts.as_of(datetime.now().astimezone().strftime("%H:%M:%S"))
        self._until = time.monotonic() + SHARE * (time.monotonic() - began)

    def _look(self) -> None:
        self.desk.do_here(["monitor", self.desk.name, "--last", self.span.value], self._looked)

    def _looked(self, action: Action) -> None:
        self.page.value = parts.came_of(action)

    def _alerts(self) -> None:
        self.desk.do_here(["alerts", self.desk.name], self._alerted)

    def _preview(self) -> None:
        words = ["--when", self.rule.value.strip(), "--preview", "--last", self.span.value]
        self.desk.do_here(["alerts", self.desk.name, *words], self._alerted)

    def _alerted(self, action: Action) -> None:
        self.told.value = parts.came_of(action)
