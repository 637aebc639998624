"""A workspace that does nothing and remembers what it was asked, and a shell, for the front ends' tests."""

from __future__ import annotations

import atexit
import inspect
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nbdeploy.render import Card, Shown
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Noun(Shown):
    """Any result: a card, and the JSON it was made with."""

    value: Any
    version: str = "1.0.0"

    def card(self) -> Card:
        return Card("penguins 1.0.0", "good", "ready", facts=(("url", "http://127.0.0.1:8123"),))

    def to_dict(self) -> Any:
        return self.value


@dataclass
class Recorder:
    """Answers every verb of the real Workspace, after checking the call against the real signature."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    phases: tuple[str, ...] = ()  # told by verbs that take `progress`
    home: Path = Path("unused")

    @property
    def settings(self) -> Settings:
        return Settings(self.home, self.home)

    def noticed(self) -> None:
        """No alert waits for the notebook."""

    def names(self) -> list[str]:
        return ["churn", "penguins"]

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        real = inspect.signature(getattr(Workspace, verb))

        def call(*args: Any, **kwargs: Any) -> Any:
            real.bind(self, *args, **kwargs)
            progress = kwargs.pop("progress", None)
            self.calls.append((verb, args, kwargs))
            for phase in self.phases if progress else ():
                progress(phase)
            answer = self.answers.get(verb, Noun({"verb": verb}))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    def __call__(self) -> Workspace:
        return cast("Workspace", self)

    @property
    def last(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        (call,) = self.calls
        return call


@contextmanager
def a_shell(folder: Path) -> Iterator[InteractiveShell]:
    """IPython in this process: not the one `get_ipython()` gives to everybody, and without a history on disk."""
    shell = InteractiveShell(ipython_dir=str(folder), config=Config({"HistoryManager": {"enabled": False}}))
    try:
        yield shell
    finally:
        shell.restore_sys_module_state()
        atexit.unregister(shell.atexit_operations)
