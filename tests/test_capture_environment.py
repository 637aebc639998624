from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from nbdeploy.capture import distributions as installed
from nbdeploy.capture import environment
from nbdeploy.capture.environment import Lock, lock, warm
from nbdeploy.errors import CannotTravel
from nbdeploy.runtime.environment import canonical, problems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbdeploy.settings import Settings


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of made-up distributions, first on sys.path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(
    site: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Sequence[str] | None = None,
    needs: Sequence[str] = (),
    origin: dict[str, Any] | None = None,
    installer: str = "pip",
) -> Path:
    files = [f"{name}.py"] if files is None else files
    for file in files:
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("answer = 42\n")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    header = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", *header, "", "Requires-Dist: not-a-header"]))
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    (info / "INSTALLER").write_text(installer + "\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    return info


def names(found: Lock) -> set[str]:
    return {canonical(Requirement(line).name) for line in found.requirements}


def test_the_runtime_and_its_needs_are_always_locked() -> None:
    found = lock([], frames=False)
    assert {
        "bentoml",
        "pydantic",
        "pydantic-core",
        "uvicorn",
        "prometheus-client",
        "numpy",
        "uvloop",
        "httptools",
    } <= names(found)
    assert not {"pandas", "scikit-learn", "jupyterlab", "nbdeploy"} & names(found)
    assert "pandas" in names(lock([], frames=True))
    assert list(found.requirements) == sorted(found.requirements, key=lambda line: canonical(Requirement(line).name))
    assert all(str(Requirement(line).specifier).startswith("==") for line in found.requirements)


def test_the_lock_holds_here() -> None:
    found = lock(["sklearn.pipeline", "pandas", "scipy.sparse"], frames=True)
    assert problems({"python": found.python, "requirements": found.requirements}) == []
    assert {"sklearn", "scipy", "joblib", "threadpoolctl", "pandas", "dateutil", "bentoml", "yaml"} <= set(
        found.modules
    )
    assert found.warnings == ()
    assert found.copied == ()


def test_nbdeploy_the_standard_library_and_captured_code_are_left_out() -> None:
    plain = lock([], frames=False)
    assert (
        lock(
            ["nbdeploy.runtime", "json", "__main__", "notebook_code", "nbdeploy_runtime.model", "no_such"], frames=False
        )
        == plain
    )


def test_a_package_that_needs_nbdeploy_does_not_bring_it(site: Path) -> None:
    install(site, "zeta", needs=["nbdeploy"])
    found = lock(["zeta"], frames=False)
    assert "nbdeploy" not in names(found)
    assert "papermill" not in names(found)
    assert found.copied == ()


def test_needs_are_followed_with_markers_and_extras(site: Path) -> None:
    install(site, "zeta-one", files=["zeta/__init__.py"], needs=["zeta-two[fast]>=1", "zeta-never; python_version<'3'"])
    install(site, "zeta-two", needs=["zeta-three; extra == 'fast'", "zeta-four; extra == 'slow'"])
    install(site, "zeta-three", needs=["zeta-one"])
    install(site, "zeta-four")
    found = lock(["zeta.inner"], frames=False)
    assert {name for name in names(found) if "zeta" in name} == {"zeta-one", "zeta-two", "zeta-three"}
    assert "zeta" in found.modules


def test_a_distribution_is_named_as_it_names_itself(site: Path) -> None:
    install(site, "Zeta.Odd_Name", files=["zeta_odd.py"])
    assert "Zeta.Odd_Name==1.0" in lock(["zeta_odd"], frames=False).requirements


def test_the_owner_of_a_part_of_a_namespace_is_found_by_its_files(site: Path) -> None:
    install(site, "space-one", files=["space/one/__init__.py"])
    install(site, "space-two", files=["space/two/__init__.py", "space/two/deep.py"])
    assert "space-two" in names(lock(["space.two.deep"], frames=False))
    assert "space-one" not in names(lock(["space.two.deep"], frames=False))
    assert {"space-one", "space-two"} <= names(lock(["space.one", "space.two"], frames=False))


def test_what_is_missing_or_in_conflict_is_warned_about(site: Path) -> None:
    install(site, "zeta", needs=["zeta-gone>=2", "zeta-old>=2"])
    install(site, "zeta-old", "1.5")
    assert lock(["zeta"], frames=False).warnings == (
        "zeta needs zeta-gone>=2, which is not installed here",
        "zeta needs zeta-old>=2, but 1.5 is installed here: pip may refuse this lock",
    )


def test_a_commit_is_pinned_without_secrets(site: Path) -> None:
    vcs = {"vcs": "git", "commit_id": "abc123", "requested_revision": "main"}
    install(site, "zeta", origin={"url": "https://me:s3cret@example.org/z.git", "vcs_info": vcs, "subdirectory": "py"})
    found = lock(["zeta"], frames=False)
    assert "zeta @ git+https://example.org/z.git@abc123#subdirectory=py" in found.requirements
    assert problems({"python": found.python, "requirements": found.requirements}) == []


def test_a_commit_of_a_repository_on_this_machine_is_warned_about(site: Path) -> None:
    install(site, "zeta", origin={"url": "file:///home/me/z", "vcs_info": {"vcs": "git", "commit_id": "abc"}})
    found = lock(["zeta"], frames=False)
    assert "zeta==1.0" in found.requirements
    assert "on this machine" in found.warnings[0]


def test_builds_of_one_release_are_pinned_by_the_release(site: Path) -> None:
    install(site, "zeta", "2.4.0+cpu")
    install(site, "eta", "1.0+g1234.dirty")
    found = lock(["zeta", "eta"], frames=False)
    assert {"zeta==2.4.0", "eta==1.0"} <= set(found.requirements)
    assert found.warnings == ("eta 1.0+g1234.dirty is a local build; the lock pins 1.0, as no index can have it",)
    assert problems({"python": found.python, "requirements": found.requirements}) == []


def test_an_editable_install_is_copied_with_its_needs_locked(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "src" / "zlib_ours" / "data").mkdir(parents=True)
    (project / "src" / "zlib_ours" / "__init__.py").write_text("answer = 42\n")
    (project / "src" / "zlib_ours" / "data" / "table.csv").write_text("a\n1\n")
    (project / "other.py").write_text("")
    install(
        site, "zlib-ours", files=[], needs=["zeta"], origin={"url": project.as_uri(), "dir_info": {"editable": True}}
    )
    install(site, "zeta")
    monkeypatch.syspath_prepend(str(project / "src"))
    __import__("zlib_ours")
    try:
        found = lock(["zlib_ours"], frames=False)
    finally:
        del sys.modules["zlib_ours"]
    assert [name for name, _ in found.copied] == ["zlib_ours/__init__.py", "zlib_ours/data/table.csv"]
    assert found.copied[0][1].read_text() == "answer = 42\n"
    assert "zeta" in names(found)
    assert "zlib-ours" not in names(found)
    assert "zlib_ours" not in found.modules


def test_a_package_installed_from_a_folder_is_copied_from_where_it_was_put(site: Path, tmp_path: Path) -> None:
    install(
        site, "zeta", files=["zeta/__init__.py", "zeta_extra.py"], origin={"url": tmp_path.as_uri(), "dir_info": {}}
    )
    assert [name for name, _ in lock(["zeta"], frames=False).copied] == ["zeta/__init__.py", "zeta_extra.py"]


def test_compiled_code_from_a_folder_is_refused_by_name(site: Path, tmp_path: Path) -> None:
    install(
        site, "zeta", files=["zeta/__init__.py", "zeta/_fast.so"], origin={"url": tmp_path.as_uri(), "dir_info": {}}
    )
    with pytest.raises(CannotTravel, match=r"zeta is installed from .* and holds compiled code \(_fast\.so\)"):
        lock(["zeta"], frames=False)


def test_conda_leaves_its_build_folder_and_is_pinned_all_the_same(site: Path) -> None:
    install(site, "zeta", origin={"url": "file:///croot/zeta_1/work", "dir_info": {}}, installer="conda")
    found = lock(["zeta"], frames=False)
    assert "zeta==1.0" in found.requirements
    assert found.copied == ()


def test_a_file_nobody_installed_is_warned_about(site: Path) -> None:
    (site / "zeta_loose.py").write_text("")
    __import__("zeta_loose")
    try:
        assert "belongs to no installed package" in lock(["zeta_loose"], frames=False).warnings[0]
    finally:
        del sys.modules["zeta_loose"]


def test_a_distribution_without_metadata_does_not_disturb(site: Path) -> None:
    (site / "broken-1.0.dist-info").mkdir()
    (site / "~eta-1.0.dist-info").mkdir()
    assert names(lock([], frames=False))


def test_what_is_installed_after_the_first_lock_is_noticed(site: Path) -> None:
    assert "zeta" not in names(lock(["zeta"], frames=False))
    install(site, "zeta")
    assert "zeta" in names(lock(["zeta"], frames=False))


def test_the_digest_is_of_lock_and_minor_version_alone() -> None:
    one = Lock(("a==1",), ("a",), "3.11.7")
    assert one.digest == Lock(("a==1",), ("a", "b"), "3.11.9", warnings=("x",)).digest
    assert one.digest != Lock(("a==1",), ("a",), "3.12.0").digest
    assert one.digest != Lock(("a==2",), ("a",), "3.11.7").digest
    assert one.text() == "a==1\n"


def test_a_lock_reads_nothing_when_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    warm()
    for thread in threading.enumerate():
        if thread.name == "nbdeploy-environment":
            thread.join()

    def refuse(*_: object) -> None:
        raise AssertionError("what is installed was read again")

    with monkeypatch.context() as patch:
        patch.setattr(installed.Distributions, "__init__", refuse)
        patch.setattr("packaging.requirements.Requirement.__init__", refuse)
        found = lock(["sklearn.pipeline", "pandas"], frames=True)
    assert "scikit-learn" in names(found)


def test_reading_agrees_with_the_standard_library() -> None:
    from importlib import metadata

    known = installed.distributions()
    for distribution in metadata.distributions():
        found = known.by_name[canonical(distribution.metadata["Name"])]
        assert found.version == distribution.version
    brought = metadata.packages_distributions()
    for module in ("sklearn", "yaml", "dateutil", "zmq", "bentoml"):
        owner = known.owner(module)
        assert owner is not None
        assert owner.name in brought[module]


SECRET = st.text("abcdefghijklmnop0123456789%._~-", min_size=3)


@given(SECRET, SECRET, st.sampled_from(["https", "ssh"]))
def test_no_url_keeps_a_password(user: str, password: str, scheme: str) -> None:
    clean = environment._without_secrets(f"{scheme}://{user}X:{password}Z@host.example/a/b.git")
    assert clean == f"{scheme}://host.example/a/b.git"
    assert environment._without_secrets("ssh://git@host.example/a.git") == "ssh://git@host.example/a.git"


@pytest.mark.slow
@pytest.mark.thorough
def test_a_whole_lock_installs_into_a_clean_environment(settings: Settings, tmp_path: Path) -> None:
    import subprocess

    from nbdeploy.run import environments, installers

    found = lock(["sklearn.pipeline"], frames=True)
    folder = settings.environments / "clean"
    folder.parent.mkdir(parents=True)
    runner = installers.Runner(lambda _text: None)
    environments._install(folder, list(found.requirements), Path(sys.executable), runner)
    environments._verify(folder, list(found.requirements), "3." + str(sys.version_info[1]), runner)
    code = f"import sys, importlib; [importlib.import_module(n) for n in {['sklearn', 'pandas', 'bentoml', 'uvloop', 'httptools']!r}]"
    subprocess.run([installers.python_of(folder), "-I", "-c", code], check=True, timeout=120)
