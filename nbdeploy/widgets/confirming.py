"""What is about to change, said before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdeploy.widgets import parts

if TYPE_CHECKING:
    from collections.abc import Callable


class Confirm:
    def __init__(self) -> None:
        self.text = parts.html()
        self.yes = parts.button("Yes", "check", "Do it", self._agreed, style="warning", double=0.0)
        self.no = parts.button("No", "times", "Change nothing", self.close)
        self.box = parts.column(self.text, parts.row(self.yes, self.no))
        self.box.add_class("nbd-ask")
        self._then: Callable[[], object] | None = None
        self.close()

    def open(self, told: str, more: str, yes: str, no: str, then: Callable[[], object]) -> None:
        self.text.value = parts.note(told, "warning") + more
        parts.rename(self.yes, yes)
        parts.rename(self.no, no)
        self._then = then
        parts.show(self.box, shown=True)

    def close(self) -> None:
        self._then = None
        parts.show(self.box, shown=False)

    def _agreed(self) -> None:
        """Once: a second click finds nothing to agree to."""
        then = self._then
        self.close()
        if then is not None:
            then()
