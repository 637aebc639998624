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

if TYPE_CHECKING:
    from pathlib import Path

VERBS = "at attach bundle check deploy diff export import_bundle publish rollback serve services stop versions"


def test_the_public_names_are_sorted_and_those_of_the_contract() -> None:
    assert nbdeploy.__all__ == sorted(nbdeploy.__all__)
    assert nbdeploy.__all__ == ["Workspace", *VERBS.split()]
    assert set(nbdeploy.__all__) <= set(dir(nbdeploy))


@pytest.mark.parametrize("name", VERBS.split())
def test_each_verb_is_that_of_the_default_workspace(name: str, settings: object) -> None:
    default.workspace.cache_clear()
    verb = getattr(nbdeploy, name)
    assert inspect.ismethod(verb)
    assert verb.__self__ is default.workspace()
    assert verb.__func__ is getattr(nbdeploy.Workspace, name)
    default.workspace.cache_clear()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'nbdeploy' has no attribute 'deploi'"):
        nbdeploy.deploi  # noqa: B018


def test_the_contract_s_keywords_are_there() -> None:
    parameters = inspect.signature(nbdeploy.Workspace.deploy).parameters
    contract = "model name sample target data validate gate bump launcher workers port"
    assert set(contract.split()) <= set(parameters)
    assert parameters["sample"].kind is inspect.Parameter.KEYWORD_ONLY


COUNT = "import sys; before = set(sys.modules); import nbdeploy; print(*sorted(set(sys.modules) - before))"
TIME = "import time; t = time.perf_counter(); import nbdeploy; print((time.perf_counter() - t) * 1000)"
LOAD = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
t = time.perf_counter()
shell.run_line_magic("load_ext", "nbdeploy")
print((time.perf_counter() - t) * 1000)
"""


def run(code: str, home: Path) -> str:
    """In a process of its own, with bytecode cached, as a user has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPYCACHEPREFIX": str(home / "cache")}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return told.stdout


def test_importing_brings_in_nothing_heavy(tmp_path: Path) -> None:
    loaded = {name.partition(".")[0] for name in run(COUNT, tmp_path).split()}
    assert not loaded & {"IPython", "bentoml", "click", "numpy", "pandas", "papermill", "pydantic", "rich", "sklearn"}


def test_importing_takes_under_50_milliseconds(tmp_path: Path) -> None:
    run(TIME, tmp_path)
    assert min(float(run(TIME, tmp_path)) for _ in range(3)) < 50


def test_loading_the_extension_takes_under_100_milliseconds(tmp_path: Path) -> None:
    run(LOAD, tmp_path)
    assert min(float(run(LOAD, tmp_path)) for _ in range(3)) < 100
