"""The tab Code: what was clicked, as the lines that do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.errors import WrongUse
from nbdeploy.front.session import session
from nbdeploy.render import markup
from nbdeploy.widgets import parts

if TYPE_CHECKING:
    from nbdeploy.front.session import Entry
    from nbdeploy.widgets.desk import Desk

NEXT = "%deploy panel --code"
OUTCOMES = {"done": "✓ done", "failed": "✗ failed", "cancelled": "! cancelled", "refused": "✗ refused"}
SHOWN = 20  # of the latest


class CodeTab:
    title = "Code"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.cell = parts.area("As a cell", rows=8, tip="The lines that do the same, to be copied")
        self.cell.layout.width = "calc(100% - 4px)"
        self.shown = parts.html()
        self.box = parts.column(self.cell, self.shown)

    def draw(self) -> None:
        entries = session().entries
        try:
            self.cell.value = str(session().cell())
        except WrongUse:
            self.cell.value = ""
        parts.show(self.cell, shown=bool(self.cell.value))
        told = f"{NEXT} puts these lines into the next cell; what failed or was cancelled is left out. A check that was refused is there in Python, which goes on."
        if len(entries) > SHOWN:
            told += f" Below, the latest {SHOWN} of {len(entries)}."
        empty = "Nothing was clicked yet: each click is shown here as the line that does the same."
        self.shown.value = parts.note(told if entries else empty) + "".join(map(_entry, entries[: -SHOWN - 1 : -1]))


def _entry(entry: Entry) -> str:
    head = f'<div class="nbd-heading">{markup.text(f"{entry.time} {OUTCOMES[entry.outcome]}")}</div>'
    return head + parts.codes((("in a notebook", entry.code.magic), ("in Python", entry.code.python)))
