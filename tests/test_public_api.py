"""What `import nbdeploy` gives, and what it costs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import nbdeploy
from nbdeploy import default
from nbdeploy.judge import records

if TYPE_CHECKING:
    from pathlib import Path

VERBS = "alerts at attach bundle check deploy diff export feedback import_bundle monitor panel predictions publish rollback serve services stop validate versions"


def test_the_public_names_are_sorted_and_those_of_the_contract() -> None:
    assert nbdeploy.__all__ == sorted(nbdeploy.__all__)
    assert nbdeploy.__all__ == sorted(["Workspace", *VERBS.split(), "expect", "record"])
    assert set(nbdeploy.__all__) <= set(dir(nbdeploy))


@pytest.mark.parametrize("name", VERBS.split())
def test_each_verb_is_that_of_the_default_workspace(name: str, settings: object) -> None:
    default.workspace.cache_clear()
    verb = getattr(nbdeploy, name)
    assert inspect.ismethod(verb)
    assert verb.__self__ is default.workspace()
    assert verb.__func__ is getattr(nbdeploy.Workspace, name)
    default.workspace.cache_clear()


def test_a_gate_notebook_says_what_it_has_to_say_without_a_workspace() -> None:
    default.workspace.cache_clear()
    assert nbdeploy.record is records.record
    assert nbdeploy.expect is records.expect
    assert default.workspace.cache_info().currsize == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'nbdeploy' has no attribute 'deploi'"):
        nbdeploy.deploi  # noqa: B018


def test_the_contract_s_keywords_are_there() -> None:
    parameters = inspect.signature(nbdeploy.Workspace.deploy).parameters
    contract = "model name sample target data validate gate bump launcher workers port"
    assert set(contract.split()) <= set(parameters)
    assert parameters["sample"].kind is inspect.Parameter.KEYWORD_ONLY


IMPORT = "import sys; before = set(sys.modules); import nbdeploy; print(*sorted(set(sys.modules) - before))"
LOAD = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
shell.run_line_magic("load_ext", "nbdeploy")
assert "deploy" in shell.magics_manager.magics["line"]
print(*sorted(set(sys.modules) - before))
"""
HEAVY = {
    "bentoml",
    "click",
    "cloudpickle",
    "duckdb",
    "ipywidgets",
    "joblib",
    "matplotlib",
    "narwhals",
    "nbconvert",
    "numpy",
    "pandas",
    "papermill",
    "psutil",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "uvicorn",
}


def loaded(code: str, home: Path) -> set[str]:
    """The top-level modules that code brings in, in a process of its own."""
    environment = os.environ | {"IPYTHONDIR": str(home / "ipython")}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return {name.partition(".")[0] for name in told.stdout.split()}


def test_importing_brings_in_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded(IMPORT, tmp_path) & {*HEAVY, "IPython"}


def test_loading_the_extension_brings_in_nothing_heavy(tmp_path: Path) -> None:
    found = loaded(LOAD, tmp_path)
    assert "nbdeploy" in found
    assert not found & HEAVY
