"""An image without an engine: which packages enter it, what a builder's faults are called, what is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from boxes import until
from rules import SAMPLE, Scaled

from nbdeploy.capture.bundle import Bundle
from nbdeploy.errors import EngineMissing, ImageFailed, ServiceFailed, UnknownOption, WrongUse
from nbdeploy.run import container, engine, image, packages, sbom, system
from nbdeploy.run.installers import Runner
from nbdeploy.run.packages import Collector, Source, Target
from nbdeploy.templates import template
from nbdeploy.turns import turn
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbdeploy.settings import Settings

FAKE = """#!/bin/sh
echo "$@" >>"{folder}/calls"
case "$1 $2" in
"version "*) exit 0 ;;
"--version "*) echo "podman version 4.3.1" ;;
"image inspect") case "$3" in {missing}) exit 1 ;; esac; echo '[{{"Id": "sha256:base", "Architecture": "amd64", "Size": 440000000, "Config": {{"Labels": {{}}}}}}]' ;;
"build "*)
    for word in "$@"; do
        [ "$before" = --iidfile ] && echo sha256:built >"$word"
        before=$word
    done
    {build}
    ;;
"tag "*) exit 0 ;;
*) echo "Error: initializing source docker://python:3.11-slim: reading manifest 3.11-slim: manifest unknown" >&2; exit 125 ;;
esac
"""

NETWORK = (
    'Error: pinging container registry docker.io: Get "https://docker.io/v2/": dial tcp: lookup docker.io: no such host'
)
FAULTS = [
    (1, "Error: write /var/tmp/x: no space left on device", "no space left"),
    (
        125,
        'Error: initializing source x: storing layer "0cf03c93" to file: io: read/write on closed pipe',
        "most likely because no space is left where it works",
    ),
    (137, "Copying blob", "killed (137), most likely because memory ran out"),
    (1, "Error: while running runtime: exit status 137", "memory ran out"),
    (
        1,
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "does not answer",
    ),
    (125, NETWORK, "its registry cannot be reached"),
    (
        125,
        "Error: reading manifest 3.99-slim in docker.io/library/python: manifest unknown",
        "neither on this machine nor",
    ),
    (
        125,
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "an authority that podman does not know",
    ),
    (125, "Error: invalid reference format", "named by no image reference"),
    (127, "/bin/sh: 1: python3: not found", "the base image lacks the Python"),
    (1, "another Python than python3.11: 3.13.5", "the base image lacks the Python"),
    (1, "something nobody has seen", "ended with exit code 1"),
]


def wheel(folder: Path, name: str = "tiny", version: str = "1.0") -> Path:
    """A package with a module, a test and what compilers read."""
    folder.mkdir(exist_ok=True)
    path, about = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": "",
        f"{name}/tests/test_it.py": "",
        f"{name}/fast.pyx": "",
        f"{about}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{item},,\n" for item in (*files, f"{about}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for item, text in files.items():
            archive.writestr(item, text)
    return path


def collect(folder: Path, wheels: Path, lines: Sequence[str] = ("tiny==1.0",), known: str | None = None) -> str:
    folder.mkdir(exist_ok=True)
    collector = Collector(Target("3.11", "amd64"), Source(wheels), Runner(lambda _text: None))
    return collector.collect(lines, folder, known)


@pytest.fixture(params=["uv", "pip"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one there is: none stands in for the other."""
    if request.param == "pip":
        monkeypatch.setattr(packages, "find_uv", lambda: None)
    else:
        monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    return str(request.param)


@pytest.mark.slow
def test_the_lock_names_the_hash_of_every_wheel_and_no_index_is_asked(tmp_path: Path, tool: str) -> None:
    digest = hashlib.sha256(wheel(tmp_path / "wheels").read_bytes()).hexdigest()
    wheel(tmp_path / "wheels", version="2.0")
    (tmp_path / "wheels" / "no.whl").touch()
    lock = collect(tmp_path / "context", tmp_path / "wheels")
    assert f"sha256:{digest}" in lock
    assert packages.pins_of(lock) == {"tiny": "1.0"}
    there = sorted(
        str(path.relative_to(tmp_path / "context" / "packages"))
        for path in (tmp_path / "context" / "packages").rglob("*")
    )
    assert "tiny/__init__.py" in there
    assert not [path for path in there if "tests" in path or path.endswith(".pyx") or path.startswith("bin")]
    assert sbom.licences(tmp_path / "context" / "packages") == {"tiny": "MIT"}


@pytest.mark.slow
def test_another_file_than_the_lock_knows_is_refused(tmp_path: Path, tool: str) -> None:
    wheel(tmp_path / "wheels")
    known = f"tiny==1.0 --hash=sha256:{'0' * 64}\n"
    with pytest.raises(ImageFailed, match="not the file whose hash is known; see who changed it"):
        collect(tmp_path / "context", tmp_path / "wheels", known=known)


@pytest.mark.slow
def test_a_wheel_that_the_wheelhouse_lacks_is_named(tmp_path: Path, tool: str) -> None:
    wheel(tmp_path / "wheels")
    with pytest.raises(ImageFailed, match=r"other.*\n?.*put the missing wheels .* into .*wheels"):
        collect(tmp_path / "context", tmp_path / "wheels", ["tiny==1.0", "other==2.0"])


def test_what_comes_from_a_repository_is_taken_from_the_wheelhouse(tmp_path: Path) -> None:
    line = "tiny @ git+https://example.com/tiny.git@abc"
    with pytest.raises(ImageFailed, match="tiny comes from a repository, so no hash can be checked"):
        packages.plain([line], Source())
    wheel(tmp_path / "wheels", version="1.5")
    assert packages.plain([line, "a==1"], Source(tmp_path / "wheels")) == ["tiny==1.5", "a==1"]


@pytest.mark.parametrize(("code", "said", "fact"), FAULTS)
def test_a_fault_of_the_builder_is_explained_and_its_last_words_are_shown(code: int, said: str, fact: str) -> None:
    failed = engine.explained(engine.Engine("podman", "podman"), "The image", code, ["STEP 1: FROM x", said])
    assert fact in str(failed)
    assert said in failed.log
    assert "Traceback" not in str(failed)


def test_a_password_in_what_a_builder_says_is_not_shown() -> None:
    said = "Error: https://user:secret@registry.example/v2/: something"
    assert "secret" not in str(engine.explained(engine.Engine("podman", "podman"), "The image", 1, [said]))


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, build: str = "exit 0", missing: str = "-") -> Path:
    """A podman that does as it is told, alone on PATH but for the shell's tools; the file of its calls."""
    place = folder / "engines"
    place.mkdir()
    program = place / "podman"
    program.write_text(FAKE.format(folder=folder, build=build, missing=missing))
    program.chmod(0o755)
    for tool in ("sh", "echo", "sleep"):
        (place / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(place))
    return folder / "calls"


@pytest.fixture
def published(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """One version, and packages that need no index."""

    def collected(_self: Collector, lines: Sequence[str], folder: Path, _known: str | None = None) -> str:
        (folder / "packages").mkdir()
        return "".join(f"{line} --hash=sha256:{'0' * 64}\n" for line in lines)

    monkeypatch.setattr(Collector, "collect", collected)
    workspace = Workspace(settings)
    workspace.publish(workspace.bundle(Scaled(2.0), name="scaled", sample=SAMPLE))
    return workspace


def test_an_image_is_built_without_a_network_and_described_beside_it(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake(tmp_path, monkeypatch)
    made = published.image("scaled", tag=["models/scaled:new", "models/scaled:latest"])
    builds = [line for line in calls.read_text().splitlines() if line.startswith("build")]
    assert len(builds) == 2
    assert all("--network none" in line and "--format docker" in line for line in builds)
    assert not any("--tag" in line for line in builds)  # a builder that outlives us names nothing
    named = [line for line in calls.read_text().splitlines() if line.startswith("tag sha256:built ")]
    assert named[-1].endswith(" models/scaled:new models/scaled:latest")
    version = published.versions("scaled")[0]
    given = dict(re.findall(r"--build-arg (LABEL_\d)=(\S+)", builds[-1]))
    assert list(given.values())[-2:] == [version.digest, "none"]
    assert given["LABEL_2"] == "1.0.0"
    known = json.loads(made.sbom.read_text())
    assert (known["bomFormat"], known["metadata"]["component"]["version"]) == ("CycloneDX", "1.0.0")
    assert {item["type"] for item in known["components"]} == {"library", "machine-learning-model"}
    assert len(known["components"]) == made.packages + 1
    assert len(made.lock.read_text().splitlines()) == made.packages
    assert "440 MB" in str(made)


@pytest.mark.slow
def test_what_a_worker_imports_is_compiled_in_an_image() -> None:
    left_out = re.compile("|".join((template("image") / "uncompiled.txt").read_text(encoding="utf-8").split()))
    sklearn = (
        "ensemble, pipeline, compose, impute, svm, neighbors, neural_network, gaussian_process, cluster, naive_bayes"
    )
    scipy = (
        "stats, optimize, signal, interpolate, integrate, ndimage, sparse.linalg, spatial, special, fft, io, cluster"
    )
    modules = [f"sklearn.{name}" for name in sklearn.split(", ")] + [f"scipy.{name}" for name in scipy.split(", ")]
    asked = f"import {', '.join(modules)}, pandas, uvicorn, uvicorn.protocols.http.httptools_impl, nbdeploy.runtime.app, sys"
    asked += "; print(*(getattr(m, '__file__', 0) for m in sys.modules.values()), sep='\\n')"
    told = subprocess.run([sys.executable, "-P", "-c", asked], capture_output=True, text=True, check=True).stdout
    assert "/site-packages/sklearn/" in told
    assert [path for path in told.splitlines() if left_out.match(path.rpartition("site-packages/")[2])] == []


def test_packages_are_laid_out_for_everybody_and_what_is_no_python_has_no_bytecode(tmp_path: Path) -> None:
    source, target = tmp_path / "packages", tmp_path / "site-packages"
    for name, text in {
        "a/b/c.py": "x = 1",
        "a/template.py": "{% x %}",
        "left/out.py": "",
        "one.py": "",
        "d/t": "x",
    }.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
        (source / name).chmod(0o600)
    (source / "d" / "t").chmod(0o700)
    (tmp_path / "uncompiled.txt").write_text("left/\nb/\n")
    words = [template("image") / "install.py", source, target, tmp_path / "uncompiled.txt"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, umask=0o022, check=True)
    assert done.stdout + done.stderr == ""
    files = {str(path.relative_to(target)): path for path in target.rglob("*") if path.is_file()}
    bytecode = [name for name in files if name.endswith(".pyc")]
    tag = sys.implementation.cache_tag
    assert sorted(bytecode) == [f"__pycache__/one.{tag}.pyc", f"a/b/__pycache__/c.{tag}.pyc"]
    assert {files[name].read_bytes()[4] for name in bytecode} == {1}, "by hash, and never checked"
    assert {name for name in files if name not in bytecode} == {
        "a/b/c.py",
        "a/template.py",
        "left/out.py",
        "one.py",
        "d/t",
    }
    modes = {name: path.stat().st_mode & 0o777 for name, path in files.items()}
    assert (modes["a/b/c.py"], modes["d/t"]) == (0o644, 0o755)


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        ("os.kill(os.getpid(), 9)", 137, "A process in the process pool was terminated abruptly"),
        ("raise OSError(28, 'No space left on device')", 1, "[Errno 28] No space left on device\n"),
    ],
    ids=["killed", "full"],
)
def test_laying_out_ends_when_one_of_its_processes_cannot_go_on(
    fault: str, code: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "one.py").write_text("")
    (tmp_path / "uncompiled.txt").write_text("left/")
    broken = "import os\nclass PycInvalidationMode:\n    UNCHECKED_HASH = 1\ndef compile(*_, **__):\n    "
    (tmp_path / "py_compile.py").write_text(broken + fault)
    words = [template("image") / "install.py", tmp_path / "packages", tmp_path / "to", tmp_path / "uncompiled.txt"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr[: len(told)]) == (code, told)
    assert "Traceback" not in done.stderr


def test_packages_are_not_laid_where_the_base_image_has_no_such_python(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "uncompiled.txt").write_text("left/")
    target = tmp_path / "lib" / "python3.99" / "site-packages"
    words = [template("image") / "install.py", tmp_path / "packages", target, tmp_path / "uncompiled.txt"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("another Python than python3.99: 3.")
    assert not target.exists()


def test_a_base_image_with_a_user_of_its_own_is_slimmed_all_the_same() -> None:
    lines = (template("image") / "system.Containerfile").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("RUN"))
    assert "USER 0" in lines[:at]


def test_the_settings_of_a_base_image_are_in_no_system(tmp_path: Path) -> None:
    def words(name: str, **config: object) -> list[str]:
        return system.System(engine.Engine(name, name), tmp_path, "python:3.11", "id", config)._arguments()

    copied = ["--build-arg", "BASE=python:3.11"]
    merged = [*copied, "--target", "slimmed", "--squash-all"]
    known: dict[str, Any] = {"Env": ["A=1", "B"], "Labels": {"io.buildah.version": "1.28.2"}, "Cmd": ["python3"]}
    lasting: tuple[dict[str, Any], ...] = (
        {"Labels": {"vendor": "x"}},
        {"Volumes": {"/data": {}}},
        {"ExposedPorts": {"80/tcp": {}}},
        {"WorkingDir": "/srv"},
    )
    assert words("podman", **known) == [*merged, "--unsetenv=A", "--unsetenv=B"]
    assert words("podman", Env=None, Labels=None) == merged
    for kept in lasting:
        assert words("podman", **known | kept) == copied
    assert words("docker", **known) == copied
    assert "FROM ${BASE} AS slimmed\n" in (template("image") / "system.Containerfile").read_text()


def of_scaled(published: Workspace) -> tuple[image.Builder, Bundle]:
    version = published.versions("scaled")[0]
    return image.Builder(engine.find(), published.settings.images), Bundle(version.bundle, version.manifest())


def test_the_system_is_made_while_the_packages_are_collected(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collecting = tmp_path / "collecting"
    waits = f"for _ in 1 2 3 4 5 6 7 8 9; do [ -e {collecting} ] && exit 0; sleep 1; done; exit 1"
    calls = fake(tmp_path, monkeypatch, waits, f"{system.REPOSITORY}:*")
    builder, bundle = of_scaled(published)
    collect = Collector.collect

    def collected(self: Collector, lines: Sequence[str], folder: Path, known: str | None = None) -> str:
        until(lambda: "system.Containerfile" in calls.read_text(), "nobody makes the system meanwhile")
        collecting.touch()
        return collect(self, lines, folder, known)

    monkeypatch.setattr(Collector, "collect", collected)
    builder.dependencies(bundle)
    told = calls.read_text()
    assert told.index(f"tag sha256:built {system.REPOSITORY}") < told.index(f"SYSTEM={system.REPOSITORY}")


def test_what_the_packages_were_built_from_goes_while_the_model_is_built(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch)
    builder, bundle = of_scaled(published)
    place = builder._plan(bundle).folder
    left: list[tuple[bool, bool]] = []

    @contextmanager
    def building(_self: engine.Engine, _what: str, _folder: Path, file: str, *_: object) -> Iterator[None]:
        before = bool(list(place.glob("*/packages")))
        yield
        if file.startswith("model"):
            left.append((before, bool(list(place.glob("*/packages")))))

    monkeypatch.setattr(engine.Engine, "building", building)
    builder.image(bundle, ["scaled:1"], {})
    assert left == [(True, False)]


def test_a_system_is_given_up_with_the_packages(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake(tmp_path, monkeypatch, f"sleep 5; echo finished >>{tmp_path}/calls; exit 0", f"{system.REPOSITORY}:*")
    builder, bundle = of_scaled(published)
    monkeypatch.setattr(engine, "MERCY", 0.2)

    def collected(_self: Collector, *_: object) -> str:
        until(lambda: "build" in calls.read_text(), "nobody makes the system meanwhile")
        raise ImageFailed("The image", "no index offers tiny", "")

    monkeypatch.setattr(Collector, "collect", collected)
    with pytest.raises(ImageFailed, match="no index offers tiny"):
        builder.dependencies(bundle)
    assert [path for path in builder.home.rglob("*") if path.is_file() and path.name != "turn.lock"] == []
    assert "finished" not in calls.read_text()


def test_what_was_built_and_gets_no_name_is_removed(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake(tmp_path, monkeypatch, "exit 0", f"{system.REPOSITORY}:*")
    builder, bundle = of_scaled(published)

    def collected(_self: Collector, *_: object) -> str:
        until(lambda: list(builder.home.rglob("image.id")) != [], "nobody makes the system meanwhile")
        raise ImageFailed("The image", "the package index did not answer", "")

    monkeypatch.setattr(Collector, "collect", collected)
    with pytest.raises(ImageFailed, match="did not answer"):
        builder.dependencies(bundle)
    assert calls.read_text().splitlines()[-1] == "rmi sha256:built"


def test_the_same_version_has_the_same_bill_of_materials(published: Workspace) -> None:
    manifest = published.versions("scaled")[0].manifest()
    assert sbom.sbom(manifest, "1.0.0", {"a": "1"}, {}) == sbom.sbom(manifest, "1.0.0", {"a": "1"}, {})


def test_a_builder_that_fails_leaves_nothing_behind(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, "echo 'no space left on device' >&2; exit 1", f"{image.DEPENDENCIES}:none")
    with pytest.raises(ImageFailed, match="no space left where podman keeps its images"):
        published.image("scaled")
    left = [path for path in published.settings.images.rglob("*") if path.is_file() and path.name != "turn.lock"]
    assert left == []


def test_a_base_that_cannot_be_had_fails_the_image(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, missing="python:3.99")
    with pytest.raises(ImageFailed, match="The image cannot be built: the base image is neither on this machine nor"):
        published.image("scaled", base="python:3.99")


def test_who_waits_for_another_build_is_told_for_what(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch)
    (builder, bundle), said = of_scaled(published), list[str]()

    def waited(text: str) -> None:
        said.append(text)
        held.close()

    with ExitStack() as held:
        held.enter_context(turn(builder._plan(bundle).folder, said.append))
        replace(builder, progress=waited).dependencies(bundle)
    assert said[0] == "waiting: another process builds the image of the same lock"


def test_what_a_killed_build_left_is_not_built_upon(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch)
    builder, bundle = of_scaled(published)
    plan = builder._plan(bundle)
    for place in (plan.folder / f"{system.CONTEXT}dead" / "packages" / "half", builder.home / f"{image.MODEL}dead"):
        place.mkdir(parents=True)
    seen: list[Path] = []

    def building(_self: engine.Engine, _what: str, folder: Path, *_: object) -> nullcontext[None]:
        seen.append(folder)
        return nullcontext()

    monkeypatch.setattr(engine.Engine, "building", building)
    published.image("scaled")
    assert len(seen) == 2
    assert "dead" not in {folder.name.rpartition("-")[2] for folder in seen}
    folders = [path.name for path in (*plan.folder.iterdir(), *builder.home.iterdir()) if path.is_dir()]
    assert sorted(folders) == ["dependencies", "scaled", "systems"]


def test_without_an_engine_it_is_said_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="docker is not on PATH; podman is not on PATH"):
        engine.find()
    with pytest.raises(UnknownOption, match="podman"):
        engine.find("podmann")


def test_an_engine_whose_daemon_is_down_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch)
    down = tmp_path / "engines" / "docker"
    down.write_text("#!/bin/sh\necho 'Is the docker daemon running?' >&2\nexit 1\n")
    down.chmod(0o755)
    assert engine.find().name == "podman"
    with pytest.raises(EngineMissing, match=r"docker: Is the docker daemon running\?"):
        engine.find("docker")
    down.write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    with pytest.raises(EngineMissing, match=r"docker: no answer within 0\.2 s"):
        engine.find("docker")


def test_a_wheelhouse_that_is_no_folder_is_wrong_use(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch)
    with pytest.raises(WrongUse, match="is no folder"):
        published.image("scaled", wheelhouse=tmp_path / "none")


def test_an_engine_that_talks_nonsense_is_told_about(tmp_path: Path) -> None:
    odd = tmp_path / "podman"
    odd.write_text("#!/bin/sh\necho hello\n")
    odd.chmod(0o755)
    with pytest.raises(
        ServiceFailed, match=r"what it tells of an image is not JSON; see what `.*podman image inspect a:1`"
    ):
        engine.Engine("podman", str(odd)).image("a:1")
    assert "it said nothing; see what `podman info` says" in str(
        engine.explained(engine.Engine("podman", ""), "The image", 3, [])
    )


def test_a_home_that_no_engine_can_mount_is_refused(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch)
    version = published.versions("scaled")[0]
    bundle = Bundle(version.bundle, version.manifest())
    with pytest.raises(ImageFailed, match=r"has a comma in its path, .*; set NBDEPLOY_HOME to a folder without one"):
        image.Builder(engine.find(), tmp_path / "a,b").image(bundle, ("a:1",), {})


@pytest.mark.parametrize("tag", ["Scaled:1", "scaled:1 --privileged", "-v", "scaled@sha256:12", "https://a/b:1", ""])
def test_a_tag_that_is_none_is_wrong_use_before_anything_is_built(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    calls = fake(tmp_path, monkeypatch)
    with pytest.raises(WrongUse, match="is no image reference"):
        published.image("scaled", tag=["models/scaled:1", tag])
    assert "build" not in calls.read_text()


def test_braces_in_the_name_of_a_base_image_are_the_engines_to_judge() -> None:
    builder = image.Builder(engine.Engine("podman", "podman"), Path(), base="{0}/{python}-{python.x}{")
    assert builder.base_for("3.11") == "{0}/3.11-{python.x}{"
    for base in ("--help", " ", ""):
        with pytest.raises(WrongUse, match="names no base image"):
            replace(builder, base=base).base_for("3.11")


def test_no_text_of_a_label_is_read_as_a_substitution(published: Workspace) -> None:
    version = published.versions("scaled")[0]
    bundle = Bundle(version.bundle, version.manifest())
    remote = {"remote": "https://example.org/${a:?no}$(b)\n{{c}}"}
    told = replace(bundle.manifest, provenance={**bundle.manifest.provenance, "git": remote})
    labels = image.labels(replace(bundle, manifest=told), "1.0.0", "none")
    assert labels["org.opencontainers.image.source"] == "https://example.org/%24{a:?no}$(b) {{c}}"


def test_labels_are_given_in_one_step_before_any_other() -> None:
    text = (template("image") / "model.Containerfile").read_text()
    made = image.labelled(text, {"a.b": "x", "c": "y"}).splitlines()
    at = made.index("FROM ${DEPENDENCIES}")
    assert made[at + 1 : at + 4] == ["ARG LABEL_0", "ARG LABEL_1", 'LABEL "a.b"="${LABEL_0}" "c"="${LABEL_1}"']
    assert [line for line in made if line not in text.splitlines()] == made[at + 1 : at + 4]
    assert "LABEL" not in image.labelled(text, {})


def test_text_of_a_model_reaches_no_containerfile() -> None:
    for name in ("system.Containerfile", "dependencies.Containerfile", "model.Containerfile", "slim.sh", "install.py"):
        text = (template("image") / name).read_text()
        assert "{" not in text.replace("${BASE}", "").replace("${SYSTEM}", "").replace("${PYTHON}", "").replace(
            "${DEPENDENCIES}", ""
        ).replace("{} +", "")


def test_an_engine_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "docker"
    silent.write_text("#!/bin/sh\nexec sleep 20\n")
    silent.chmod(0o755)
    monkeypatch.setattr(engine, "ANSWER", 0.2)
    with pytest.raises(
        ServiceFailed, match=r"`docker ps --all` had no answer within 0\.2 s; see whether `docker version`"
    ):
        engine.Engine("docker", str(silent)).ask("ps", "--all", "--format", "{{.Names}}")


def test_a_segment_that_retention_takes_meanwhile_does_not_stop_a_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []

    def chown(path: Path, _user: int, _group: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        if path.name == "old.log":
            raise FileNotFoundError(path)
        if path.name == "forbidden.log":
            raise PermissionError(path)
        given.append(path)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    for name in ("old.log", "young.log"):
        (tmp_path / name).touch()
    container._give(tmp_path)
    assert given == [tmp_path, tmp_path / "young.log"]
    (tmp_path / "forbidden.log").touch()
    with pytest.raises(PermissionError):
        container._give(tmp_path)
