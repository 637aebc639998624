"""The session this code runs in: its namespace and its cells as executed.

Works without IPython too; then the namespace is that of `__main__` and its text is a file.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import os
import sys
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Names IPython gives every cell; in a service they do not exist.
NOTEBOOK_ONLY = frozenset({"display", "get_ipython", "In", "Out", "exit", "quit", "_ih", "_oh", "_dh"})


_python: dict[tuple[int, str], str] = {}  # a shell's cell as Python; transforming one takes a millisecond


@dataclass(frozen=True)
class Cell:
    """One execution. `text` is as typed; `number` the 3 of In[3]; `id` the front end's, where it sends one."""

    number: int
    text: str
    id: str | None = None
    success: bool | None = None

    @property
    def label(self) -> str:
        return f"In[{self.number}]"


@dataclass(frozen=True)
class Place:
    """Where a text was executed: a cell (`number`) or a file."""

    label: str
    number: int | None = None


class Text:
    """Python source executed as a whole, parsed once. `tree` is None where it is not Python."""

    def __init__(self, source: str) -> None:
        self.source = source

    @cached_property
    def tree(self) -> ast.Module | None:
        try:
            return ast.parse(self.source)
        except (SyntaxError, ValueError):
            return None

    @cached_property
    def statements(self) -> list[ast.stmt]:
        return self.tree.body if self.tree else []

    @cached_property
    def encoded(self) -> list[bytes]:
        return [line.encode() for line in self.source.splitlines(keepends=True)]


@lru_cache(maxsize=1024)
def parsed(source: str) -> Text:
    return Text(source)


def current_shell() -> Any:
    """IPython's shell when running in one, else None."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    return get_ipython()  # type: ignore[no-untyped-call, unused-ignore]


class Notebook:
    def __init__(self, shell: Any = None) -> None:
        self.shell = shell if shell is not None else current_shell()

    @cached_property
    def namespace(self) -> dict[str, Any]:
        scope: dict[str, Any] = self.shell.user_ns if self.shell is not None else vars(sys.modules["__main__"])
        return scope

    def is_own(self, scope: Mapping[str, Any]) -> bool:
        """Whether `scope` is the notebook's namespace, or that of a script it ran."""
        return scope is self.namespace or scope.get("__name__", "__main__") == "__main__"  # %run takes the name away

    def is_notebooks_only(self, name: str, value: Any) -> bool:
        """Whether IPython put this name there, not the user."""
        if self.shell is None or name not in self.namespace:
            return self.shell is not None and name in NOTEBOOK_ONLY
        hidden = self.shell.user_ns_hidden
        return name in hidden and hidden[name] is value and not name.startswith("__")

    def exists_only_here(self, name: str) -> bool:
        """Whether a name nobody defined works all the same, because this is IPython."""
        return name in NOTEBOOK_ONLY and (hasattr(builtins, name) or name in self.namespace)

    def cells(self) -> tuple[Cell, ...]:
        """What this session executed, in order; empty outside IPython."""
        return tuple(Cell(number, text) for number, text in enumerate(self._typed()) if text)

    def python(self, typed: str) -> str:
        """The cell as Python: magics transformed, `%%time` and its like taken off."""
        key = (id(self.shell), typed)
        if key not in _python:
            if len(_python) > 4096:
                _python.clear()
            body = typed
            while body.lstrip().startswith("%%"):
                body = body.lstrip().partition("\n")[2]
            _python[key] = self._transformed(body)
        return _python[key]

    def texts(self, filename: str, word: str) -> Iterator[tuple[Text, Place]]:
        """Every text that may define `word`: what `filename` says first, then the history, newest first."""
        source = "".join(linecache.getlines(filename))
        if source:
            yield parsed(source), self._place(filename, source)
        for cell in reversed(self.cells()):
            if word in cell.text:
                yield parsed(self.python(cell.text)), Place(cell.label, cell.number)
        for number, typed in self._forgotten(word):
            yield parsed(self.python(typed)), Place(f"In[{number}]", number)

    def sources(self, word: str) -> Iterator[Text]:
        """The texts executed that contain `word`, newest first."""
        for cell in reversed(self.cells()):
            if word in cell.text:
                yield parsed(self.python(cell.text))
        script = self.namespace.get("__file__")
        if self.shell is None and isinstance(script, str):
            yield parsed("".join(linecache.getlines(script)))

    def _typed(self) -> list[str]:
        history = getattr(self.shell, "history_manager", None)
        return list(history.input_hist_raw) if history is not None else []

    def _transformed(self, body: str) -> str:
        try:
            return str(self.shell.transform_cell(body))
        except (SyntaxError, AttributeError):
            return body

    def _place(self, filename: str, source: str) -> Place:
        """The cell of a file name; IPython remembers the last run of a text, and forgets which under some settings."""
        if self.shell is None or os.path.isfile(filename):  # noqa: PTH113 - cell names are no paths
            return Place(Path(filename).name)
        number = getattr(self.shell.compile, "_filename_map", {}).get(filename)
        typed = self._typed()
        if number is not None and number < len(typed) and self._same(typed[number], source):
            return Place(f"In[{number}]", number)
        for cell in reversed(self.cells()):
            if self._same(cell.text, source):
                return Place(cell.label, cell.number)
        return Place("a cell run without history")

    def _same(self, typed: str, source: str) -> bool:
        return typed.strip() == source.strip() or self.python(typed).strip() == source.strip()

    def _forgotten(self, word: str) -> Iterator[tuple[int, str]]:
        """Cells `%reset in` took from memory; the history's database still has them."""
        history = getattr(self.shell, "history_manager", None)
        if history is None or not getattr(history, "enabled", False):
            return
        try:
            history.writeout_cache()
            rows = list(history.search(f"*{word}*", raw=True))
        except Exception:  # noqa: BLE001 - any failure of the history database only means less is found
            return
        for session, number, typed in reversed(rows):
            if session == history.session_number:
                yield number, typed


def notebook_path(shell: Any = None) -> Path | None:
    """The notebook's own file, where the front end tells it; never fails."""
    shell = shell if shell is not None else current_shell()
    scope = getattr(shell, "user_ns", {})
    told = (scope.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME"), scope.get("PAPERMILL_INPUT_PATH"))
    for given in told:
        if isinstance(given, str) and given.endswith(".ipynb") and "\0" not in given:
            path = Path(given)
            # Jupyter's name may be relative to its server's root; the kernel runs in the notebook's folder.
            return path.absolute() if path.is_absolute() or path.exists() else Path.cwd() / path.name
    return None
