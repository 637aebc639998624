"""The tab Deploy: a model variable and its sample, looked at first, then deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy import names
from nbdeploy.errors import NbdeployError
from nbdeploy.widgets import parts
from nbdeploy.widgets.actions import told
from nbdeploy.widgets.form import DeployForm
from nbdeploy.widgets.variables import Variables

if TYPE_CHECKING:
    from nbdeploy.capture.bundle import Bundle
    from nbdeploy.widgets.actions import Action
    from nbdeploy.widgets.desk import Desk

NONE = ("none", "")
BUMPS = [("as the change needs", ""), ("patch", "patch"), ("minor", "minor"), ("major", "major")]
LAUNCHERS = [
    ("as before, else local: a process of its own", ""),
    ("local: a process of its own", "local"),
    ("container: out of an image of its own", "container"),
    ("memory: in this kernel", "memory"),
]


class DeployTab:
    title = "Deploy"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.variables = Variables((), (), {})
        self.quiet = parts.Quiet()
        self.model = parts.chooser("Model", tip="A variable that holds a fitted model")
        self.name = parts.line("Name", hint="the variable's name", tip="The service's name")
        self.sample = parts.chooser("Sample", tip="Rows like those the model will be asked about")
        self.target = parts.chooser("Target", tip="The labels the model was fitted to, for training metrics")
        self.data = parts.typed(
            "Held-out rows",
            hint="none: no gate; or X_test,y_test or test.csv",
            tip="Rows the model has not seen, with labels",
        )
        self.gate = parts.area(
            "Conditions", hint="one a line, such as accuracy>=0.9 or f1_macro>=live", tip="What the gate asks for"
        )
        self.bump = parts.chooser("Version bump", BUMPS, tip="Number the version higher than the change needs")
        self.launcher = parts.chooser("Runs", LAUNCHERS, tip="How the service runs")
        self.advice = parts.html()
        self.look = parts.button(
            "Look first", "search", "Bundle it and show schema, warnings and version; nothing is published", self._look
        )
        self.go = parts.button(
            "Deploy", "rocket", "Bundle, check, judge, publish and serve", self._deploy, style="primary"
        )
        self.shown = parts.html()
        self.suggested = ""  # the name, while nobody has typed another
        self.looked: tuple[str, Bundle] | None = None  # the card that is shown, and what it is of
        self.fed = ""  # the model that has its sample, guessed or chosen
        self.model.observe(lambda _change: self._guess(), "value")
        self.sample.observe(lambda _change: self._guess(fed=True), "value")
        self.bump.observe(lambda _change: self._show_looked(), "value")
        for control in (self.data, self.gate, self.name):
            control.observe(lambda _change: self._advise(), "value")
        self.box = parts.column(
            self.model, self.name, self.sample, self.target, self.data, self.gate, self.bump, self.launcher,
            self.advice, parts.row(self.look, self.go), self.shown,
        )  # fmt: skip

    def form(self) -> DeployForm:
        return DeployForm(
            model=self.model.value or "",
            name=self.name.value.strip(),
            sample=self.sample.value or "",
            target=self.target.value or "",
            data=self.data.value.strip(),
            gate=self.gate.value,
            bump=self.bump.value or "",
            launcher=self.launcher.value or "",
        )

    def draw(self) -> None:
        """The user's variables as they are now."""
        self.variables = Variables.of(self.desk.namespace())
        before = self.sample.value
        with self.quiet:
            found = [(model, model) for model in self.variables.models]
            parts.options(self.model, found or [("no fitted model among your variables yet", "")])
            parts.options(
                self.sample,
                [(t.note, t.variable) for t in self.variables.samples] or [("no rows among your variables yet", "")],
            )
        if self.sample.value != before:  # it was there no more
            self.fed = ""
        self._guess()

    def _guess(self, *, fed: bool = False) -> None:
        """What goes with the model, where nobody has said otherwise; another model has another sample."""
        if self.quiet:
            return
        with self.quiet:
            model = self.model.value or ""
            if self.name.value in {"", self.suggested}:
                self.name.value = self.suggested = names.nearest(model) if model else ""
            sample, first = self.variables.sample_for(model), self.target.options in {(), (NONE,)}
            if fed:
                self.fed = model
            elif sample and model != self.fed:
                self.fed, self.sample.value = model, sample
            labels = self.variables.labels_for(self.sample.value or "")
            parts.options(self.target, [*((t.note, t.variable) for t in labels), NONE])
            if first:
                self.target.index = 0
            self.data.options = list(self.variables.held_out_for(self.sample.value or ""))
        self._advise()

    def _advise(self) -> None:
        lacking = self.form().lacking
        self.advice.value = parts.note(lacking)
        self.look.disabled = not self.form().model or not self.form().sample
        self.go.disabled = bool(lacking)

    def _look(self) -> None:
        self.desk.do(self.form().bundle(), self._looked)

    def _looked(self, action: Action) -> None:
        done = action.state == "done"
        self.looked = (parts.card(action.result, action.time), action.result) if done else None
        self.shown.value = ""
        self._show_looked()

    def _show_looked(self) -> None:
        """The version it would be hangs on the bump that is chosen."""
        if self.looked is not None:
            card, bundle = self.looked
            self.shown.value = card + self._foreseen(bundle)

    def _foreseen(self, bundle: Bundle) -> str:
        """Which version it would be, and why."""
        workspace = self.desk.workspace
        try:
            live = workspace.registry.live(bundle.name)
            if live is not None and live.digest == bundle.digest:
                return parts.note(
                    f"This is {live.name} {live.version}, live already: a deploy changes nothing.", "good"
                )
            number, suggestion = workspace.foreseen(bundle, self.form().bump or None)
        except NbdeployError as error:
            return parts.note(told(error), "bad")
        kind = f", a {suggestion.bump} version" if live is not None else ""
        return parts.note(f"It would be {bundle.name} {number}{kind}: {suggestion.reason}.")

    def _deploy(self) -> None:
        """What was shown makes room: progress and Cancel stand beneath it."""
        self.looked, self.shown.value = None, ""
        self.desk.do(self.form().deploy(), self._deployed)

    def _deployed(self, action: Action) -> None:
        report = getattr(action.result if action.state == "done" else action.error, "report", None)
        shown = parts.card(report, action.time) if report is not None else ""
        if action.state == "done":
            shown += parts.card(action.result, action.time)
            self.desk.show_next(action.result.name)
        self.shown.value = shown
