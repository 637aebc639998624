"""The workflow that `ci` writes: valid, without a word of the user's as code, and its own commands run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from nbdeploy import cli
from nbdeploy.errors import BadCondition, Refused, UnknownOption, WrongUse
from nbdeploy.judge.workflow import FILES, workflow

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
