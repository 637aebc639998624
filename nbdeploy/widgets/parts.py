"""The few controls the panel is made of: labelled, as wide as there is room, one look."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import ipywidgets as widgets

from nbdeploy.render import markup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbdeploy.render import Tone
    from nbdeploy.widgets.actions import Action

    Option = str | tuple[str, Any]

LABEL = {"description_width": "9em"}
WIDE = "min(calc(100% - 4px), 38em)"
DOUBLE = 0.3  # seconds between the two of a double click


class Quiet:
    """Entered by who changes controls without meaning it: observers called in that thread then have nothing to do."""

    def __init__(self) -> None:
        self._here = threading.local()

    def __bool__(self) -> bool:
        return getattr(self._here, "entered", False)

    def __enter__(self) -> Self:
        self._here.entered = True
        return self

    def __exit__(self, *_: object) -> None:
        self._here.entered = False


def html(value: str = "") -> Any:
    return widgets.HTML(value, layout={"width": "100%", "margin": "2px 0"})


def note(text: str, tone: Tone = "neutral") -> str:
    """Its lines stay lines."""
    lines = "<br>".join(map(markup.text, text.splitlines()))
    return f'<div class="nbd-note">{markup.icon(tone)} {lines}</div>' if text else ""


def heading(text: str) -> Any:
    return html(f'<div role="heading" aria-level="3" class="nbd-heading">{markup.text(text)}</div>')


def as_of(clock: str) -> str:
    return f'<span class="nbd-time">as of {markup.text(clock)}</span>'


def button(
    text: str, icon: str, tip: str, clicked: Callable[[], object], *, style: str = "", double: float | None = None
) -> Any:
    """A click within `double` seconds (by default DOUBLE) after another is the same one."""
    made = widgets.Button(
        description=text, icon=icon, tooltip=tip, button_style=style, layout={"width": "auto", "min_width": "6em"}
    )
    before = -math.inf

    def once(_button: Any) -> None:
        nonlocal before
        again, before = time.monotonic() - before < (DOUBLE if double is None else double), time.monotonic()
        if not again:
            clicked()

    made.on_click(once)
    return made


def rename(control: Any, text: str) -> None:
    """What the button says, and so what it is called."""
    control.description = text


def chooser(label: str, options: Sequence[Option] = (), value: Any = None, *, tip: str = "") -> Any:
    made = widgets.Dropdown(
        description=label, options=list(options), tooltip=tip or label, style=LABEL, layout={"width": WIDE}
    )
    if value is not None:
        made.value = value
    return made


def listing(label: str) -> Any:
    return widgets.Select(description=label, rows=7, tooltip=label, style=LABEL, layout={"width": "calc(100% - 6px)"})


def line(label: str, value: str = "", *, hint: str = "", tip: str = "") -> Any:
    return widgets.Text(
        value,
        description=label,
        placeholder=hint,
        tooltip=tip or label,
        style=LABEL,
        layout={"width": WIDE},
        continuous_update=False,
    )


def typed(label: str, options: Sequence[str] = (), *, hint: str = "", tip: str = "") -> Any:
    """A line with suggestions."""
    return widgets.Combobox(
        description=label,
        options=list(options),
        placeholder=hint,
        tooltip=tip or label,
        ensure_option=False,
        continuous_update=False,
        style=LABEL,
        layout={"width": WIDE},
    )


def area(label: str, value: str = "", *, hint: str = "", rows: int = 2, tip: str = "") -> Any:
    return widgets.Textarea(
        value, description=label, placeholder=hint, rows=rows, tooltip=tip or label, style=LABEL, layout={"width": WIDE}
    )


def tick(label: str, value: bool = False, *, tip: str = "", clicked: Callable[[bool], object] | None = None) -> Any:
    made = widgets.Checkbox(value, description=label, indent=False, tooltip=tip or label, layout={"width": "auto"})
    if clicked is not None:
        made.observe(lambda change: clicked(bool(change["new"])), "value")
    return made


def row(*children: Any) -> Any:
    return widgets.HBox(
        children, layout={"flex_flow": "row wrap", "align_items": "center", "width": "100%", "grid_gap": "4px 8px"}
    )


def column(*children: Any) -> Any:
    return widgets.VBox(children, layout={"width": "100%"})


def show(control: Any, *, shown: bool) -> None:
    control.layout.display = None if shown else "none"


def options(control: Any, wanted: Sequence[Option], value: Any = None) -> None:
    """New options; what was chosen stays chosen where it is still there, else `value`, else the first."""
    if list(control.options) == list(wanted):
        return
    kept = control.value
    there = [item[1] if isinstance(item, tuple) else item for item in wanted]
    control.options = list(wanted)
    control.value = kept if kept in there else value if value in there else there[0] if there else None


def card(result: Any, clock: str = "") -> str:
    """A result as it renders itself, with its time."""
    shown: str = result._repr_html_()  # IPython's own word for it
    return shown + (as_of(clock) if clock else "")


def came_of(action: Action) -> str:
    """The result as it renders itself, or why there is none; with its time."""
    return card(action.result, action.time) if action.state == "done" else failed(action)


def failed(action: Action) -> str:
    return note(action.text, "bad" if action.state == "failed" else "warning") + as_of(action.time)


def log(lines: Sequence[str]) -> str:
    text = "\n".join(markup.text(item) for item in lines) or markup.text("it has not written anything yet")
    return f'<pre class="nbd-log" tabindex="0" role="log" aria-label="log">{text}</pre>'


def codes(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(markup.code(label, item) for label, item in pairs if item)
