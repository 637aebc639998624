"""The notebooks run from top to bottom, headless, with papermill's own command and nbval's, and show what they promise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from nbdeploy.settings import Settings

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
# Cells that carry an output: nbval compares it. Their text depends on nothing but us.
PROMISED = {
    "panel.ipynb": {"code"},
    "quickstart.ipynb": {"wrong", "ps", "stop", "ps-empty"},
    "validation.ipynb": {"stop"},
    "watching.ipynb": {"stop"},
}


def papermill(notebook: Path, out: Path, *words: str) -> Any:
    """The command itself; the executed notebook."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--kernel",
        "python3",
        "--no-progress-bar",
        "--cwd",
        str(notebook.parent),
    ]
    subprocess.run([*command, str(notebook), str(out), *words], check=True, capture_output=True, timeout=570)
    return nbformat.read(out, as_version=4)


def nbval(folder: Path) -> subprocess.CompletedProcess[str]:
    """As the guide says it."""
    sanitize = NOTEBOOKS / "nbval_sanitize.cfg"
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-sanitize-with", str(sanitize), str(folder)]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "--basetemp", str(folder / "pytest")],
        capture_output=True,
        text=True,
        check=False,
        timeout=570,
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )


def test_notebooks_are_kept_without_outputs_but_for_what_they_promise() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        promised = {cell.id for cell in cells if cell.get("outputs")}
        assert promised == PROMISED[path.name], path.name
        assert {cell.id for cell in cells if cell.get("execution_count")} == promised, path.name


@pytest.mark.slow
@pytest.mark.thorough
def test_the_quickstart_runs_headless_and_leaves_nothing_running(settings: Settings, tmp_path: Path) -> None:
    done = papermill(NOTEBOOKS / "quickstart.ipynb", tmp_path / "quickstart.ipynb")
    shown = "\n".join(str(output) for cell in done.cells for output in cell.get("outputs", ()))
    for told in ("penguins 1.0.0", "penguins 1.0.1", 'did you mean "bill_length_mm"?', "penguins is stopped"):
        assert told in shown.replace("\\'", "'")
    workspace = Workspace(settings)
    assert [version.version for version in workspace.versions("penguins")] == ["1.0.1", "1.0.0"]
    assert list(workspace.services()) == []


@pytest.mark.slow
@pytest.mark.timeout(600)  # the notebooks, with three judgements
@pytest.mark.thorough
def test_nbval_finds_what_the_notebooks_promise(settings: Settings) -> None:
    done = nbval(NOTEBOOKS)
    assert done.returncode == 0, done.stdout
    workspace = Workspace(settings)
    assert list(workspace.services()) == []
    assert [version.gate for version in workspace.versions("species")] == ["none", "passed", "passed"]
    assert [version.version for version in workspace.versions("colony")] == ["1.0.0"]


@pytest.mark.slow
@pytest.mark.thorough
def test_nbval_finds_a_promise_that_is_broken(tmp_path: Path) -> None:
    """Without the rest of the notebook: what is listed where nothing runs."""
    shutil.copy(NOTEBOOKS / "quickstart.ipynb", tmp_path / "quickstart.ipynb")
    node = nbformat.read(tmp_path / "quickstart.ipynb", as_version=4)
    node.cells = [cell for cell in node.cells if cell.id in {"load", "ps-empty"}]
    nbformat.write(node, tmp_path / "quickstart.ipynb")
    assert nbval(tmp_path).returncode == 0
    node.cells[1].outputs[0].data["text/plain"] = "Services\n\n  one is running"
    nbformat.write(node, tmp_path / "quickstart.ipynb")
    assert "Cell outputs differ" in nbval(tmp_path).stdout
