"""Imports point one way: who may import whom, read from the source, and the runtime alone in a bare interpreter."""

from __future__ import annotations

import ast
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "nbdeploy"

LEAVES = {
    "errors",
    "homes",
    "settings",
    "names",
    "reference",
    "templates",
    "turns",
    "ephemeral",
    "parquet",
    "spans",
    "interruption",
    "execution",
    "render",
    "wording",
}
FRONT = {"front", "default"}
API = {
    "workspace",
    "deployment",
    "takeover",
    "trial",
    "hindsight",
    "watching",
    "labelling",
    "overview",
    "gating",
    "alerting",
    "admission",
    "exporting",
}  # workspace is the door, the others are its parts
STAGES = ["capture", "keep", "run", "judge", "watch"]  # a stage may use those before it

ALLOWED: dict[str, set[str]] = {
    "runtime": set(),
    "errors": set(),
    "render": set(),
    "homes": {"errors"},
    "names": {"errors"},
    "settings": {"errors"},
    "reference": {"errors"},
    "templates": {"errors"},
    "turns": {"homes", "interruption"},
    "ephemeral": {"turns"},
    "parquet": {"errors", "runtime"},
    "spans": {"errors"},
    "interruption": set(),
    "wording": set(),
    **{part: {*LEAVES, *STAGES, *API, "runtime"} for part in API},
    "execution": {"errors", "homes", "interruption"},
    **{stage: {*LEAVES, *STAGES[:place], "runtime"} for place, stage in enumerate(STAGES)},
    "default": {"workspace"},
    "front": {"errors", "names", "parquet", "reference", "render", "execution", "wording", "workspace", "default"},
    # of the stages it names the types of what the workspace gives it
    "widgets": {"errors", "names", "render", "interruption", "overview", "workspace", "runtime", *STAGES, *FRONT},
    "magics": {"errors", "render", "workspace", "runtime", "widgets", *FRONT},
    "cli": {"errors", "names", "render", "workspace", *FRONT},
    "__main__": {"cli"},
    "__init__": {
        "default",
        "workspace",
        "magics",
        "judge",
        "capture",
        "widgets",
    },  # capture watches executions from %load_ext on
}

# One door a heavy dependency: the only modules of the notebook side that may import it.
DOORS = {
    "papermill": {"execution"},
    "nbconvert": {"judge"},
    "bleach": {"judge"},
    "click": {"cli", "front"},
    "IPython": {"magics", "front", "render", "capture", "widgets"},
    "duckdb": {"parquet"},
    "apprise": {"watch"},
    "bentoml": set[str](),
    "ipywidgets": {"widgets"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module that a file's statements name, absolute; also those inside functions."""
    found: set[str] = set()
    home = ("nbdeploy", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(home[: len(home) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found |= {module} if module != "nbdeploy" else {f"nbdeploy.{alias.name}" for alias in node.names}
    return found


def own(path: Path) -> set[str]:
    """The layers of ours that a file uses."""
    names = [name.split(".") for name in imported(path)]
    return {parts[1] if len(parts) > 1 else "__init__" for parts in names if parts[0] == "nbdeploy"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    here = layer(path)
    assert here in ALLOWED, f"{here} has no place in the layers yet: docs/architecture.md and this table"
    wrong = own(path) - ALLOWED[here] - {here}
    assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_heavy_dependency_has_one_door(path: Path) -> None:
    if layer(path) == "runtime":
        return
    tops = {name.partition(".")[0] for name in imported(path)}
    wrong = {name for name in tops & set(DOORS) if layer(path) not in DOORS[name]}
    assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "runtime").rglob("*.py")), ids=lambda path: path.name)
def test_the_runtime_names_nothing_of_ours(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1
        else:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.partition(".")[0] in {"nbdeploy", "nbdeploy_runtime"}]


def test_no_import_goes_round_in_a_circle() -> None:
    """Among the top-level modules and packages; what only types need is left out."""
    uses = {layer(path): set[str]() for path in modules()}
    for path in modules():
        uses[layer(path)] |= {name for name in own(path) if name in uses} - {layer(path)}
    uses.pop("__init__")
    while uses:
        free = {name for name, needed in uses.items() if not needed & set(uses)}
        assert free, f"a circle among {sorted(uses)}"
        for name in free:
            del uses[name]


ALONE = """
import importlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
for path in sorted(pathlib.Path(sys.argv[1], "nbdeploy_runtime").glob("*.py")):
    if path.stem not in {"service", "bento"}:  # made for BentoML to load, with a manifest beside them
        importlib.import_module(f"nbdeploy_runtime.{path.stem}" if path.stem != "__init__" else "nbdeploy_runtime")
print(sorted(name for name in sys.modules if name.partition(".")[0] in {"nbdeploy", "IPython", "bentoml", "papermill"}))
"""


def test_the_runtime_stands_alone_under_its_other_name(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "runtime", tmp_path / "nbdeploy_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == "[]"
