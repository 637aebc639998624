"""The steps of a verb while they run, and one line of them when they are done.

"bundled 0.2 s · checked 1.4 s · published · serving". In a notebook it is one output that changes in place, so that a
saved notebook holds the last state; in a terminal one line that is overwritten; elsewhere a line for each step.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from nbdeploy.render import markup, plain

if TYPE_CHECKING:
    from types import TracebackType

    from nbdeploy.render.card import Tone

PHASES = {
    "bundle": ("bundling", "bundled"),
    "check": ("checking", "checked"),
    "gate": ("judging", "judged"),
    "publish": ("publishing", "published"),
    "serve": ("handing over", "serving"),
    "replay": ("replaying", "replayed"),
    "watch": ("reading the log", "read the log"),
    "reproduce": ("running the notebook again", "ran the notebook again"),
}
_CHANGING = {"publish", "serve"}  # from here on, Ctrl-C may find the change made
_WORTH_TELLING = 0.05  # seconds


class Conclusion(str):
    """A sentence that stays, also in the last line: what came of it where that is no phase."""

    __slots__ = ()


class Surface(Protocol):
    def show(self, text: str, tone: Tone) -> None:
        """The state now, to be replaced by the next."""

    def close(self, text: str, tone: Tone) -> None:
        """The last state."""


class Progress:
    """Called with a phase of PHASES, a sentence about the one under way, or a Conclusion; leave the `with` to end it."""

    def __init__(self, surface: Surface, *, listing: str = "ps") -> None:
        self.surface = surface
        self.listing = listing  # how to ask what is live, here
        self.done: list[str] = []
        self.phase: str | None = None
        self.changing = False
        self.began = 0.0

    def __call__(self, said: str) -> None:
        if isinstance(said, Conclusion):
            self._finish()
            self.done.append(said)
            self.surface.show(self._text(), "neutral")
            return
        if said not in PHASES:
            self.surface.show(self._text(f"{self._now()}: {said}" if self.phase else said), "neutral")
            return
        self._finish()
        self.phase, self.began = said, time.monotonic()
        self.changing = self.changing or said in _CHANGING
        self.surface.show(self._text(f"{self._now()} ..."), "neutral")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del error, trace
        if kind is None:
            self._finish()
            if self.done:
                self.surface.close(self._text(), "good")
        elif issubclass(kind, KeyboardInterrupt):
            self.surface.close(self._text(self.interruption()), "warning")
        elif self.phase:
            self.surface.close(self._text(f"{self._now()} failed"), "bad")

    def interruption(self) -> str:
        if self.changing:
            return f"interrupted while {self._now()}: `{self.listing}` shows what is live"
        return "interrupted: nothing was changed"

    def _finish(self) -> None:
        if self.phase is None:
            return
        took = time.monotonic() - self.began
        self.done.append(PHASES[self.phase][1] + (f" {took:.1f} s" if took >= _WORTH_TELLING else ""))
        self.phase = None

    def _now(self) -> str:
        return PHASES[self.phase][0] if self.phase else "working"

    def _text(self, *more: str) -> str:
        return " · ".join([*self.done, *more])


class Silent:
    def show(self, text: str, tone: Tone) -> None: ...

    def close(self, text: str, tone: Tone) -> None: ...


class Output:
    """One output of a notebook cell, changed in place."""

    def __init__(self) -> None:
        self.handle: Any = None

    def show(self, text: str, tone: Tone) -> None:
        from IPython.display import display

        data = {"text/html": markup.line(text, tone), "text/plain": f"{plain.ICONS[tone]} {plain.text(text)}"}
        if self.handle is None:
            self.handle = display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)

    close = show


class Overwritten:
    """One line of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def show(self, text: str, tone: Tone, *, end: str = "") -> None:
        room = shutil.get_terminal_size().columns - 4
        shown = plain.text(text)
        shown = shown if len(shown) <= room else shown[: room - 1] + "…"
        _print(f"\r\x1b[2K{plain.ICONS[tone]} {shown}{end}", self.stream)

    def close(self, text: str, tone: Tone) -> None:
        self.show(text, tone, end="\n")


class Written:
    """A line for each step, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def show(self, text: str, tone: Tone) -> None:
        del tone
        _print(f"{plain.text(text.rpartition(' · ')[2])}\n", self.stream)

    def close(self, text: str, tone: Tone) -> None:
        _print(f"{plain.ICONS[tone]} {plain.text(text)}\n", self.stream)


def _print(text: str, stream: TextIO) -> None:
    """Where nobody can read it, as after `2>&1 | head -1`, the verb goes on all the same."""
    with suppress(OSError):
        print(text, end="", file=stream, flush=True)


def surface(stream: TextIO | None = None, *, notebook: bool = False) -> Surface:
    """What suits the place: `stream` is stderr where nothing else is said."""
    if notebook:
        return Output()
    stream = stream or sys.stderr
    return Overwritten(stream) if stream.isatty() else Written(stream)
