"""The panel for those without a front end: papermill, nbconvert, GitHub, a notebook opened again.

An output of its own. Where the view is alive, a style in it hides this one: there are never two of them to be seen.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbdeploy.front.session import session
from nbdeploy.render import Card, markup, plain
from nbdeploy.widgets.coding import OUTCOMES

if TYPE_CHECKING:
    from nbdeploy.widgets.desk import Desk

SHOWN = 20  # clicks, the latest
_numbers = itertools.count(1)


class Twin:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.mark = f"nbd-twin-{next(_numbers)}"
        self._handle: Any = None

    @property
    def hidden(self) -> str:
        """For the view: JupyterLab and Notebook have .lm-Widget around their outputs, VS Code says its theme on the body."""
        return f".lm-Widget .{self.mark}, body[data-vscode-theme-kind] .{self.mark} {{ display: none; }}"

    def card(self) -> Card:
        """The lines that were clicked are whole, to be copied; a table would cut them."""
        card = self.desk.overview.card()
        clicked = [
            (f"clicked {entry.time} {OUTCOMES[entry.outcome]}", entry.code.line) for entry in session().entries[-SHOWN:]
        ]
        return replace(card, code=[*card.code, *clicked])

    def forms(self) -> dict[str, str]:
        card = self.card()
        return {"text/html": f'<div class="{self.mark}">{markup.card(card)}</div>', "text/plain": plain.card(card)}

    def display(self) -> None:
        from IPython.display import display

        self._handle = display(self.forms(), raw=True, display_id=True)

    def draw(self) -> None:
        if self._handle is not None:
            self._handle.update(self.forms(), raw=True)
