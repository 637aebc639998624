"""A version made again from its notebook: the same, or what differs and since when; and nothing of the user's touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from models import classifier, plain

from nbdeploy import cli
from nbdeploy.errors import NotebookFailed, Refused
from nbdeploy.judge import rerun, sandbox
from nbdeploy.judge.origin import Origin
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.capture.bundle import Bundle

TRAIN = """
import numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
"""
DATA = "rows = pd.read_csv('rows.csv'); X, y = rows[['bill', 'mass']], rows['weight']"
FIT = "clf = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(X, y)"
DEPLOY = "%load_ext nbdeploy\n%deploy clf --name penguins --sample X --target y"


def notebook(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def bundle(settings: Settings) -> Bundle:
    fitted = plain()
    return Workspace(settings).bundle(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)


def origin(bundle: Bundle, tmp_path: Path, **told: Any) -> Origin:
    """Of a version whose provenance says so."""
    manifest = replace(bundle.manifest, provenance={**bundle.manifest.provenance, **told})
    workspace = Workspace(Settings(tmp_path / "h", tmp_path / "b"))
    version = workspace.publish(bundle)
    return Origin.of(version, manifest)


def test_a_version_of_no_notebook_is_refused_with_the_next_step(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"the front end does not tell .* `nbdeploy up NOTEBOOK.ipynb:MODEL"):
        origin(bundle, tmp_path)


def test_a_version_whose_notebook_is_gone_is_refused_with_the_next_step(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"gone.ipynb, which is gone. .* git show abc1234:./gone.ipynb"):
        origin(bundle, tmp_path, notebook=str(tmp_path / "gone.ipynb"), git={"commit": "abc1234"})


def test_what_was_touched_since_is_told(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    path = notebook(folder / "train.ipynb", DATA, "%matplotlib inline\nimport scipy.stats\nfrom sklearn import svm")
    git(folder, "init")
    git(folder, "add", "train.ipynb")
    git(folder, "commit", "-m", "first")
    commit = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    told: dict[str, Any] = {"notebook": str(path), "git": {"commit": commit.stdout.strip()}}
    assert origin(bundle, tmp_path, **told).since() == []
    assert origin(bundle, tmp_path / "2", **told).imports() == {"scipy", "sklearn"}
    notebook(path, DATA, "import other")
    git(folder, "commit", "-am", "another split")
    (folder / "rows.csv").write_text("bill,mass,weight\n")
    told["notebook_code"] = "sha256:" + "0" * 64
    edited, committed, data = origin(bundle, tmp_path / "3", **told).since()
    assert edited.startswith("train.ipynb was edited, or saved, since: its code was 000000000000, it is ")
    assert committed.endswith("another split")
    assert data.startswith("rows.csv was written ")
    told["git"] = {"commit": "--output=x"}
    assert "git does not tell" in origin(bundle, tmp_path / "4", **told).since()[1]


def test_within_a_rerun_there_is_no_other(settings: Settings, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(settings)
    workspace.publish(bundle)
    monkeypatch.setenv(rerun.FOLDER, "x")
    with pytest.raises(Refused, match="from within a notebook that is just being run again"):
        workspace.reproduce("penguins", "1.0.0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Path]]:
    """A project of a notebook that deploys itself, and homes where it did, as from a Jupyter server."""
    folder = tmp_path_factory.mktemp("reproduce")
    fitted = classifier()
    fitted.X.assign(weight=fitted.y).fillna({"bill": 44.0}).to_csv(folder / "rows.csv", index=False)
    path = notebook(folder / "train.ipynb", TRAIN, DATA, FIT, DEPLOY, "open('written.txt', 'w').write('x');")
    homes = {"NBDEPLOY_HOME": str(folder / "home"), "BENTOML_HOME": str(folder / "bentoml")}
    homes["JPY_SESSION_NAME"] = str(path)  # as a Jupyter server tells a kernel its notebook
    command = [sys.executable, "-m", "papermill", "train.ipynb", "out.ipynb", "-k", "python3", "--no-progress-bar"]
    subprocess.run(command, cwd=folder, env=os.environ | homes, check=True, capture_output=True)
    workspace = Workspace(Settings(folder / "home", folder / "bentoml"))
    yield workspace, path
    workspace.stop("penguins")


def ours(workspace: Workspace) -> dict[str, int]:
    """Every file of the user's homes, by its last change; logs and state of the running service aside."""
    homes = (workspace.settings.home, workspace.settings.bentoml_home)
    files = [path for home in homes for path in home.rglob("*") if path.is_file() and "registry.db" not in path.name]
    counting = ".cells"  # in memory that is a file: the system writes it back when it likes
    return {str(path): path.stat().st_mtime_ns for path in files if path.suffix != counting}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.thorough
def test_a_notebook_that_deploys_itself_gives_the_same_bytes_and_touches_nothing(
    made: tuple[Workspace, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, path = made
    before, events = ours(workspace), len(workspace.show("penguins").events)
    assert cli.main(["reproduce", "penguins:1.0.0", "--json"], lambda: workspace) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same"]
    assert told["digest"] == told["digest_now"]
    assert told["findings"] == told["since"] == []
    assert told["notes"] == ["changed beside the notebook meanwhile, by it or by others: written.txt"]
    assert ours(workspace) == before
    assert len(workspace.show("penguins").events) == events
    assert [state.version for state in workspace.services()] == ["1.0.0"]
    assert list((workspace.settings.home / sandbox.HOME).iterdir()) == []
    assert path.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.thorough
def test_another_notebook_gives_another_model_and_says_what_and_since_when(made: tuple[Workspace, Path]) -> None:
    workspace, path = made
    original = path.read_bytes()
    notebook(path, TRAIN, DATA, FIT.replace("C=1.0", "C=0.01"), DEPLOY, "1 / 0")
    try:
        found = workspace.reproduce("penguins")
    finally:
        path.write_bytes(original)
    assert not found.same
    assert found.exit_code == 1
    assert {"answers", "parameters", "artefact"} <= {finding.part for finding in found.findings}
    (parameter,) = [finding for finding in found.findings if finding.part == "parameters"]
    assert (parameter.then, parameter.now) == (1.0, 0.01)
    assert found.since[0].startswith("train.ipynb was edited, or saved, since")
    assert "ZeroDivisionError" in found.notes[0], "it stopped after it had made the model"
    assert "comes out otherwise" in str(found)
    assert "comes out otherwise" in found._repr_html_()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.thorough
def test_a_notebook_the_command_deployed_is_bundled_again_by_the_same_words(made: tuple[Workspace, Path]) -> None:
    workspace, path = made
    plainly = notebook(path.with_name("plain.ipynb"), TRAIN, DATA, FIT)
    homes = {"NBDEPLOY_HOME": str(workspace.settings.home), "BENTOML_HOME": str(workspace.settings.bentoml_home)}
    words = ["bundle", f"{plainly}:clf", "--name", "plain", "--sample", "X[:50]", "--target", "y[:50]", "--json"]
    command = [sys.executable, "-m", "nbdeploy", *words]
    done = subprocess.run(command, env=os.environ | homes, check=True, capture_output=True, text=True)
    workspace.publish(workspace.bundle_of(json.loads(done.stdout)["reference"]))
    found = workspace.reproduce("plain", "1.0.0")
    assert found.same, str(found)
    assert found.digest == found.digest_now
    notebook(plainly, TRAIN, DATA, "clf = 1 / 0")
    with pytest.raises(NotebookFailed, match="ZeroDivisionError"):
        workspace.reproduce("plain", "1.0.0")
    notebook(path.with_name("plain.ipynb"), TRAIN, DATA)
    with pytest.raises(NotebookFailed, match="NameError"):
        workspace.reproduce("plain", "1.0.0")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.thorough
def test_one_that_is_ended_leaves_nothing_behind(
    made: tuple[Workspace, Path], tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C at once; where even that is impossible, with the next `recover`."""
    workspace, path = made
    original = path.read_bytes()
    mark = tmp_path / "reached"
    notebook(path, TRAIN, DATA, FIT, DEPLOY, f"import time; open({str(mark)!r}, 'w').close(); time.sleep(300)")
    homes = {"NBDEPLOY_HOME": str(workspace.settings.home), "BENTOML_HOME": str(workspace.settings.bentoml_home)}
    command = [sys.executable, "-m", "nbdeploy", "reproduce", "penguins"]
    environment = os.environ | homes | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    sandboxes = workspace.settings.home / sandbox.HOME
    try:
        until = time.monotonic() + 120
        while not mark.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        assert mark.exists(), process.communicate()[0]
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        path.write_bytes(original)
    if number == signal.SIGKILL:
        names = [f"{sandbox.HOME}/{folder.name}" for folder in sandboxes.iterdir()]
        assert workspace.recover().cleaned == names
    else:
        assert process.returncode == 1, output
        assert [item.name for item in tmp_path.iterdir() if item.name.startswith("nbdeploy-")] == []
    assert list(sandboxes.iterdir()) == []
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if str(sandboxes) in _text(path)]
    assert left == []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return ""
