"""Whether the notebook still says what the model was made of.

With the hooks of `watch` each execution is known with the front end's cell id, where it sends one. Without them the
executed text is compared with the notebook as saved.
"""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.notebook import Cell, Notebook, notebook_path, parsed
from nbdeploy.capture.source import bound_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from nbdeploy.capture.code import CapturedModel, Definition

_watched: weakref.WeakKeyDictionary[Any, _Watch] = weakref.WeakKeyDictionary()


class _Watch:
    """Notes each execution as it ends; costs a tuple a cell."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []

    def note(self, result: Any) -> None:
        info = getattr(result, "info", None)
        if info is not None and getattr(result, "execution_count", None):
            given = getattr(info, "cell_id", None)
            self.cells.append(Cell(result.execution_count, info.raw_cell or "", given, bool(result.success)))


def watch(shell: Any) -> None:
    """Begin to note executions; a second call changes nothing."""
    if shell not in _watched:
        _watched[shell] = _Watch()
        shell.events.register("post_run_cell", _watched[shell].note)


def unwatch(shell: Any) -> None:
    noted = _watched.pop(shell, None)
    if noted is not None:
        shell.events.unregister("post_run_cell", noted.note)


def executed(shell: Any) -> tuple[Cell, ...]:
    """The session's executions in order, with ids and success where they were watched."""
    noted = {cell.number: cell for cell in _watched[shell].cells} if shell in _watched else {}
    return tuple(noted.get(cell.number, cell) for cell in Notebook(shell).cells())


def cells_of(what: str | Iterable[Definition], shell: Any) -> tuple[Cell, ...]:
    """The cells that made a variable, or in which these definitions stand, and those they build on."""
    from nbdeploy.capture.lineage import Executed, cells_behind

    notebook, cells = Notebook(shell), executed(shell)
    told = [Executed(cell.number, cell.text, notebook.python(cell.text)) for cell in cells]
    names = {what} if isinstance(what, str) else {definition.name for definition in what}
    labels = set() if isinstance(what, str) else {definition.cell for definition in what}
    behind = {cell.count for cell in cells_behind(names, told)}
    return tuple(cell for cell in cells if cell.number in behind or cell.label in labels)


def warnings(shell: Any, captured: CapturedModel, cells: Sequence[Cell] = ()) -> tuple[str, ...]:
    """Sentences: a cell that made the model was edited, deleted or run out of order since.

    `cells` are those to ask about besides the ones the captured definitions come from.
    """
    if shell is None:
        return ()
    runs = executed(shell)
    wanted = {cell.number for cell in cells} | _numbers(captured)
    path = notebook_path(shell)
    review = _Review(Notebook(shell), runs, _saved(path), path.name if path else "")
    found: dict[str, None] = {}
    for run in runs:
        if run.number in wanted:
            sentence = review.changed(run, captured.definitions)
            found |= {sentence: None} if sentence else {}
    for definition in captured.definitions:
        sentence = review.out_of_order(definition)
        found |= {sentence: None} if sentence else {}
    return tuple(found)


@dataclass(frozen=True)
class _Saved:
    """A code cell of the notebook's file."""

    position: int
    id: str | None
    text: str


@dataclass(frozen=True)
class _Review:
    notebook: Notebook
    runs: tuple[Cell, ...]
    saved: tuple[_Saved, ...]
    file: str

    def changed(self, run: Cell, definitions: Sequence[Definition]) -> str | None:
        named = ", ".join(definition.name for definition in definitions if definition.cell == run.label)
        cell = f"the cell of {run.label}{f' ({named})' if named else ''}"
        later = next((each for each in reversed(self.runs) if run.id and each.id == run.id), run)
        if later.number > run.number and later.text.strip() != run.text.strip():
            return f"{cell} was edited and run again as {later.label}; the model holds what {run.label} made"
        if not self._saved_since(run) or self._place(later) is not None:
            return None
        if run.id and any(each.id == run.id for each in self.saved):
            return f"{cell} was edited since and not run again ({self.file} as saved)"
        if run.id:
            return f"{cell} is no longer in {self.file} (as saved): running the notebook anew would not make this model"
        return f"{cell} is not in {self.file} as saved: it was edited or deleted since"

    def out_of_order(self, definition: Definition) -> str | None:
        """Only where the last binding from top to bottom is not the one executed last."""
        runs = [run for run in self.runs if self._binds(run.text, definition.name)]
        places = [each for each in self.saved if self._binds(each.text, definition.name)]
        if len(places) < 2 or not runs:
            return None
        here = self._place(runs[-1])
        if here is None or here.position == places[-1].position:
            return None
        return (
            f"{definition.name} is defined in several cells; the one run last, {runs[-1].label}, is not the last from top "
            f"to bottom in {self.file}, so running it anew would make another model"
        )

    def _place(self, run: Cell) -> _Saved | None:
        """The saved cell that says what was executed."""
        same = [each for each in self.saved if each.text.strip() == run.text.strip()]
        return next((each for each in same if each.id and each.id == run.id), same[-1] if same else None)

    def _saved_since(self, run: Cell) -> bool:
        """Whether the file was saved after `run`: something executed later is in it."""
        return any(each.number > run.number and self._place(each) is not None for each in self.runs)

    def _binds(self, typed: str, name: str) -> bool:
        return name in typed and any(name in bound_by(node) for node in parsed(self.notebook.python(typed)).statements)


def _numbers(captured: CapturedModel) -> set[int]:
    labels = [definition.cell for definition in captured.definitions]
    return {int(label[3:-1]) for label in labels if label.startswith("In[") and label[3:-1].isdigit()}


def _saved(path: Path | None) -> tuple[_Saved, ...]:
    """The code cells of the notebook's file; none where it cannot be read."""
    try:
        cells = json.loads(path.read_bytes())["cells"] if path is not None else []
        return tuple(
            _Saved(position, cell.get("id"), "".join(cell["source"]))
            for position, cell in enumerate(cells)
            if cell["cell_type"] == "code"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
