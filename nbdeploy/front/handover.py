"""`up train.ipynb:clf`: the command's call, carried out at the end of the notebook in a fresh kernel.

Request and answer are JSON files in a folder of the command's own; the cell that is added to the notebook is constant.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy import default, errors, execution
from nbdeploy.errors import NbdeployError, NotebookFailed, WrongUse
from nbdeploy.front import verbs
from nbdeploy.front.call import Call
from nbdeploy.front.expressions import resolve
from nbdeploy.front.grammar import VERBS
from nbdeploy.render import plain
from nbdeploy.render.progress import Progress, Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbdeploy.workspace import Workspace

FOLDER = "NBDEPLOY_HANDOVER"  # an environment variable
CELL = '__import__("nbdeploy.front.handover", fromlist=["answer"]).answer(globals())'
REQUEST, ANSWER = "request.json", "answer.json"


@dataclass(frozen=True)
class Answer:
    """A result of the notebook's kernel: its text, and its JSON."""

    text: str
    value: Any

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> Any:
        return self.value


def through_notebook(call: Call, keep: Path) -> Answer:
    """Run the notebook, then `call` in its kernel.

    Raises:
        NotebookFailed: when the notebook itself stops.
        NbdeployError: what the call raised there.
    """
    notebook, values = _named(call)
    with tempfile.TemporaryDirectory(prefix="nbdeploy-") as name:
        folder = Path(name)
        (folder / REQUEST).write_text(json.dumps({"verb": call.verb, "values": values}, default=str), encoding="utf-8")
        # JPY_SESSION_NAME is where Jupyter itself tells a kernel its notebook.
        environment = {FOLDER: name, "JPY_SESSION_NAME": str(notebook.absolute())}
        try:
            execution.run(notebook, cells=[CELL], environment=environment, keep=keep)
        except NotebookFailed:
            _raise_answered(folder)
            raise
        answered = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    return Answer(answered["text"], answered["value"])


def answer(namespace: dict[str, Any], workspace: Callable[[], Workspace] | None = None) -> None:
    """In the kernel: carry out the request and write the answer, or the error before it is raised."""
    folder = Path(os.environ.pop(FOLDER))
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    try:
        with Progress(Written(sys.stderr), listing="nbdeploy ps") as progress:
            call = resolve(Call(request["verb"], _values(request)), namespace)
            result = verbs.perform(call, (workspace or default.workspace)(), progress)
        answered = {"text": _text(result), "value": json.loads(verbs.dumps(result))}
    except NbdeployError as error:
        _write(folder, {"error": type(error).__name__, "state": error.__dict__})
        raise
    _write(folder, answered)


def _named(call: Call) -> tuple[Path, dict[str, Any]]:
    path, separator, expression = call.values["model"].rpartition(".ipynb:")
    if not separator or not expression:
        raise WrongUse(f'"{call.values["model"]}" names no variable: write NOTEBOOK.ipynb:VARIABLE.')
    files = {item.name for item in VERBS[call.verb].of_kind("file")}
    values = {name: str(Path(value).absolute()) if name in files else value for name, value in call.values.items()}
    if "gate" in values:  # a file of conditions lies beside the command, not beside the notebook
        values["gate"] = tuple(str(Path(item).absolute()) if Path(item).is_file() else item for item in values["gate"])
    return Path(f"{path}.ipynb"), {**values, "model": expression}


def _values(request: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in request["values"].items()}


def _write(folder: Path, answered: dict[str, Any]) -> None:
    (folder / ANSWER).write_text(json.dumps(answered, default=_plain), encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else str(value)


def _raise_answered(folder: Path) -> None:
    """The error of the call, as it was, where there is one."""
    if not (folder / ANSWER).exists():
        return
    answered = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    if "error" in answered:
        kind: type[NbdeployError] = getattr(errors, answered["error"])
        raise errors.rebuild(kind, answered["state"]) from None


def _text(result: Any) -> str:
    return plain.card(result.card()) if hasattr(result, "card") else str(result)
