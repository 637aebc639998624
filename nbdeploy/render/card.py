"""What every result looks like: a title, facts, tables and notes, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.render import markup, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

Tone = Literal["good", "warning", "bad", "neutral"]


@dataclass(frozen=True)
class Table:
    """`rows` hold cells in the order of `headers`; any value, shown as `str`, None as "-"."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]
    empty: str = "nothing here yet"  # said instead of an empty table: what to do


@dataclass(frozen=True)
class Card:
    title: str
    tone: Tone = "neutral"
    status: str = ""  # a word beside the title: "ready", "live"
    facts: Sequence[tuple[str, Any]] = ()  # label and value
    tables: Sequence[Table] = ()
    code: Sequence[tuple[str, str]] = ()  # label and a line to copy
    notes: Sequence[tuple[Tone, str]] = ()  # warnings and next steps


class Shown:
    """Mixin of every result: subclasses say `card()`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """IPython asks the class itself first, where a dataclass has its own `__repr__`."""
        super().__init_subclass__(**kwargs)
        cls._repr_pretty_ = Shown._repr_pretty_  # type: ignore[method-assign]

    def card(self) -> Card:
        raise NotImplementedError

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, *, colour: bool = False) -> str:
        """`colour` only where a terminal is known to read."""
        return plain.card(self.card(), colour=colour)

    def _repr_html_(self) -> str:
        return markup.card(self.card())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("..." if cycle else str(self))
