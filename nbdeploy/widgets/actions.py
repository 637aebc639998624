"""What runs because somebody clicked: a thread each, one at a time per name, and each can be cancelled."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from nbdeploy.errors import GateRefused, NbdeployError
from nbdeploy.front.session import Entry, session
from nbdeploy.interruption import Interruption
from nbdeploy.render.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.front.code import Code
    from nbdeploy.render import Tone

    Work = Callable[[Progress], Any]
    Heard = Callable[["Action"], object]  # of each change of what is shown
    Then = Callable[["Action"], object]

Ended = Literal["done", "failed", "cancelled"]
State = Literal["running"] | Ended


@dataclass
class Action:
    """One click and what became of it; `text` is its progress, at the end what came of it."""

    name: str
    code: Code
    heard: Heard
    begun: str = ""  # "14:03:12"
    time: str = ""  # of its end
    state: State = "running"
    text: str = "working ..."
    tone: Tone = "neutral"
    result: Any = None
    error: BaseException | None = None
    interruption: Interruption = field(default_factory=Interruption)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def cancel(self) -> None:
        """As Ctrl-C: what is half done is undone, or made whole."""
        if not self.interruption.asked:
            self.show(f"{self.text} · cancelling", "warning")
            self.interruption.interrupt()

    def show(self, text: str, tone: Tone) -> None:
        """A surface of `Progress`; nothing where it has ended meanwhile."""
        with self._lock:
            if self.state != "running":
                return
            self.text, self.tone = text, tone
        self.heard(self)

    close = show

    def end(self, state: Ended, text: str, tone: Tone) -> None:
        with self._lock:
            self.state, self.time, self.text, self.tone = state, _clock(), text, tone
        refused = isinstance(self.error, GateRefused) and self.error.published
        session().add(Entry(self.begun, self.code, "refused" if refused else state))
        self.heard(self)


class Actions:
    """Those of one kernel; two panels in it share them."""

    def __init__(self) -> None:
        self._running: dict[str, Action] = {}
        self._lock = threading.Lock()

    def running(self, name: str) -> Action | None:
        return self._running.get(name)

    def start(self, name: str, code: Code, work: Work, heard: Heard, then: Then | None = None) -> Action | None:
        """None where something is under way for this name. `then` is called once, in the thread, when it has ended."""
        with self._lock:
            if name in self._running:
                return None
            action = Action(name, code, heard, begun=_clock())
            self._running[name] = action
        heard(action)
        threading.Thread(target=self._run, args=(action, work, then), name=f"nbdeploy {name}", daemon=True).start()
        return action

    def _run(self, action: Action, work: Work, then: Then | None) -> None:
        progress = Progress(action, listing="%deploy ps")

        def whole() -> Any:
            with progress:
                return work(progress)

        end: tuple[Ended, str, Tone]
        try:
            action.result = action.interruption.run(whole)
            end = "done", " · ".join(progress.done) or "done", "good"
        except KeyboardInterrupt:
            end = "cancelled", progress.interruption(), "warning"
        except BaseException as error:  # noqa: BLE001  # also what the user's own code raises, sys.exit() too; it is shown
            action.error = error
            end = "failed", told(error), "bad"
        with self._lock:
            del self._running[action.name]
        try:
            action.end(*end)
            if then is not None:
                then(action)
        finally:
            action.ended.set()


def told(error: BaseException) -> str:
    """In words; those of nbdeploy say the next step themselves."""
    return str(error) if isinstance(error, NbdeployError) else f"{type(error).__name__}: {error}"


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


_actions = Actions()


def actions() -> Actions:
    """This kernel's."""
    return _actions
