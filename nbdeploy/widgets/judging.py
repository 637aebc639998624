"""The tab Validation: a version judged by a notebook, and the report, failing checks first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.widgets import parts
from nbdeploy.widgets.form import GateForm
from nbdeploy.widgets.variables import Variables

if TYPE_CHECKING:
    from nbdeploy.widgets.actions import Action
    from nbdeploy.widgets.desk import Desk


class ValidationTab:
    title = "Validation"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.name = ""
        self.version = parts.chooser("Version", tip="The version that is judged")
        self.data = parts.typed(
            "Held-out rows", hint="X_test,y_test or test.csv", tip="Rows the model has not seen, with labels"
        )
        self.target = parts.line("Target", hint="as at training", tip="The column of the rows that holds the labels")
        self.gate = parts.area(
            "Conditions", hint="one a line, such as accuracy>=0.9 or f1_macro>=live", tip="What the gate asks for"
        )
        self.notebook = parts.line(
            "Notebook", hint="the template of the model's task", tip="The notebook that judges it"
        )
        self.advice = parts.html()
        self.go = parts.button(
            "Run the gate", "gavel", "Have the notebook judge the version", self._run, style="primary"
        )
        self.shown = parts.html()
        for control in (self.data, self.notebook, self.version):
            control.observe(lambda _change: self._advise(), "value")
        self.box = parts.column(
            self.version, self.data, self.target, self.gate, self.notebook, self.advice, parts.row(self.go), self.shown
        )

    def form(self) -> GateForm:
        return GateForm(
            name=self.desk.name if self.desk.overview.versions else "",
            version=self.version.value or "",
            notebook=self.notebook.value.strip(),
            data=self.data.value.strip(),
            target=self.target.value.strip(),
            gate=self.gate.value,
        )

    def draw(self) -> None:
        overview = self.desk.overview
        if overview.name != self.name:
            self.name, self.shown.value = overview.name or "", ""
        found = [
            (f"{item.version} · gate {item.gate}{' · live' if item.live else ''}", item.version)
            for item in overview.versions or ()
        ]
        live = overview.live
        parts.options(self.version, found or [("nothing is published yet", "")], live.version if live else None)
        variables = Variables.of(self.desk.namespace())
        pairs = (pair for table in variables.samples for pair in variables.held_out_for(table.variable))
        self.data.options = tuple(dict.fromkeys(pairs))
        self._advise()

    def _advise(self) -> None:
        lacking = self.form().lacking
        self.advice.value = parts.note(lacking)
        self.go.disabled = bool(lacking)

    def _run(self) -> None:
        self.shown.value = ""
        self.desk.do_here(self.form().validate(), self._judged)

    def _judged(self, action: Action) -> None:
        report = action.result if action.state == "done" else getattr(action.error, "report", None)
        if report is not None:
            self.shown.value = parts.card(report, action.time)
