"""The notebooks run from top to bottom, headless, and what they show is what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import papermill
import pytest

from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from nbdeploy.settings import Settings

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def test_notebooks_are_kept_without_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert not [cell for cell in cells if cell.get("outputs")], path.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_quickstart_runs_headless_and_leaves_nothing_running(settings: Settings, tmp_path: Path) -> None:
    done: Any = papermill.execute_notebook(
        str(NOTEBOOKS / "quickstart.ipynb"),
        str(tmp_path / "quickstart.ipynb"),
        kernel_name="python3",
        cwd=str(NOTEBOOKS),
        progress_bar=False,
    )
    shown = "\n".join(str(output) for cell in done.cells for output in cell.get("outputs", ()))
    for told in ("penguins 1.0.0", "penguins 1.0.1", 'did you mean "bill_length_mm"?', "penguins is stopped"):
        assert told in shown.replace("\\'", "'")
    workspace = Workspace(settings)
    assert [version.version for version in workspace.versions("penguins")] == ["1.0.1", "1.0.0"]
    assert list(workspace.services()) == []
