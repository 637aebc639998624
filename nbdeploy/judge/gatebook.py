"""A gate notebook: what its parameters cell declares, and one run of it."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbdeploy import execution
from nbdeploy.errors import WrongUse, an, did_you_mean
from nbdeploy.execution import DONE
from nbdeploy.homes import private
from nbdeploy.judge import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nbdeploy.judge.records import Records
    from nbdeploy.settings import Settings

TAG = "parameters"
LIST = ".said"  # beside the executed notebook while it runs
NAMED = 5  # of what was lost, in a reason
OUT = "out"  # the parameter that names a folder kept with the report
_MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """`default` is None where it is no literal: then what is given stays as it is."""

    name: str
    default: Any = None

    def typed(self, value: Any) -> Any:
        """`value` as the type of the default, if it is a text.

        Raises:
            ValueError: it cannot be.
        """
        if not isinstance(value, str) or self.default is None or isinstance(self.default, str):
            return value
        if isinstance(self.default, bool):
            if value.strip().lower() not in _TRUTHS:
                raise ValueError("say true or false")
            return _TRUTHS[value.strip().lower()]
        if isinstance(self.default, int):
            return _number(value)
        if isinstance(self.default, float):
            return float(value)
        return _literal(value, type(self.default))


@dataclass(frozen=True)
class Gatebook:
    """`digest` is of the file's bytes, "sha256:..."; `node` as nbformat reads it."""

    path: Path
    digest: str
    parameters: tuple[Parameter, ...]
    node: Any

    @property
    def declared(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def given(self, ours: Mapping[str, Any], users: Mapping[str, Any]) -> dict[str, Any]:
        """What the notebook is run with: those of `ours` it declares, and the user's, each as the type of its default.

        Raises:
            WrongUse: one of the user's is not declared, or is not of its default's type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        given = {name: value for name, value in ours.items() if name in known}
        for name, value in users.items():
            if name not in known:
                raise WrongUse(self._unknown(name))
            given[name] = _given(known[name], value)
        return given

    def _unknown(self, name: str) -> str:
        if not self.parameters:
            return (
                f'{self.path} declares no parameters, so it cannot be given "{name}": give the cell that assigns its '
                f'default the tag "{TAG}".'
            )
        return f'{self.path} declares no parameter "{name}".{did_you_mean(name, self.declared)} Declared: {", ".join(self.declared)}.'


@dataclass(frozen=True)
class Executed:
    """`ended` is "done", or how it ended instead, in words."""

    notebook: Path
    records: Records
    ended: str
    seconds: float


def read(path: Path) -> Gatebook:
    """Raises NotFound, and WrongUse where the file is no notebook or not of Python."""
    node = execution.read(path)
    _python(node, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Gatebook(path.absolute(), f"sha256:{digest}", tuple(_parameters(node, path)), node)


def run(
    book: Gatebook,
    parameters: Mapping[str, Any],
    *,
    folder: Path,
    settings: Settings,
    progress: Callable[[str], None],
) -> Executed:
    """Run it to its end, whatever that is, and keep `executed.ipynb` in `folder`, and `out/` if it declares `out`.

    `parameters` are those of `book.given`.
    """
    if OUT in book.declared:
        parameters = {OUT: str(private(folder / OUT)), **parameters}
    ended = execution.execute(
        book.node,
        folder,
        parameters=parameters,
        limits=execution.Limits(settings.gate_timeout),
        progress=lambda said: progress(f"gate {said}"),
        path=[book.path.parent],
        environment={
            "JPY_SESSION_NAME": str(book.path),  # where Jupyter itself tells a kernel its notebook
            records.SAID: str((folder / LIST).absolute()),
        },
    )
    notebook = folder / execution.FILE
    said, problem = _said(notebook, folder / LIST)
    reason = problem if problem and ended.reason == DONE else ended.reason
    return Executed(notebook, said, reason, ended.seconds)


def _said(notebook: Path, listed: Path) -> tuple[Records, str]:
    """What it recorded, and what is wrong with that."""
    try:
        found = records.read(execution.read(notebook))
        lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        missing = records.lost(found, lines)
    except ValueError as exc:
        return records.Records({}, ()), f"recorded what cannot be read: {exc}"
    finally:
        listed.unlink(missing_ok=True)
    if not missing:
        return found, ""
    names = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    return found, (
        f"lost from its outputs what it said of {names}: call record and expect in the kernel itself, outside %%capture and "
        "output widgets, and not before clear_output in the same cell"
    )


def _given(parameter: Parameter, value: Any) -> Any:
    try:
        typed = parameter.typed(value)
        json.dumps(typed)
    except ValueError as exc:
        default = parameter.default
        raise WrongUse(
            f"-p {parameter.name} {value!r} is not {an(type(default).__name__)} like its default {default!r}: {exc}."
        ) from exc
    except TypeError as exc:
        raise WrongUse(
            f"The parameter {parameter.name} was given {an(type(value).__name__)}: give a text, a number, True or False, "
            "None, or a list or dict of them."
        ) from exc
    return typed


def _python(node: Any, path: Path) -> None:
    about = node.metadata
    language = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language") or "python"
    if str(language).lower() not in {"python", "ipython"}:
        raise WrongUse(f"{path} is a notebook of {language}: a gate notebook is run by Python.")


def _parameters(node: Any, path: Path) -> Iterator[Parameter]:
    """Names and defaults of the cell papermill takes, too: the first with the tag."""
    cell = next((cell for cell in node.cells if TAG in cell.metadata.get("tags", ())), None)
    if cell is None:
        return
    try:
        tree = ast.parse(_MAGIC.sub("", cell.source))
    except SyntaxError as exc:
        raise WrongUse(f'The cell with the tag "{TAG}" of {path} is no plain Python: {exc}.') from exc
    found: dict[str, Parameter] = {}
    for statement in tree.body:
        for name, value in _assigned(statement):
            found[name] = Parameter(name, _default(value))
    yield from found.values()


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id, statement.value
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value


def _default(value: ast.expr | None) -> Any:
    try:
        return None if value is None else ast.literal_eval(value)
    except ValueError:  # an expression
        return None


def _number(text: str) -> int | float:
    """A whole number where the default is one; 0.5 for a default of 1 is what its user means."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _literal(text: str, kind: type) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as exc:
        raise ValueError("write it as Python does") from exc
    if not isinstance(value, kind):
        raise ValueError("write it as Python does")  # noqa: TRY004  # a text that says something else
    return value
