"""Cells as executed, and the notebook's own path."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from executed import Shell

from nbdeploy.capture.notebook import Notebook, current_shell, notebook_path

if TYPE_CHECKING:
    from pathlib import Path


def test_cells_are_numbered_as_the_user_sees_them() -> None:
    shell = Shell()
    shell.run("x = 1")
    shell.history_manager.input_hist_raw.append("")
    shell.run("y = 2")
    assert [(cell.label, cell.text) for cell in Notebook(shell).cells()] == [("In[1]", "x = 1"), ("In[3]", "y = 2")]


@pytest.mark.parametrize(
    ("typed", "python"),
    [
        ("%%time\nx = 1", "x = 1\n"),
        ("%%capture out\n%%time\nx = 1", "x = 1\n"),
        ("!ls", "get_ipython().system('ls')\n"),
        ("%load_ext nbdeploy\ny = 2", "get_ipython().run_line_magic('load_ext', 'nbdeploy')\ny = 2\n"),
    ],
)
def test_magics_become_python(typed: str, python: str) -> None:
    assert Notebook(Shell()).python(typed) == python


def test_outside_ipython_there_are_no_cells() -> None:
    assert current_shell() is None
    assert Notebook().cells() == ()


def test_names_ipython_put_there_are_not_the_users() -> None:
    shell = Shell()
    marker = object()
    shell.user_ns |= {"In": marker, "x": 1}
    shell.user_ns_hidden |= {"In": marker}
    notebook = Notebook(shell)
    assert notebook.is_notebooks_only("In", marker)
    assert not notebook.is_notebooks_only("x", 1)
    shell.user_ns["In"] = [3]
    assert not notebook.is_notebooks_only("In", [3])


@pytest.mark.parametrize("source", ["vscode", "jupyter", "papermill"])
def test_the_path_is_what_the_front_end_tells(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a b.ipynb"
    file.write_text("{}")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    scope = {"vscode": {"__vsc_ipynb_file__": str(file)}, "papermill": {"PAPERMILL_INPUT_PATH": str(file)}}.get(
        source, {}
    )
    if source == "jupyter":
        monkeypatch.setenv("JPY_SESSION_NAME", str(file))
    assert notebook_path(SimpleNamespace(user_ns=scope)) == file


def test_a_path_below_the_servers_root_is_looked_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work.ipynb").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", "projects/work.ipynb")
    assert notebook_path(SimpleNamespace(user_ns={})) == tmp_path / "work.ipynb"


@pytest.mark.parametrize("given", ["a-uuid", "", "file.py", 3, None, "\0.ipynb"])
def test_what_is_no_notebook_gives_no_path(given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert notebook_path(SimpleNamespace(user_ns={"__vsc_ipynb_file__": given})) is None
