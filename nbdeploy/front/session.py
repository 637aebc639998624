"""What was clicked in this kernel, as the lines that do the same."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.errors import WrongUse

if TYPE_CHECKING:
    from nbdeploy.front.code import Code

Outcome = Literal["done", "failed", "cancelled", "refused"]
LOAD = "%load_ext nbdeploy"


@dataclass(frozen=True, slots=True)
class Entry:
    """One click: when ("14:03:12"), what it ran, and what came of it."""

    time: str
    code: Code
    outcome: Outcome


@dataclass(frozen=True)
class Cell:
    """Lines for the next cell."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.text}


@dataclass
class Session:
    _entries: list[Entry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def cell(self) -> Cell:
        """What was done, in order; what failed or was cancelled is left out.

        What was refused is marked on its version: it is there in Python, whose line goes on where the magic's stops.

        Raises:
            WrongUse: nothing was done yet.
        """
        kept = {"done": lambda code: code.line, "refused": lambda code: code.python}
        lines = [kept[entry.outcome](entry.code) for entry in self.entries if entry.outcome in kept]
        if not lines:
            raise WrongUse("Nothing was clicked in this kernel yet; `%deploy panel` opens the panel.")
        imports = [] if all(line.startswith("%") for line in lines) else ["import nbdeploy"]
        return Cell("\n".join([LOAD, *imports, *lines]))


_session = Session()


def session() -> Session:
    """This kernel's."""
    return _session
