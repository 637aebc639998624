"""Command and magic with the real workspace: what one deploys, the other finds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from nbdeploy.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

TRAIN = """
import pandas as pd
from sklearn.linear_model import LogisticRegression
X, y = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [0, 1, 0, 1]}), [0, 1, 0, 1]
clf = LogisticRegression().fit(X, y)
%load_ext nbdeploy
"""
USE = """
s = %deploy attach churn
print("equal", (s.predict_proba(X) == clf.predict_proba(X)).all(), s.version)
"""
CELL = """%%deploy --name rule --sample X
factor = 3
def predict(rows):
    return rows["a"] * factor
"""


def notebook(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def command(*words: str) -> Any:
    """The JSON the command prints."""
    line = [sys.executable, "-m", "nbdeploy", *words, "--json"]
    told = subprocess.run(line, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_what_the_command_deploys_the_magic_finds_and_the_other_way_round(tmp_path: Path, settings: Settings) -> None:
    from nbclient import NotebookClient

    train = notebook(tmp_path / "train.ipynb", TRAIN)
    try:
        up = command("up", f"{train}:clf", "--name", "churn", "--sample", "X", "--target", "y")
        assert (up["version"], up["previous"], up["already_live"], up["state"]) == ("1.0.0", None, False, "ready")

        again = command("up", f"{train}:clf", "--name", "churn", "--sample", "X", "--target", "y")
        assert (again["version"], again["already_live"], again["pid"]) == ("1.0.0", True, up["pid"])

        node = nbformat.read(notebook(tmp_path / "use.ipynb", TRAIN, USE, CELL), as_version=4)
        NotebookClient(node, kernel_name="python3", timeout=120).execute()
        assert node.cells[1].outputs[0]["text"] == "equal True 1.0.0\n"
        shown = node.cells[2].outputs[-1]["data"]
        assert shown["text/plain"].startswith("rule 1.0.0  ✓ ready")
        assert len(shown["text/html"]) < 10_000

        keys = {"name", "version", "url", "launcher", "state", "since", "pid", "workers"}
        services = command("ps")
        assert [set(service) for service in services] == [keys, keys]
        assert [service["name"] for service in services] == ["churn", "rule"]
        assert (settings.services / "rule" / "token").stat().st_mode & 0o777 == 0o600
    finally:
        for name in ("churn", "rule"):
            subprocess.run([sys.executable, "-m", "nbdeploy", "stop", name], capture_output=True, check=False)
    assert command("ps") == []
