from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdeploy.runtime import environment
from nbdeploy.runtime.environment import canonical, installed_distributions, minor, problems

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMPY = importlib.metadata.version("numpy")


def locked(*requirements: str, python: str = platform.python_version(), **more: Any) -> dict[str, Any]:
    return {"python": python, "requirements": list(requirements), **more}


def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str, *, folder: str = "") -> Path:
    """A distribution in a folder of its own, first on sys.path."""
    where = tmp_path / "site" / (folder or f"{name}-{version}.dist-info")
    where.mkdir(parents=True)
    (where / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n")
    monkeypatch.syspath_prepend(str(where.parent))
    return where


def test_an_environment_that_satisfies_the_lock_has_no_problems() -> None:
    every = [f"{found.metadata['Name']}=={found.version}" for found in importlib.metadata.distributions()]
    assert problems(locked(f"numpy=={NUMPY}")) == []
    assert problems(locked(*every)) == []


def test_another_python_minor_version_is_always_a_problem() -> None:
    assert problems(locked(python="3.9.1", same_minor=False)) == [
        f"this is Python {minor(platform.python_version())}, the bundle was made with Python 3.9"
    ]
    assert problems(locked(implementation="pypy")) == ["this Python is cpython, the bundle was made with pypy"]


def test_a_missing_package_and_another_version_are_named() -> None:
    assert problems(locked("no-such-thing==1.0", "numpy==0.9")) == [
        "no-such-thing is not installed, the bundle needs 1.0",
        f"numpy is {NUMPY} here, the bundle needs 0.9",
    ]
    assert problems(locked("numpy>=1")) == ['the lock holds "numpy>=1", which is not a pinned requirement']


def test_a_pin_without_local_part_accepts_any_build_of_that_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(tmp_path, monkeypatch, "torchlike", "2.4.0+cpu")
    assert problems(locked("torchlike==2.4.0")) == []
    assert problems(locked("torchlike==2.4.0+cpu")) == []
    assert problems(locked("torchlike==2.4.0+cu121")) != []
    assert problems(locked("torchlike==2.4")) != []


def test_metadata_decides_where_the_folder_name_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site(tmp_path, monkeypatch, "oddly", "1.0", folder="oddly.dist-info")
    assert problems(locked("oddly==1.0")) == []
    assert problems(locked("Oddly==1.1")) == ["Oddly is 1.0 here, the bundle needs 1.1"]


def test_a_commit_is_compared_with_the_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = site(tmp_path, monkeypatch, "ours", "1.0")
    wanted = "ours @ git+https://example.org/ours.git@abc123"
    assert "came from an index" in problems(locked(wanted))[0]
    origin = {"url": "https://example.org/ours.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}
    (where / "direct_url.json").write_text(json.dumps(origin))
    assert problems(locked(wanted)) == []
    assert "came from abc123" in problems(locked("ours @ git+https://example.org/ours.git@def456"))[0]
    assert "is not installed" in problems(locked("theirs @ https://example.org/theirs-1.0.tar.gz"))[0]


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.lists(st.text()))))
def test_any_requirement_text_gives_sentences_not_errors(raw: dict[str, Any]) -> None:
    raw["requirements"] = [str(item) for value in raw.values() for item in (value or ())]
    assert all(isinstance(problem, str) for problem in problems(raw))


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True))
def test_canonical_names_are_stable(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name) == canonical(name.replace("_", "-").upper())


def test_folder_names_agree_with_the_metadata() -> None:
    found = installed_distributions()
    for distribution in importlib.metadata.distributions():
        name = canonical(distribution.metadata["Name"])
        assert found[name].version.replace("_", "-") == distribution.version


def test_pins_that_fit_are_checked_without_reading_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(installed_distributions().items())[:60]
    pins = locked(*(f"{name}=={found.version}" for name, found in names))
    assert len(names) == 60

    def refuse(name: str) -> str:
        raise AssertionError(f"the metadata of {name} was read")

    monkeypatch.setattr(importlib.metadata, "version", refuse)
    assert problems(pins) == []


GUARDED = """
import sys, json, importlib.util
sys.path[:0] = {paths!r}
import runtime_environment as environment
guard = environment.install_guard({allowed!r}, {folders!r}, {requirements!r})
"""


def guarded(
    code: str,
    tmp_path: Path,
    *,
    allowed: Sequence[str] = (),
    requirements: Sequence[str] = (),
    paths: Sequence[Path] = (),
) -> str:
    """Run code in a fresh interpreter behind a guard; what it printed."""
    lone = tmp_path / "lone"
    lone.mkdir(exist_ok=True)
    (lone / "runtime_environment.py").write_bytes(Path(environment.__file__).read_bytes())
    captured = tmp_path / "captured"
    captured.mkdir(exist_ok=True)
    text = GUARDED.format(
        paths=[str(captured), str(lone), *map(str, paths)],
        allowed=list(allowed),
        folders=[str(captured), str(lone)],
        requirements=list(requirements),
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", text + code], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_module_outside_the_lock_is_refused_by_name(tmp_path: Path) -> None:
    said = guarded(
        """
try:
    import yaml
except ModuleNotFoundError as exc:
    print(exc.name, exc)
""",
        tmp_path,
    )
    version = importlib.metadata.version("pyyaml")
    assert said.lower().splitlines() == [
        f"yaml no module named 'yaml': it belongs to pyyaml {version}, which is not part of this bundle's lock",
    ]


def test_a_look_for_an_outsider_finds_nothing_and_raises_nothing(tmp_path: Path) -> None:
    assert (
        guarded("print(importlib.util.find_spec('yaml'), importlib.util.find_spec('no_such'))", tmp_path) == "None None"
    )


def test_what_is_locked_standard_or_captured_may_be_imported(tmp_path: Path) -> None:
    (tmp_path / "captured").mkdir()
    (tmp_path / "captured" / "notebook_code.py").write_text("answer = 42\n")
    said = guarded(
        """
import notebook_code, sqlite3, sysconfig, ctypes, multiprocessing.pool, yaml
sysconfig.get_config_vars()
print(notebook_code.answer)
""",
        tmp_path,
        allowed=["yaml", "_yaml"],
    )
    assert said == "42"


def test_a_loose_file_outside_the_bundle_is_refused_by_its_place(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "loose.py").write_text("")
    said = guarded("try:\n    import loose\nexcept ImportError as exc:\n    print(exc)", tmp_path, paths=[elsewhere])
    assert f"it lies in {elsewhere / 'loose.py'}" in said


def test_a_foreign_part_of_a_shared_namespace_is_refused(tmp_path: Path) -> None:
    said = guarded(
        """
import opentelemetry.trace
try:
    import opentelemetry.sdk
except ModuleNotFoundError as exc:
    print(exc)
from importlib import metadata
print([found.name for found in metadata.distributions()], metadata.version("opentelemetry-api") > "1")
try:
    metadata.version("pyyaml")
except metadata.PackageNotFoundError:
    print("hidden")
""",
        tmp_path,
        allowed=["opentelemetry", "typing_extensions", "importlib_metadata", "deprecated", "wrapt"],
        requirements=["opentelemetry-api==1.0", "typing_extensions==4"],
    )
    assert "opentelemetry_sdk" in said
    assert "hidden" in said
    assert "pyyaml" not in said.lower()


def test_entry_points_are_found_behind_a_guard_without_reading_the_metadata_of_everything(tmp_path: Path) -> None:
    said = guarded(
        """
from importlib import metadata
read = []
parse = metadata.PathDistribution.read_text
metadata.PathDistribution.read_text = lambda self, name: (read.append(name), parse(self, name))[1]
print(len(metadata.entry_points(group="pytest11")), [point.name for point in metadata.entry_points(group="console_scripts")])
print(sorted(set(read)))
""",
        tmp_path,
        requirements=["uvicorn==1"],
    )
    assert said.splitlines() == ["0 ['uvicorn']", "['entry_points.txt']"]


@pytest.mark.slow
def test_pandas_and_uvicorn_work_behind_a_guard_without_their_optional_packages(tmp_path: Path) -> None:
    from nbdeploy.capture.environment import lock

    found = lock(["pandas", "sklearn"], frames=True)
    said = guarded(
        """
import pandas, sklearn.linear_model, uvicorn, uvloop, httptools, pydantic, prometheus_client, sys
pandas.DataFrame({"a": [1, 2], "b": ["x", None]}).describe()
import uvicorn.protocols.http.httptools_impl
try:
    import polars
except ModuleNotFoundError:
    print("no polars")
""",
        tmp_path,
        allowed=found.modules,
        requirements=found.requirements,
    )
    assert said == "no polars"


@pytest.mark.slow
def test_bentoml_imports_behind_a_guard(tmp_path: Path) -> None:
    from nbdeploy.capture.environment import lock

    found = lock([], frames=False)
    code = "import os, bentoml\nprint(bentoml.service.__name__)"
    os.environ["BENTOML_HOME"] = str(tmp_path / "bentoml")
    try:
        assert guarded(code, tmp_path, allowed=found.modules, requirements=found.requirements) == "service"
    finally:
        del os.environ["BENTOML_HOME"]


def test_a_removed_guard_lets_everything_in_again() -> None:
    before = list(sys.meta_path)
    guard = environment.install_guard([], [])
    guard.invalidate_caches()
    guard.remove()
    assert sys.meta_path == before
