"""The tab Try it: a form made from the schema, the answer, and what would be if one column were another."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from nbdeploy.errors import NbdeployError
from nbdeploy.render import markup, plain
from nbdeploy.widgets import asking, fields, parts, plot
from nbdeploy.widgets.actions import told
from nbdeploy.widgets.variables import Variables

if TYPE_CHECKING:
    from nbdeploy.run.service import Service
    from nbdeploy.widgets.actions import Action
    from nbdeploy.widgets.desk import Desk
    from nbdeploy.widgets.fields import Field

AT_FIRST = 12  # columns with a control of their own; the others are added by name
OWN = ("example rows of the version", "")


class TryTab:
    title = "Try it"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.service: Service | None = None
        self.fields: tuple[Field, ...] = ()
        self.values: dict[str, Any] = {}
        self.controls: dict[str, Control] = {}
        self.rows: list[Any] = []
        self.quiet = parts.Quiet()
        self.forming = threading.RLock()  # a form is made in a thread, and read by clicks
        self.source = parts.chooser("Row from", [OWN], tip="Where the values come from")
        self.number = widgets.BoundedIntText(
            0, 0, 0, description="Row", style=parts.LABEL, layout={"width": "16em"}, tooltip="Number of the row"
        )
        self.more = parts.chooser("More columns", tip="Give another column a control")
        self.form = parts.column()
        self.go = parts.button(
            "Ask", "play", "Ask the running service; it is logged as any request is", self._ask, style="primary"
        )
        self.column = parts.chooser("What if", tip="The column to move")
        self.sweep = parts.button(
            "Plot it",
            "line-chart",
            "Ask again with that column moved over what was seen; one logged request",
            self._sweep,
        )
        self.answer = parts.html()
        self.curve = parts.html()
        self.advice = parts.html()
        self.source.observe(lambda _change: self._choose(), "value")
        self.number.observe(lambda _change: self._fill(), "value")
        self.more.observe(lambda change: self._add(change["new"]), "value")
        self.inner = parts.column(
            parts.row(self.source, self.number), self.form, self.more, parts.row(self.go), self.answer,
            parts.row(self.column, self.sweep), self.curve,
        )  # fmt: skip
        self.box = parts.column(self.advice, self.inner)

    def draw(self) -> None:
        state = self.desk.overview.state
        running = state is not None and state.running
        if not running:
            name = self.desk.name
            step = f"start it on the tab Services, or with %deploy serve {name}" if name else "deploy a model first"
            self.advice.value = parts.note(f"{name or 'Nothing'} is not running; {step}.", "warning")
        else:
            self.advice.value = ""
        self.go.disabled = self.sweep.disabled = not running
        if running and state is not None and not self._is(state.version, state.url):
            self._attach()
        parts.show(self.inner, shown=self.service is not None and self.service.name == self.desk.name)
        before = self.source.value, self.number.value
        with self.quiet:
            parts.options(self.source, [OWN, *((t.note, t.variable) for t in self._tables())])
            self._limit()
        if (self.source.value, self.number.value) != before:
            self._fill()

    def _is(self, version: str | None, url: str | None) -> bool:
        own = self.service
        return own is not None and (own.name, own.version, own.url) == (self.desk.name, version, url)

    def _attach(self) -> None:
        """The service that runs now; its form only where the schema is another."""
        try:
            service = self.desk.workspace.attach(self.desk.name)
        except NbdeployError as error:  # it ended just now
            self.advice.value = parts.note(str(error), "bad")
            return
        with self.forming:
            before, self.service = self.service, service
            if before is not None and before.name == service.name and before.manifest.schema == service.manifest.schema:
                return
            self.answer.value = self.curve.value = ""
            self.rows = service.examples
            self.fields = fields.fields(service.manifest.schema)
            self.controls = {}
            self.values = {item.name: _start(item) for item in self.fields}
            self.form.children = ()
            for item in self.fields[:AT_FIRST]:
                self._control(item)
            self._place()
        self._limit()
        self._fill()

    def _place(self) -> None:
        self.form.children = [control.box for control in self.controls.values()]
        others = [item.name for item in self.fields if item.name not in self.controls]
        parts.show(self.more, shown=bool(others))
        self.more.options = [
            (f"{len(others)} more, with the values of the row", ""),
            *((name, name) for name in others),
        ]
        moved = [(name, name) for name in fields.choices_of(self.fields)]
        parts.options(self.column, moved or [("no column with a known range", "")])

    def _control(self, item: Field) -> None:
        self.controls[item.name] = Control(item, self.values[item.name])

    def _add(self, name: str | None) -> None:
        found = next((item for item in self.fields if item.name == name and name not in self.controls), None)
        if found is not None:
            with self.forming:
                self._control(found)
                self._place()

    def _tables(self) -> list[Any]:
        """Variables that could be rows of this schema."""
        if self.service is None:
            return []
        wanted = {column.name for column in self.service.manifest.schema.columns}
        found = Variables.of(self.desk.namespace()).samples
        return [table for table in found if wanted <= set(table.columns) or not table.columns]

    def _choose(self) -> None:
        if not self.quiet:
            self._limit()
            self._fill()

    def _limit(self) -> None:
        """As many rows as there are to pick from."""
        table = next((t for t in self._tables() if t.variable == self.source.value), None)
        self.number.max = max(0, (table.rows if table else len(self.rows)) - 1)

    def _fill(self) -> None:
        """The values of the row that was picked."""
        if self.quiet:
            return
        try:
            with self.forming:
                self._take(self._row())
        except Exception as error:  # noqa: BLE001  # the user's own variable may be anything by now; it is said
            self.advice.value = parts.note(f"row {self.number.value} of {self.source.value}: {told(error)}", "bad")

    def _take(self, row: Any) -> None:
        if row is None or self.service is None:
            return
        self.values |= fields.values(self.service.manifest.schema, row)
        for name, control in self.controls.items():
            control.set(self.values[name])

    def _row(self) -> Any:
        number = self.number.value
        if not self.source.value:
            return self.rows[number] if number < len(self.rows) else None
        held: Any = self.desk.namespace()[self.source.value]
        some = held.iloc[[number]] if hasattr(held, "iloc") else held[number : number + 1]
        rows = self.service.client.rows(some) if self.service else []
        return rows[0] if rows else None

    def _now(self) -> tuple[Service, dict[str, Any]] | None:
        """Who is asked, and the values as they stand in the form; None where one of them cannot be read, which is said."""
        with self.forming:
            try:
                values = self.values | {name: control.value for name, control in self.controls.items()}
            except ValueError as error:
                self.answer.value = parts.note(str(error), "bad")
                return None
            return None if self.service is None else (self.service, values)

    def _ask(self) -> None:
        now = self._now()
        if now is None:
            return
        service, values = now
        row = fields.row(service.manifest.schema, values)
        self.desk.start(
            f"{service.name} ask",
            asking.asked(service, row),
            lambda _told: asking.ask(service, row),
            self.desk.here(self._answered),
        )

    def _answered(self, action: Action) -> None:
        if action.state != "done":
            self.answer.value = parts.failed(action)
            return
        found: asking.Answer = action.result
        took = f"{found.milliseconds:.1f} ms there and back, version {found.version}"
        code = parts.codes((("in a shell", found.curl), ("in Python", action.code.python)))
        more = parts.note(f"also: {plain.cut(found.more)}") if found.more is not None else ""
        self.answer.value = (
            f'<div role="status"><strong style="font-size:15px">{markup.text(found.sentence)}</strong> '
            f'<span class="nbd-time">{markup.text(took)} · {parts.as_of(action.time)}</span></div>'
            f"{plot.bars(found.scores)}{more}{code}"
        )

    def _sweep(self) -> None:
        now = self._now()
        moved = next((item for item in self.fields if item.name == self.column.value), None)
        if now is None or moved is None:
            return
        service, values = now
        points = moved.points()
        rows = [fields.row(service.manifest.schema, values | {moved.name: point}) for point in points]
        self.desk.start(
            f"{service.name} ask",
            asking.swept(service, rows, moved.name, points),
            lambda _told: replace(asking.sweep(service, rows, moved.name, points), now=values[moved.name]),
            self.desk.here(self._swept),
        )

    def _swept(self, action: Action) -> None:
        if action.state != "done":
            self.curve.value = parts.failed(action)
            return
        said = f"the other columns stay as they are above; one request of {len(action.result.points)} rows to version {action.result.version}"
        self.curve.value = plot.sweep(action.result) + parts.note(said) + parts.as_of(action.time)


class Control:
    """The control of one column, and beside it whether it is null.

    A slider has a box with the exact number: its name is read aloud, which stock sliders' are not, and it takes what the
    slider's steps pass over.
    """

    def __init__(self, item: Field, value: Any) -> None:
        self.field = item
        self.input = _input(item)
        self.slider = _slider(item) if item.control == "slider" else None
        self.null = parts.tick("null", tip=f"{item.name} is null", clicked=self._null)
        shown = (self.input, self.null) if self.slider is None else (self.input, self.slider, _ends(item), self.null)
        self.box = parts.row(*shown)
        if self.slider is not None:
            self.slider.observe(lambda change: self._slid(change["new"]), "value")
            self.input.observe(lambda change: self._typed(change["new"]), "value")
        self.set(value)

    def set(self, value: Any) -> None:
        """Raises ValueError where the control cannot show it."""
        self.null.value = value is None
        parts.show(self.null, shown=self.field.nullable or value is None)  # by it a value can be given again
        if value is None:
            return
        if self.field.control == "slider":
            if self.field.whole and value != int(value):
                raise ValueError(f"{self.field.name}: {value} is not a whole number.")
            self.input.value = int(value) if self.field.whole else float(value)
        elif self.field.control == "choice":
            if value not in self.field.choices:
                self.input.options = [*self.input.options, (f"{value} (not seen)", value)]
            self.input.value = value
        elif self.field.control == "switch":
            self.input.value = bool(value)
        else:
            self.input.value = self.field.written(value)

    @property
    def value(self) -> Any:
        """Raises ValueError, in words."""
        if self.null.value:
            return None
        shown = self.input.value
        return self.field.read(shown) if self.field.control in {"number", "text", "json"} else shown

    def _slid(self, value: float) -> None:
        """A slider that merely stops beside the number leaves it."""
        if abs(value - self._on_slider(self.input.value)) > 0.51 * self.field.step:
            self.input.value = value

    def _typed(self, value: float) -> None:
        if self.slider is not None:
            self.slider.value = self._on_slider(value)

    def _on_slider(self, value: float) -> float:
        return min(max(value, self.field.low), self.field.high)

    def _null(self, null: bool) -> None:
        for control in filter(None, (self.input, self.slider)):
            control.disabled = null


def _input(item: Field) -> Any:
    common = {"description": item.name, "tooltip": f"{item.name} {item.note}".strip(), "style": parts.LABEL}
    wide = {**common, "layout": {"width": "min(calc(100% - 76px), 38em)"}}  # with room for "null"
    if item.control == "slider":
        kind = widgets.IntText if item.whole else widgets.FloatText
        return kind(int(item.low) if item.whole else item.low, layout={"width": "17em"}, **common)
    if item.control == "choice":
        return widgets.Dropdown(options=[(str(choice), choice) for choice in item.choices], **wide)
    if item.control == "switch":
        return widgets.Checkbox(indent=True, **wide)
    return widgets.Text(continuous_update=False, placeholder=item.note, **wide)


def _ends(item: Field) -> Any:
    """The range seen in training, beside the slider that covers it."""
    ends = f'<span class="nbd-time" title="{markup.text(item.note)}">{item.low:g} to {item.high:g}</span>'
    return widgets.HTML(ends, layout={"width": "8.1em"})


def _slider(item: Field) -> Any:
    kind, low, high, step = widgets.FloatSlider, item.low, item.high, item.step
    if item.whole:
        kind, low, high, step = widgets.IntSlider, int(low), int(high), 1
    about = f"{item.name} {item.note}"
    return kind(
        low,
        min=low,
        max=high,
        step=step,
        readout=False,
        tooltip=about,
        layout={"width": "auto", "flex": "1 1 6em", "max_width": "11em"},
    )


def _start(item: Field) -> Any:
    if item.nullable:
        return None
    starts: dict[str, Any] = {"slider": item.low, "number": 0, "switch": False, "text": ""}
    return item.choices[0] if item.choices else starts.get(item.control)
