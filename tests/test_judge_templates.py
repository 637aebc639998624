"""The templates of gate notebooks: what their readers find, and that they run under papermill and nbval as they are."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from models import frame
from sklearn.cluster import KMeans
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from nbdeploy.judge import metrics, records
from nbdeploy.settings import Settings
from nbdeploy.templates import template
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = ("classification", "regression", "unsupervised")
GIVEN = {"url", "token_file", "data", "target", "live_url", "out"}


def cells(task: str) -> list[Any]:
    found: list[Any] = nbformat.read(template(f"validate_{task}.ipynb"), as_version=4).cells
    return found


@pytest.mark.parametrize("task", TASKS)
def test_a_template_is_short_cells_each_under_its_heading(task: str) -> None:
    nbformat.validate(nbformat.read(template(f"validate_{task}.ipynb"), as_version=4))
    for before, cell in zip(cells(task), cells(task)[1:], strict=False):
        assert not cell.get("outputs")
        if cell.cell_type == "code":
            assert before.cell_type == "markdown"
            assert before.source.startswith("## ")
            assert len(before.source.splitlines()) >= 3
            assert len(cell.source.splitlines()) <= 16
            ast.parse(cell.source)


@pytest.mark.parametrize("task", TASKS)
def test_a_template_declares_what_a_gate_is_given(task: str) -> None:
    (cell,) = [cell for cell in cells(task) if "parameters" in cell.metadata.get("tags", ())]
    body: list[Any] = ast.parse(cell.source).body
    declared = {node.targets[0].id: ast.literal_eval(node.value) for node in body}
    assert set(declared) >= GIVEN
    assert all(declared[name] == "" for name in GIVEN)


@dataclass(frozen=True)
class Service:
    task: str
    url: str
    token_file: str
    data: Path
    target: str


def model_of(estimator: Any) -> Any:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
    )
    return make_pipeline(columns, estimator)


ESTIMATORS = {
    "classification": (LogisticRegression(), "island"),
    "regression": (Ridge(), "mass"),
    "unsupervised": (KMeans(3, n_init=1, random_state=0), ""),
}


def rows(seed: int) -> Any:
    """Whose island and mass can be told from the other columns, but not from one alone."""
    found = frame(200, seed=seed)
    found["mass"] = 100 * found["bill"].fillna(44) + 30 * found["age"]
    found["island"] = (found["bill"].fillna(44) + found["age"] > 54).map({True: "Dream", False: "Biscoe"})
    return found


@pytest.fixture(scope="module", params=TASKS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(request.param)
    settings = replace(Settings.load(folder), home=folder / "nbdeploy", bentoml_home=folder / "bentoml")
    estimator, target = ESTIMATORS[request.param]
    train = rows(0)
    X, y = (train.drop(columns=target), train[target]) if target else (train, None)
    rows(1).to_csv(folder / "held.csv", index=False)
    workspace = Workspace(settings)
    made = workspace.deploy(model_of(estimator).fit(X, y), name="judged", sample=X, target=y)
    try:
        yield Service(request.param, made.url, str(made.token_file), folder / "held.csv", target)
    finally:
        workspace.stop("judged")


def given(service: Service, folder: Path) -> dict[str, str]:
    return {
        "url": service.url,
        "token_file": service.token_file,
        "data": str(service.data),
        "target": service.target,
        "live_url": service.url,
        "out": str(folder / "out"),
    }


@pytest.mark.slow
@pytest.mark.thorough
def test_papermill_runs_a_template_as_it_is(service: Service, tmp_path: Path) -> None:
    done = tmp_path / "executed.ipynb"
    argv = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3"]
    argv += [str(template(f"validate_{service.task}.ipynb")), str(done)]
    for name, value in given(service, tmp_path).items():
        argv += ["-r", name, value]
    told = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path)
    assert told.returncode == 0, told.stderr[-3000:]
    notebook = nbformat.read(done, as_version=4)
    found = records.read(notebook)
    assert [one for one in found.expectations if not one.passed] == []
    assert len(found.expectations) >= 5
    main = {"classification": "accuracy", "regression": "mae", "unsupervised": "silhouette"}[service.task]
    estimate = found.named[main].value
    assert estimate.low < estimate.value < estimate.high
    assert estimate.n == 200
    assert f"live.{main}" in found.named
    assert {metrics.bare(name) for name, one in found.named.items() if one.estimate} == metrics.RECORDED[service.task]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output["output_type"] for output in outputs} == {"display_data"}  # nothing on stderr
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output["data"]]
    assert len(pictures) >= 2
    assert max(map(len, pictures)) < 100_000
    if service.task != "unsupervised":
        assert f"{main}@sex=female" in found.named
        assert f"live.{main}@sex=female" in found.named


@pytest.mark.slow
@pytest.mark.parametrize("service", ["classification"], indirect=True)
@pytest.mark.thorough
def test_nbval_runs_a_template_whose_parameters_are_filled_in(service: Service, tmp_path: Path) -> None:
    notebook = nbformat.read(template(f"validate_{service.task}.ipynb"), as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in given(service, tmp_path).items())
    copy = tmp_path / "mine.ipynb"
    nbformat.write(notebook, copy)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        str(copy),
    ]
    told = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path, env={**os.environ}
    )
    assert told.returncode == 0, told.stdout[-3000:]
