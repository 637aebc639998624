"""The panel without its widgets: what is shown, and what a click does."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbdeploy.errors import NotFound
from nbdeploy.front import commands, expressions, verbs
from nbdeploy.front.code import Code, code
from nbdeploy.widgets.actions import Actions, actions, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbdeploy.front.call import Call
    from nbdeploy.overview import Overview
    from nbdeploy.render.progress import Progress
    from nbdeploy.widgets.actions import Action, Then, Work
    from nbdeploy.workspace import Workspace

MOST = 4  # panels that are kept up to date; the time on an older one says how old it is
_desks: deque[Desk] = deque(maxlen=MOST)
# What only looks: it may run beside anything else.
LOOKS = {"bundle", "ps", "logs", "attach", "versions", "show", "diff", "at", "validate", "token"} | {
    "monitor",
    "alerts",
    "drift",
    "predictions",
}


@dataclass(eq=False)
class Desk:
    """`overview` is what is shown; it is replaced, never changed. `changed` draws it, `said` draws an action.

    Both may be called from any thread.
    """

    workspace: Workspace
    namespace: Callable[[], Mapping[str, Any]]
    overview: Overview
    changed: Callable[[], object] = lambda: None
    said: Callable[[Action | None, str], object] = lambda _action, _refused: None
    actions: Actions = field(default_factory=actions)
    shown_action: Action | None = None
    wanted: str | None = None  # the name to be shown
    _reading: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        _desks.append(self)

    @property
    def name(self) -> str:
        return self.overview.name or ""

    @property
    def kept(self) -> bool:
        """Whether it is one of the latest, which are kept up to date."""
        return self in _desks

    def show_next(self, name: str) -> None:
        """From the next reading on."""
        self.wanted = name

    def read(self) -> None:
        """Look again: everything shown comes from the registry and from the services themselves."""
        with self._reading:
            try:
                self.overview = self.workspace.panel(self.wanted or self.overview.name)
            except NotFound:  # it was removed elsewhere
                self.wanted = None
                self.overview = self.workspace.panel()
        self.changed()

    def do(self, words: Sequence[str], then: Then | None = None) -> Action | None:
        """What `%deploy WORDS` does, in a thread; `then` is called there at its end, before everything is read again.

        None where nothing was begun; `said` then tells why.
        """
        namespace = self.namespace()
        try:
            call = commands.parse(list(words), "%deploy")
            if call is None:
                return None
            written, asked = code(call, namespace), expressions.resolve(call, dict(namespace))
        except Exception as error:  # noqa: BLE001  # an expression of the user's own may raise anything
            self.said(None, told(error))
            return None

        def work(progress: Progress) -> Any:
            result = verbs.perform(asked, self.workspace, progress)
            if getattr(result, "verdict", "") == "refused":  # as the magic does
                raise verbs.refusal(result)
            return result

        return self.start(_name(call, asked), written, work, then)

    def start(self, name: str, written: Code, work: Work, then: Then | None = None) -> Action | None:
        def ended(action: Action) -> None:
            if then is not None:
                self.attempt(lambda: then(action))
            everybody_reads()

        action = self.actions.start(name, written, work, lambda action: self.said(action, ""), ended)
        if action is None:
            self.said(None, f"{name or 'Something'} is being changed already; wait for it, or cancel it.")
            return None
        return action

    def do_here(self, words: Sequence[str], then: Then) -> Action | None:
        """As `do`; `then` is left out where another name is shown when it has ended."""
        return self.do(words, self.here(then))

    def here(self, then: Then) -> Then:
        """`then`, unless another name is shown when it is called: what came of one is no answer about another."""
        name = self.name
        return lambda action: then(action) if self.name == name else None

    def attempt(self, work: Callable[[], object]) -> None:
        """In a thread nobody would see what is raised: it is said, and the next look may be well."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  # as said above
            self.said(None, told(error))


def cell_has_run(typed: str) -> None:
    """There may be other variables; and where a service may have changed, the panels look again, aside."""
    if not _desks:
        return
    if "deploy" in typed or "service" in typed:
        threading.Thread(target=everybody_reads, name="nbdeploy panel", daemon=True).start()
        return
    for desk in list(_desks):
        desk.attempt(desk.changed)


def everybody_reads() -> None:
    """Two panels agree."""
    for desk in list(_desks):
        desk.attempt(desk.read)


def _name(call: Call, asked: Call) -> str:
    """What one thing at a time is done to: a name, or a look at it."""
    given = asked.values.get("name") or call.values.get("what") or ""
    name = str(given).partition(":")[0].partition("@")[0]
    return f"{name} {call.verb}" if call.verb in LOOKS else name
