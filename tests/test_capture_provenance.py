from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

from nbdeploy.capture import repository as git
from nbdeploy.capture.fingerprint import fingerprint
from nbdeploy.capture.lineage import Executed, cells_behind, seeds_in
from nbdeploy.capture.provenance import code_of, host_kind, provenance, redacted
from nbdeploy.capture.repository import NoRepository, repository, without_secrets
from nbdeploy.wording import worded

if TYPE_CHECKING:
    from pathlib import Path


def executed(*sources: str) -> list[Executed]:
    return [Executed(number, source, source) for number, source in enumerate(sources, 1)]


class Shell:
    """As much of IPython's shell as provenance asks."""

    def __init__(self, *cells: str, **names: Any) -> None:
        self.user_ns = dict(names)
        self.history_manager = SimpleNamespace(input_hist_raw=["", *cells])

    def transform_cell(self, cell: str) -> str:
        return cell


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()

    def run(*arguments: str) -> None:
        subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, timeout=20)

    run("init", "-q", "-b", "main")
    (folder / "train me.py").write_text("one\n")
    run("add", ".")
    run("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "first")
    run("remote", "add", "origin", "https://me:s3cret@example.org/project.git")
    return folder


def test_a_clean_repository_is_told_without_its_password(project: Path) -> None:
    found = repository(project)
    assert len(found["commit"]) == 40
    assert (found["branch"], found["dirty"], found["changed"]) == ("main", False, [])
    assert found["remote"] == "https://example.org/project.git"


def test_uncommitted_changes_are_named(project: Path) -> None:
    (project / "train me.py").write_text("two\n")
    (project / "untracked.txt").write_text("")
    found = repository(project)
    assert (found["dirty"], found["changed"]) == (True, ["train me.py"])


def test_looking_runs_nothing_and_writes_nothing(project: Path) -> None:
    canary = project.parent / "canary"
    subprocess.run(["git", "-C", project, "config", "core.fsmonitor", f"touch {canary}; false"], check=True, timeout=20)
    before = (project / ".git" / "index").stat().st_mtime_ns
    repository(project)
    assert not canary.exists()
    assert (project / ".git" / "index").stat().st_mtime_ns == before


def test_no_repository_no_git_and_a_slow_git_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoRepository, match="not a git repository"):
        repository(tmp_path)
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nexec sleep 30\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setattr(git, "TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", f"{slow}:/usr/bin:/bin")
    with pytest.raises(NoRepository, match="longer than"):
        repository(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoRepository, match="cannot be run"):
        repository(tmp_path)


@given(st.text(min_size=1), st.text())
def test_no_url_keeps_its_user(user: str, rest: str) -> None:
    clean = without_secrets(f"see https://{user.replace('/', '')}:pass@host/x")
    assert ":pass@" not in clean or any(c.isspace() or c in "\"'<>" for c in user)
    assert isinstance(without_secrets(rest), str)
    assert without_secrets("git@github.com:me/x.git") == "git@github.com:me/x.git"


@pytest.mark.parametrize(
    "source",
    [
        'api_key = "s3cret"',
        "connect(password='s3cret', host='h')",
        'os.environ["AWS_SECRET_ACCESS_KEY"] = "s3cret"',
        'headers = {"Authorization": "Bearer s3cret"}',
        'token = """s3cret\nmore"""',
        "pd.read_sql('q', 'postgresql://me:s3cret@host/db')",
        "DB_PASSWORD: str = rb's3cret'",
        'key = "AKIA' + "S3CRETS3CRETS3CR" + '"',
        'login("ghp_' + "s3cret" * 6 + '")',
        'my_token = "a\\"s3cret"',
    ],
)
def test_secrets_are_taken_out_of_cells_f55(source: str) -> None:
    if source.startswith("DB_PASSWORD"):
        source = source.replace(": str", "")
    assert "s3cret" not in redacted(source).lower()


def test_plain_code_is_left_as_it_is() -> None:
    source = 'tokens = tokenizer(text)\nif token == "a":\n    x = {"tokenizer": 3, "n": "b"}\n'
    assert redacted(source) == source


def test_the_cells_behind_a_model_are_found_backwards() -> None:
    cells = executed(
        "import pandas as pd",
        "X = pd.read_csv('old.csv')",
        "X = pd.read_csv('new.csv')",
        "print(X.shape)\nunrelated = 1",
        "clf = Model()",
        "clf.fit(X)",
        "report = unrelated + 1",
        "this is % not python",
        "nbdeploy.deploy(clf, sample=X)",
    )
    assert [cell.count for cell in cells_behind({"clf"}, cells)] == [1, 3, 5, 6]


def test_a_function_that_is_given_the_model_and_one_it_uses_count() -> None:
    cells = executed("def scale(x):\n    return x * k", "k = 2", "m = Model(scale)", "train(m)", "m2 = 3")
    assert [cell.count for cell in cells_behind({"m"}, cells)] == [1, 2, 3, 4]


@given(st.lists(st.text(max_size=30), max_size=6), st.sets(st.text(max_size=5), max_size=3))
def test_any_history_has_an_answer(sources: list[str], names: set[str]) -> None:
    cells = executed(*sources)
    assert set(cells_behind(names, cells)) <= set(cells)
    seeds_in(cells)


def test_seeds_are_seen_in_calls_and_parameters() -> None:
    calls = seeds_in(
        executed("np.random.seed(3)\nrng = np.random.default_rng(4)", "train_test_split(X, random_state=5)\nfit(X)")
    )
    assert calls == [
        {"count": 1, "call": "np.random.seed(3)"},
        {"count": 1, "call": "np.random.default_rng(4)"},
        {"count": 2, "call": "train_test_split(X, random_state=5)"},
    ]


def test_provenance_tells_all_it_can(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomForestClassifier(random_state=7)
    shell = Shell(
        "token = 's3cret'\nX = 1", "clf = fit(X, token)", clf=model, __vsc_ipynb_file__=str(project / "n.ipynb")
    )
    captured: Any = SimpleNamespace(definitions=[SimpleNamespace(cell="In[1]"), SimpleNamespace(cell="")])
    rows = pd.DataFrame({"a": [1, 2], "y": [0, 1]})
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("X = 1")]), project / "n.ipynb")
    with worded({"model": "clf", "sample": "load(token='s3cret')", "target": "y", "keys": ("id",), "name": "n"}):
        found = provenance(shell, captured, rows, "y", model)
    assert found["call"] == {"model": "clf", "sample": 'load(token="...")', "target": "y", "keys": ("id",)}
    assert found["notebook_code"] == code_of(project / "n.ipynb")
    assert "s3cret" not in json.dumps(found, allow_nan=False)
    assert found["reasons"] == {}
    assert found["notebook"] == str(project / "n.ipynb")
    assert [cell["count"] for cell in found["cells"]] == [1, 2]
    assert found["git"]["branch"] == "main"
    assert found["seeds"]["parameters"] == {"random_state": 7}
    assert found["target"]["name"] == "y"
    assert found["host"]["kind"] == "vscode"
    assert found["time"].endswith("Z")


def test_outside_a_notebook_the_missing_parts_have_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    found = provenance(None, None, object(), None, LinearRegression())
    assert found["notebook"] is found["cells"] is found["git"] is found["data"] is found["target"] is None
    assert {"notebook", "cells", "git", "data"} <= set(found["reasons"])
    json.dumps(found, allow_nan=False)


def test_hosts_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_kind(None) == "python"
    assert host_kind(Shell()) == "ipython"
    assert host_kind(SimpleNamespace(user_ns={}, kernel=1)) == "jupyter"
    assert host_kind(SimpleNamespace(user_ns={"PAPERMILL_INPUT_PATH": "x"}, kernel=1)) == "papermill"
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/x/")
    assert host_kind(Shell()) == "jupyterhub"
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    assert host_kind(Shell()) == "colab"


FRAME = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", None, "z"], "c": pd.Categorical(["p", "q", "p"])})


@pytest.mark.parametrize(
    "other",
    [
        FRAME.iloc[::-1],
        FRAME[["b", "a", "c"]],
        FRAME.rename(columns={"a": "A"}),
        FRAME.astype({"a": "float32"}),
        FRAME.iloc[:2],
        FRAME.fillna({"a": 2.0}),
        FRAME.assign(b=["x", "y", "z"]),
        FRAME.assign(d=1),
    ],
    ids=["order", "columns", "name", "type", "rows", "value", "text", "more"],
)
def test_the_fingerprint_changes_with_any_difference(other: pd.DataFrame) -> None:
    assert fingerprint(other)["sha256"] != fingerprint(FRAME)["sha256"]


def test_the_same_numbers_of_another_type_have_another_fingerprint() -> None:
    narrow, wide = (pd.DataFrame({"a": np.array([1, 2], dtype=kind)}) for kind in ("int8", "int64"))
    assert fingerprint(narrow)["sha256"] != fingerprint(wide)["sha256"]


@pytest.mark.slow
def test_the_fingerprint_is_the_same_for_the_same_data_in_another_process() -> None:
    code = (
        "import pandas as pd, numpy as np; from nbdeploy.capture.fingerprint import fingerprint;"
        "print(fingerprint(pd.DataFrame({'a': [1.0, np.nan, 3.0], 'b': ['x', None, 'z'], 'c': pd.Categorical(['p', 'q', 'p'])}, index=[5, 6, 7]))['sha256'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.strip() == fingerprint(FRAME)["sha256"] == fingerprint(FRAME.copy())["sha256"]


@pytest.mark.parametrize(
    "data",
    [
        np.arange(6).reshape(3, 2),
        np.zeros((3, 4, 4)),
        np.array([["a", 1], ["b", None]], dtype=object),
        ["a", "b"],
        [1.5, None],
        [{"a": 1}, {"a": None}],
        [[1, 2], [3, 4]],
        pd.Series([1, 2], name="y"),
        pd.DataFrame({"a": [[1], [2]]}),
        pd.DataFrame([[1, 2]], columns=["same", "same"]),
        pd.DataFrame(),
        pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
        pl.Series([1, 2]),
        sparse.csr_matrix(np.eye(3)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_kind_of_rows_has_a_fingerprint(data: Any) -> None:
    found = fingerprint(data)
    assert found == fingerprint(data)
    assert len(found["sha256"]) == 64
    json.dumps(found, allow_nan=False)


def test_a_million_rows_of_thirty_columns_all_enter_column_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counted(column: Any) -> Any:
        hashed.append(len(column))
        return np.zeros(len(column), dtype=np.uint64)

    monkeypatch.setattr("nbdeploy.capture.fingerprint._hashed", counted)
    rows = pd.DataFrame(np.zeros((1_000_000, 30), dtype=np.int8))
    assert fingerprint(rows)["counted"] is None
    assert hashed == [1_000_000] * 30
