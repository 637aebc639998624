"""Where a bundle comes from: notebook, cells, commit, data, seeds, who and when. What cannot be told is null, with the reason."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdeploy.capture.columns import column_values
from nbdeploy.capture.fingerprint import fingerprint
from nbdeploy.capture.lineage import Executed, cells_behind, seeds_in
from nbdeploy.capture.metrics import parameters_of
from nbdeploy.capture.repository import NoRepository, repository, without_secrets
from nbdeploy.runtime.clock import now
from nbdeploy.wording import wording

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbdeploy.capture.code import CapturedModel

MOST_CELLS, MOST_SOURCE = 200, 20_000  # cells, and characters of one
_TEXT = r"""[rbfu]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_SECRET = re.compile(
    r"(\b\w*(?:password|passwd|secret|token|api_?key|access_?key|credential|authorization)\w*[\"']?\s*\]?\s*[=:]\s*)"
    + _TEXT,
    re.IGNORECASE | re.DOTALL,
)
# As AWS, OpenAI and others, GitHub, GitLab, Slack and Hugging Face write their keys.
_KEY = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|sk-[\w-]{20,}|gh[pousr]_\w{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|hf_\w{20,})"
)


class _Untold(Exception):
    """A part nobody can tell; the reason is its text."""


def provenance(
    shell: Any, captured: CapturedModel | None, sample: Any, target: Any = None, model: Any = None
) -> dict[str, Any]:
    """JSON, without secrets: passwords are taken out of URLs, and text assigned to names like `api_key` out of cells."""
    reasons: dict[str, str] = {}

    def told(part: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (_Untold, NoRepository) as exc:
            reasons[part] = str(exc)
            return None
        except Exception as exc:  # noqa: BLE001 - no part of the story may stop a deploy; the reason is kept
            reasons[part] = without_secrets(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__)[:200]
            return None

    path = told("notebook", lambda: _notebook(shell))
    cells = told("cells", lambda: _executed(shell)) or []
    return {
        "notebook": None if path is None else str(path),
        "notebook_code": told("notebook_code", lambda: None if path is None else code_of(path)),
        "call": told("call", _call),
        "cells": told("cells", lambda: _told_cells(shell, captured, model, cells)),
        "git": told("git", lambda: repository(path.parent if path else Path.cwd())),
        "data": told("data", lambda: fingerprint(sample)),
        "target": told("target", lambda: _target(sample, target)),
        "seeds": told("seeds", lambda: _seeds(model, cells)),
        "user": told("user", getpass.getuser),
        "host": {"kind": host_kind(shell), "system": f"{platform.system()}-{platform.machine()}"},
        "python": platform.python_version(),
        "time": now(),
        "reasons": reasons,
    }


def _notebook(shell: Any) -> Path:
    from nbdeploy.capture.notebook import notebook_path

    path = notebook_path(shell)
    if path is None:
        raise _Untold("the front end does not tell the notebook's path")
    return path


def code_of(notebook: Path) -> str:
    """A digest of what a notebook file would run: its cells of code, without outputs and texts."""
    cells = json.loads(notebook.read_bytes())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "sha256:" + hashlib.sha256("\0".join(sources).encode()).hexdigest()


def _call() -> dict[str, Any] | None:
    """What the line or command named, enough to bundle the same variables again; None where it was given objects."""
    words = wording()
    if not words:
        return None
    given = {name: words.get(name) for name in ("model", "sample", "target", "keys", "real_rows")}
    return {
        name: redacted(value) if isinstance(value, str) else value for name, value in given.items() if value is not None
    }


def _executed(shell: Any) -> list[Executed]:
    from nbdeploy.capture.notebook import Notebook

    notebook = Notebook(shell)
    return [Executed(cell.number, cell.text, notebook.python(cell.text)) for cell in notebook.cells()]


def _told_cells(
    shell: Any, captured: CapturedModel | None, model: Any, cells: Sequence[Executed]
) -> list[dict[str, Any]]:
    if not cells:
        raise _Untold("this is no notebook: there is no history of cells")
    chosen = {cell.count for cell in cells_behind(_names_of(model, getattr(shell, "user_ns", {})), cells)}
    for definition in captured.definitions if captured else ():
        number = re.fullmatch(r"In\[(\d+)\]", definition.cell or "")
        chosen |= {int(number[1])} if number else set()
    if not chosen:
        raise _Untold("no variable holds the model, so its cells are not known")
    told = [cell for cell in cells if cell.count in chosen][-MOST_CELLS:]
    return [{"count": cell.count, "source": redacted(cell.source)[:MOST_SOURCE]} for cell in told]


def _names_of(model: Any, namespace: Mapping[str, Any]) -> set[str]:
    return {name for name, value in list(namespace.items()) if value is model and not name.startswith("_")}


def redacted(source: str) -> str:
    return _KEY.sub("...", _SECRET.sub(r'\1"..."', without_secrets(source)))


def _target(sample: Any, target: Any) -> dict[str, Any] | None:
    if target is None:
        return None
    if isinstance(target, str):
        return {"name": target, **fingerprint(column_values(sample, target))}
    name = getattr(target, "name", None)
    return {"name": None if name is None else str(name), **fingerprint(target)}


def _seeds(model: Any, cells: Sequence[Executed]) -> dict[str, Any]:
    parameters = parameters_of(model)
    named = {name: value for name, value in parameters.items() if name.rpartition("__")[2] in {"random_state", "seed"}}
    calls = [{**item, "call": redacted(str(item["call"]))} for item in seeds_in(cells)]
    return {"parameters": named, "calls": calls[-50:]}


def host_kind(shell: Any) -> str:
    """What the code runs in: vscode | colab | kaggle | databricks | jupyterhub | papermill | jupyter | ipython | python."""
    scope = getattr(shell, "user_ns", {})
    if "__vsc_ipynb_file__" in scope:
        return "vscode"
    if "google.colab" in sys.modules:
        return "colab"
    hosts = {
        "KAGGLE_KERNEL_RUN_TYPE": "kaggle",
        "DATABRICKS_RUNTIME_VERSION": "databricks",
        "JUPYTERHUB_SERVICE_PREFIX": "jupyterhub",
    }
    for variable, kind in hosts.items():
        if variable in os.environ:
            return kind
    if shell is None:
        return "python"
    if "PAPERMILL_INPUT_PATH" in scope or "papermill" in scope:
        return "papermill"
    return "jupyter" if hasattr(shell, "kernel") else "ipython"
