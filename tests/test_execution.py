"""Notebooks run in a fresh kernel, and the command's call handed over to one."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
import pytest
from recording import Noun, Recorder

from nbdeploy import cli, execution
from nbdeploy.errors import CheckFailed, NotebookFailed, NotFound, SampleMissing, UnknownOption, WrongUse
from nbdeploy.front import handover
from nbdeploy.front.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def notebook(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


class Model:
    def predict(self, rows: Any) -> Any:
        return rows


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """In place of papermill: the notebook ran, and the added cell runs here, with a workspace that records."""
    recorder = Recorder()

    def run(path: Path, *, cells: Sequence[str], environment: Mapping[str, str], keep: Path) -> None:
        assert cells == [handover.CELL]
        assert environment["JPY_SESSION_NAME"] == str(path.absolute())
        monkeypatch.setenv(handover.FOLDER, environment[handover.FOLDER])
        try:
            handover.answer({"clf": Model(), "X": [1, 2], "y": [0, 1]}, recorder)
        except Exception as exc:  # as a kernel does: whatever a cell raises stops the notebook
            raise NotebookFailed(str(path), "In[9]", f"{type(exc).__name__}: {exc}", str(keep)) from exc

    monkeypatch.setattr(execution, "run", run)
    return recorder


def test_a_notebook_s_variable_is_deployed_inside_it(kernel: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.answers["deploy"] = Noun({"name": "n", "previous": None})
    words = ["up", "a b/train.ipynb:clf", "--sample", "X", "--target", "y[:1]", "--keys", "id,day", "--json"]
    assert cli.main(words, Recorder()) == 0
    verb, (model,), arguments = kernel.last
    assert (verb, arguments) == ("deploy", {"name": "clf", "sample": [1, 2], "target": [0], "keys": ("id", "day")})
    assert isinstance(model, Model)
    assert json.loads(capsys.readouterr().out) == {"name": "n", "previous": None}


def test_its_card_is_shown(kernel: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bundle", "train.ipynb:clf", "--sample", "X"], Recorder()) == 0
    assert kernel.last[0] == "bundle"
    assert "penguins 1.0.0  ✓ ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        (["train.ipynb:clff", "--sample", "X"], UnknownOption, 2),
        (["train.ipynb:clf", "--sample", "X", "--trust"], WrongUse, 2),
        (["train.ipynb:clf", "--sample", "Z"], UnknownOption, 2),
        (["train.ipynb:clf"], SampleMissing, 2),
    ],
)
def test_wrong_use_in_the_notebook_is_wrong_use_of_the_command(
    words: list[str], kind: type[Exception], code: int, kernel: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up", *words, "--json"], Recorder()) == code
    assert json.loads(capsys.readouterr().out)["error"]["type"] == kind.__name__


def test_an_error_of_the_deploy_comes_out_as_it_was(kernel: Recorder) -> None:
    kernel.answers["deploy"] = CheckFailed("clf@0123", ("column age",))
    with pytest.raises(CheckFailed) as caught:
        handover.through_notebook(Call("up", {"model": "t.ipynb:clf", "sample": "X"}), Path("kept"))
    assert caught.value.findings == ["column age"]
    assert str(caught.value) == str(kernel.answers["deploy"])


def test_any_other_error_is_the_notebook_s(kernel: Recorder) -> None:
    kernel.answers["deploy"] = ZeroDivisionError()
    with pytest.raises(NotebookFailed, match=r"t.ipynb stopped at In\[9\] with ZeroDivisionError"):
        handover.through_notebook(Call("up", {"model": "t.ipynb:clf", "sample": "X"}), Path("kept"))


def test_a_missing_notebook_names_its_neighbours(tmp_path: Path) -> None:
    notebook(tmp_path / "train.ipynb")
    with pytest.raises(NotFound, match=r'Did you mean ".*train.ipynb"'):
        execution.run(tmp_path / "tran.ipynb", keep=tmp_path)


def test_a_file_that_is_no_notebook_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{}x")
    with pytest.raises(WrongUse, match="cannot be read as a notebook"):
        execution.run(tmp_path / "x.ipynb", keep=tmp_path)


@pytest.mark.slow
def test_a_notebook_runs_in_its_own_folder_with_the_cells_and_variables_given(tmp_path: Path) -> None:
    folder = tmp_path / "with {braces} and blanks"
    folder.mkdir()
    path = notebook(folder / "a.ipynb", "import os, sys; x = os.environ['GIVEN']; print('said', file=sys.stderr)")
    before = path.read_bytes()
    said = io.StringIO()
    execution.run(
        path,
        cells=["open('told', 'w').write(x + sys.executable)"],
        environment={"GIVEN": "value"},
        keep=tmp_path / "kept",
        stderr=said,
    )
    assert (folder / "told").read_text().startswith("value")
    assert said.getvalue() == "said\n"
    assert path.read_bytes() == before
    assert "GIVEN" not in os.environ
    assert not (tmp_path / "kept").exists()


TRANSPORT = "import sys, ipykernel; sys.stderr.write(ipykernel.get_connection_info(unpack=True)['transport'])"


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "transport"), [(0, "ipc"), (100, "tcp")])
def test_a_kernel_needs_no_port_that_another_process_may_take_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, transport: str
) -> None:
    """But where a unix socket's path has no room."""
    temporary = tmp_path / ("d" * depth)
    temporary.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    said = io.StringIO()
    execution.run(notebook(tmp_path / "a.ipynb", TRANSPORT), keep=tmp_path / "kept", stderr=said)
    assert said.getvalue() == transport


@pytest.mark.slow
def test_a_failing_notebook_is_kept_and_its_cell_named(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "x = 1", "1/0")
    with pytest.raises(NotebookFailed, match=r"stopped at In\[2\] with ZeroDivisionError: division by zero") as caught:
        execution.run(path, keep=tmp_path / "kept")
    kept = Path(caught.value.kept)
    assert kept.parent == tmp_path / "kept"
    assert "ZeroDivisionError" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_notebook_that_exits_early_has_not_succeeded(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "import sys; sys.exit(0)")
    with pytest.raises(NotebookFailed, match="SystemExit, before its last cell"):
        execution.run(path, cells=["1"], keep=tmp_path / "kept")


FAKE = """
import sys
sys.path.insert(0, {tests!r})
from recording import Noun, Recorder
import nbdeploy.default
recorder = Recorder(phases=("bundle", "publish", "serve"))
recorder.answers["deploy"] = Noun({{"name": "clf", "previous": None}})
nbdeploy.default.workspace = recorder
class Model:
    def predict(self, rows): return rows
clf, X = Model(), [1, 2]
"""


@pytest.mark.slow
def test_the_command_deploys_from_a_real_kernel(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = notebook(tmp_path / "train.ipynb", FAKE.format(tests=str(Path(__file__).parent)))
    assert cli.main(["up", f"{path}:clf", "--sample", "X", "--json"], Recorder(home=tmp_path)) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out) == {"name": "clf", "previous": None}
    assert "published · serving" in captured.err
    assert cli.main(["up", f"{path}:clf", "--sample", "XX"], Recorder(home=tmp_path)) == 2
    assert 'There is no variable "XX"' in capfd.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_the_kernel_too(tmp_path: Path, settings: object) -> None:
    """F33."""
    said = tmp_path / "kernel"
    path = notebook(
        tmp_path / "a.ipynb",
        f"import os, pathlib, time; pathlib.Path({str(said)!r}).write_text(str(os.getpid())); time.sleep(60)",
    )
    command = [sys.executable, "-m", "nbdeploy", "up", f"{path}:clf", "--sample", "X"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            wait_until(lambda: said.exists() and said.read_text() != "")
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 1
    assert told.endswith("nbdeploy: interrupted; `nbdeploy ps` shows what is live\n"), told
    wait_until(lambda: not psutil.pid_exists(int(said.read_text())))


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_nbformat_is_imported_without_a_grammar_it_does_not_need_and_iris_are_checked_as_ever() -> None:
    code = (
        "import sys; from nbdeploy.execution.formats import GRAMMAR, swiftly; swiftly(); import jsonschema, nbformat;"
        "check = lambda text: jsonschema.FormatChecker().conforms(text, 'iri');"
        "print(GRAMMAR in sys.modules, check('http://a.b/c'), check('no iri'), GRAMMAR in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True False True\n"
