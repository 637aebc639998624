"""The workflow that `ci` writes: valid, without a word of the user's as code, and its own commands run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
import yaml
from models import classifier

from nbdeploy import cli
from nbdeploy.errors import BadCondition, Refused, UnknownOption, WrongUse
from nbdeploy.judge.workflow import FILES, workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPLOY = "service = %deploy clf --name penguins --sample X_train --target=y_train --data X_test,y_test --gate 'accuracy>=0.9'"


def notebook(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def steps(provider: str, text: str) -> tuple[dict[str, str], list[str]]:
    """The variables of the job, and the commands of its steps, in order."""
    found: dict[str, Any] = yaml.safe_load(text)
    if provider == "github":
        job = found["jobs"]["model"]
        return job["env"], [step["run"] for step in job["steps"] if "run" in step]
    return found["model"]["variables"], [*found["model"]["script"], *found["model"]["after_script"]]


@pytest.mark.parametrize("provider", list(FILES))
def test_a_notebook_s_own_line_says_what_to_deploy(provider: str, tmp_path: Path) -> None:
    notebook(tmp_path / "explore.ipynb", "1")
    notebook(tmp_path / "train.ipynb", "%load_ext nbdeploy", DEPLOY, "%deploy stop penguins")
    made = workflow(provider, tmp_path)
    assert made.to_dict() == {
        "provider": provider,
        "file": str(tmp_path / FILES[provider]),
        "model": "train.ipynb:clf",
        "name": "penguins",
        "sample": "X_train",
        "target": "y_train",
        "data": "X_test,y_test",
        "gate": ["accuracy>=0.9"],
    }
    _, commands = steps(provider, made.text())
    expected = "nbdeploy up train.ipynb:clf --name penguins --sample X_train --target y_train --data X_test,y_test"
    assert [line for line in commands if line.startswith(expected)]
    said = workflow(provider, tmp_path, gate=["f1_macro>=0.8"], data="D", name="other")
    assert (said.words["data"], said.words["name"], said.gate) == ("D", "other", ("f1_macro>=0.8",))


def test_of_several_lines_the_one_that_is_meant_is_taken_whole(tmp_path: Path) -> None:
    wine = "%deploy reg --name wine --sample W --target w --data W_test,w_test --gate 'r2>=0.5'"
    notebook(tmp_path / "train.ipynb", "%deploy reg --name wine --sample OLD --data OLD", wine, DEPLOY)
    whole = {"model": "train.ipynb:reg", "name": "wine", "sample": "W", "target": "w", "data": "W_test,w_test"}
    for said in ({"name": "wine"}, {"model": "reg"}, {"model": "reg", "name": "wine"}):
        told = workflow("github", tmp_path, **said).to_dict()  # type: ignore[arg-type] # options by name
        assert told == {**whole, "provider": "github", "file": told["file"], "gate": ["r2>=0.5"]}
    assert workflow("github", tmp_path, model="reg", name="port").to_dict()["name"] == "port"
    listed = r"--model reg --name wine; --model clf --name penguins"
    for said, fact in (
        ({}, "none of them is chosen"),
        ({"name": "port"}, "none of them fits --name port"),
        ({"model": "other"}, "none of them fits --model other"),
    ):
        with pytest.raises(WrongUse, match=f"2 %deploy lines and {fact}. Choose one: {listed}"):
            workflow("github", tmp_path, **said)  # type: ignore[arg-type] # options by name


def test_a_file_that_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook(tmp_path / "train.ipynb", DEPLOY)
    assert cli.main(["ci"]) == 0
    file = tmp_path / FILES["github"]
    file.write_text("mine")
    assert cli.main(["ci", "github"]) == 1
    assert file.read_text() == "mine"
    assert cli.main(["ci", "github", "--force"]) == 0
    assert yaml.safe_load(file.read_text())["name"] == "model"
    assert cli.main(["ci", "gitlab", "pipelines/model.yml"]) == 0
    assert yaml.safe_load((tmp_path / "pipelines/model.yml").read_text())["model"]
    assert cli.main(["ci", "jenkins"]) == 2
    with pytest.raises(Refused, match="stays as it is"):
        workflow("github", tmp_path).write(force=False)


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ({"notebook": Path("none.ipynb")}, r'no notebook "none.ipynb"'),
        ({"notebook": Path("torn.ipynb")}, r"torn.ipynb cannot be read as a notebook"),
        ({"notebook": Path("plain.ipynb")}, "say which variable is the model"),
        ({"notebook": Path("plain.ipynb"), "model": "clf"}, "--sample X_train"),
        ({"notebook": Path("plain.ipynb"), "model": "clf", "sample": "X"}, "would publish anything"),
        ({"name": "Not A Name"}, "cannot name a service"),
        ({"notebook": Path("../outside.ipynb"), "model": "clf", "sample": "X", "data": "D"}, "lies outside"),
    ],
)
def test_what_is_missing_or_wrong_is_said(tmp_path: Path, words: dict[str, Any], fact: str) -> None:
    notebook(tmp_path / "outside.ipynb", "1")
    folder = tmp_path / "project"
    folder.mkdir()
    notebook(folder / "train.ipynb", DEPLOY)
    (folder / "torn.ipynb").write_text("{")
    notebook(folder / "plain.ipynb", "clf = 1")
    with pytest.raises(Exception, match=fact):
        workflow("github", folder, **words)
    with pytest.raises(UnknownOption):
        workflow("jenkins", folder)
    with pytest.raises(BadCondition):
        workflow("github", folder, gate=["accuracy is good"])
    notebook(folder / "other.ipynb", DEPLOY)
    with pytest.raises(WrongUse, match=r"there are other.ipynb, train.ipynb"):
        workflow("github", folder)


CANARIES = (
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    '"; touch canary; "',
    "X\\'; touch canary #",
    "X | tee canary",
    "X > canary",
    "a: b",
    "- x",
    "*anchor &anchor !!python/object/apply:os.system [x] {y}",
    "@UP@ @STOP@",
    "#comment",
    "%YAML",
    "ünï 🐧 code",
    "${X} $X ~ * ? \\",
)


@pytest.mark.parametrize("provider", list(FILES))
@pytest.mark.parametrize("canary", CANARIES)
def test_no_word_of_the_user_s_becomes_code_f54(provider: str, canary: str, tmp_path: Path) -> None:
    """The shell is given every word as one argument, whatever it holds."""
    path = notebook(tmp_path / f"{canary.replace('/', '_')}.ipynb", "1")
    words: dict[str, Any] = {"sample": canary, "target": canary, "data": canary, "validate": canary}
    made = workflow(
        provider, tmp_path, notebook=path, model=canary, gate=[f"a@b={canary}>=1"], name="penguins", **words
    )
    _, commands = steps(provider, made.text())
    (command,) = [line for line in commands if line.startswith("nbdeploy up")]
    recorder = tmp_path / "bin" / "nbdeploy"
    recorder.parent.mkdir()
    recorder.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    recorder.chmod(0o755)
    environment = {"PATH": f"{recorder.parent}:/usr/bin:/bin"}
    subprocess.run(["/bin/bash", "-e", "-c", command], cwd=tmp_path, env=environment, check=True)
    given = (tmp_path / "nbdeploy-version.json").read_text(encoding="utf-8").split("\0")[:-1]
    assert given[:2] == ["up", f"{'./' if canary.startswith('-') else ''}{path.name}:{canary}"]
    assert given[2:] == [
        *["--name", "penguins", "--sample", canary, "--target", canary, "--data", canary, "--validate", canary],
        *["--gate", f"a@b={canary}>=1", "--again", "--json"],
    ]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "canary",
    ["${{ secrets.TOKEN }}", "$[[ inputs.x ]]", "X\n      - run: touch canary", "X\rY", "X\u2028Y", "X\x85Y", "\0"],
)
def test_what_ci_systems_would_put_in_is_refused_f54(canary: str, tmp_path: Path) -> None:
    notebook(tmp_path / "train.ipynb", DEPLOY)
    for option in ("sample", "target", "data", "validate", "model"):
        said: dict[str, Any] = {option: canary}
        with pytest.raises(WrongUse, match="cannot stand in a workflow"):
            workflow("github", tmp_path, **said)
    with pytest.raises(WrongUse):
        workflow("github", tmp_path, gate=[f"a@b={canary}>=1"])


TRAIN = """
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

rows = pd.read_csv("rows.csv")
X, y = rows.drop(columns="weight"), rows["weight"]
X_train, X_test, y_train, y_test = X[:80], X[80:], y[:80], y[80:]
columns = make_column_transformer((OneHotEncoder(), ["island", "sex"]), (StandardScaler(), ["bill", "mass", "age"]))
clf = make_pipeline(columns, LogisticRegression()).fit(X_train, y_train)
"""


def run(command: str, folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As a runner does: bash, and the step fails with its last command."""
    own = {key: value.replace("${{ github.workspace }}", str(folder)) for key, value in variables.items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **own, "PATH": path, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    script = ["/bin/bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", command]
    return subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)  # two trainings, each with a judgement
@pytest.mark.thorough
def test_the_commands_of_the_workflow_train_judge_and_publish(tmp_path: Path) -> None:
    fitted = classifier()
    fitted.X.assign(weight=fitted.y).fillna({"bill": 44.0}).to_csv(tmp_path / "rows.csv", index=False)
    notebook(tmp_path / "train.ipynb", TRAIN)
    words: dict[str, Any] = {"name": "penguins", "sample": "X_train", "target": "y_train", "data": "X_test,y_test"}
    good = workflow("github", tmp_path, model="clf", gate=["accuracy>=0.8"], **words)
    variables, commands = steps("github", good.text())
    gitlab = workflow("gitlab", tmp_path, model="clf", gate=["accuracy>=0.8"], **words)
    homes, same = steps("gitlab", gitlab.text())
    assert same == commands, "what runs for one runs for the other"
    assert {key: value.partition("/")[2] for key, value in homes.items()} == {
        key: value.partition("/")[2] for key, value in variables.items()
    }
    for command in commands:
        done = run(command, tmp_path, variables)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "penguins.bento").stat().st_size > 1_000
    reports = tmp_path / "nbdeploy-home" / "reports" / "penguins"
    (report,) = reports.glob("*/report.html")
    assert "accuracy" in report.read_text(encoding="utf-8")
    bad = workflow("github", tmp_path, model="clf", gate=["accuracy>=1.01"], **words)
    _, commands = steps("github", bad.text())
    (up,) = [command for command in commands if command.startswith("nbdeploy up")]
    refused = run(up, tmp_path, variables)
    assert refused.returncode == 1
    assert "accuracy>=1.01" in refused.stderr
    assert len(list(reports.glob("*/report.html"))) == 2
