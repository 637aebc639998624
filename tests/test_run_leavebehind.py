"""A version as a folder that serves itself: started where there is no network, and refused where a byte is another one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from keep_world import World, manifest
from rules import SAMPLE, Scaled

from nbdeploy.errors import EnvironmentFailed, Refused, Unsupported
from nbdeploy.run import wheels
from nbdeploy.run.installers import Runner
from nbdeploy.run.wheels import Wheels
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    Started = tuple[subprocess.Popen[str], IO[str]]

ROWS = SAMPLE[:3].tolist()
ALONE = ("unshare", "--map-root-user", "--net")
ISOLATED = Path(__file__).with_name("isolated.py")


@dataclass
class Exported:
    folder: Path
    requests: Path
    answers: list[Any]  # the local launcher's, to the same requests
    sums: str


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """One version, asked as a local service and written as a folder; its environment is made once, by the first start."""
    home = tmp_path_factory.mktemp("offline")
    workspace = Workspace(Settings(home=home / "nbdeploy", bentoml_home=home / "bentoml"))
    service = workspace.deploy(Scaled(2.0), name="rule", sample=SAMPLE)
    try:
        answers = [service.predict(SAMPLE[:3]).tolist()]
    finally:
        workspace.stop("rule")
    requests = home / "requests.json"
    requests.write_text(json.dumps([{"method": "predict", "rows": ROWS}]))
    folder = workspace.export("rule", offline=home / "leave behind")
    yield Exported(folder, requests, answers, (folder / "SHA256SUMS").read_text())
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def told(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By the folder's first start, which makes its environment, where there is no network; empty if it cannot be taken away."""
    folder = tmp_path_factory.mktemp("isolated")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(folder / "nowhere")}
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        with starting(exported.folder, env=environment) as (process, lines):
            assert any("Ctrl-C stops it" in line for line in lines)
            os.killpg(process.pid, signal.SIGINT)
        return {}
    command = [sys.executable, str(ISOLATED), str(exported.requests), str(exported.folder / "start"), "--port", "3000"]
    done = subprocess.run(
        [*ALONE, *command], capture_output=True, text=True, check=False, timeout=250, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def copied(exported: Exported, target: Path) -> Path:
    """The folder as it was written: the wheels are second names, so that a copy takes no time."""
    ignored = shutil.ignore_patterns("run")
    return Path(shutil.copytree(exported.folder, target / "copy", ignore=ignored, copy_function=os.link))


def start(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a start says that does not come to serve."""
    return subprocess.run(
        [folder / "start", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": "/nonexistent", **variables},
    )


@contextmanager
def starting(folder: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Started]:
    """A start at a port of its own and what it says, in a group of processes of its own."""
    command = [str(folder / "start"), "--port", str(_free_port()), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, process_group=0
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout


@pytest.mark.slow
@pytest.mark.thorough
def test_a_folder_answers_as_the_local_service_did_where_there_is_no_network(
    exported: Exported, told: dict[str, Any]
) -> None:
    if not told:
        pytest.skip("this user may make no network namespace (unshare --map-root-user --net)")
    assert [answer["predictions"] for answer in told["answers"]] == exported.answers, told["said"]
    assert [answer["version"] for answer in told["answers"]] == ["1.0.0"]
    assert told["routes"] == []
    assert told["listeners"] == ["0100007F"]
    assert told["code"] == 0
    assert told["said"][-1] == "rule has stopped."
    assert Path(told["token_file"]).stat().st_mode & 0o777 == 0o600
    assert (exported.folder / "SHA256SUMS").read_text() == exported.sums
    assert (exported.folder / "run" / "rule" / "predictions").is_dir()


@pytest.mark.slow
@pytest.mark.thorough
def test_ctrl_c_stops_a_folder_and_a_token_of_ones_own_lets_in(
    exported: Exported, told: dict[str, Any], tmp_path: Path
) -> None:
    """A second start finds its environment; what another start holds is left to it."""
    token = tmp_path / "token"
    token.write_text("my-own-token\n")
    environment = {"PATH": os.environ["PATH"], "NBDEPLOY_TOKEN_FILE": str(token)}
    with starting(exported.folder, env=environment) as (process, lines):
        said = ""
        for line in lines:
            said += line
            if "Ctrl-C stops it" in line:
                break
        assert str(token) in said
        again = start(exported.folder)
        os.killpg(process.pid, signal.SIGINT)
        said += lines.read()
        assert process.wait(60) == 0
    assert said.endswith("rule has stopped.\n"), said
    assert again.returncode == 1
    assert "is being served already" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.thorough
def test_a_start_that_is_stopped_before_it_serves_leaves_nothing_running(
    exported: Exported, told: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    """Sent to every process of it, as terminals and service managers do, at its first word."""
    with starting(exported.folder, "--home", str(tmp_path / "home")) as (process, lines):
        assert lines.readline().startswith("making an environment")
        os.killpg(process.pid, number)
        assert lines.read() == "Stopped; nothing is running.\n"
        assert process.wait(30) == 130
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["rule"]
    python = tmp_path / "home" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(exported.folder / "run" / "env" / "bin" / "python")
    (python.parents[1] / "complete").write_text(hashlib.sha256(exported.sums.encode()).hexdigest())
    with starting(exported.folder, "--home", str(tmp_path / "home")) as (process, lines):
        assert lines.readline() == "starting rule:1.0.0 ...\n"
        os.killpg(process.pid, number)
        said = lines.read()
        assert process.wait(30) == 130, said
        assert said.startswith("Stopped")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundle/src/model.pkl", "serve.py", "requirements.txt", "start", "facts.json"])
@pytest.mark.thorough
def test_one_flipped_byte_is_refused_before_anything_runs(exported: Exported, tmp_path: Path, name: str) -> None:
    folder = copied(exported, tmp_path)
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 0x01 if name != "start" else 0x00
    if name == "start":
        content += b"# more\n"
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)
    done = start(folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name} was changed. Nothing was started; copy the folder again")
    assert not (folder / "run").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_missing_an_added_and_a_linked_file_are_refused(exported: Exported, tmp_path: Path) -> None:
    folder = copied(exported, tmp_path)
    wheel = min((folder / "wheels").iterdir())
    content = wheel.read_bytes()
    wheel.unlink()
    assert f"wheels/{wheel.name} is missing." in start(folder).stderr
    (tmp_path / "elsewhere").write_bytes(content)
    wheel.symlink_to(tmp_path / "elsewhere")
    assert f"wheels/{wheel.name} is a link." in start(folder).stderr
    wheel.unlink()
    wheel.write_bytes(content)
    (folder / "bundle" / "src" / "sitecustomize.py").write_text("print('owned')")
    assert "bundle/src/sitecustomize.py is not part of what was exported." in start(folder).stderr
    (folder / "bundle" / "src" / "sitecustomize.py").unlink()
    (folder / "bundle" / "extra").symlink_to(tmp_path)
    assert "bundle/extra is not part of what was exported." in start(folder).stderr


@pytest.mark.slow
@pytest.mark.thorough
def test_another_python_platform_or_library_and_too_little_room_are_told(exported: Exported, tmp_path: Path) -> None:
    folder = copied(exported, tmp_path)
    facts = json.loads((folder / "facts.json").read_bytes())

    def said(changed: dict[str, Any], *options: str) -> str:
        """Of a folder that was made for others; its list of hashes is whole."""
        (folder / "facts.json").unlink()
        (folder / "facts.json").write_text(json.dumps(facts | changed))
        digest = hashlib.sha256((folder / "facts.json").read_bytes()).hexdigest()
        lines = [line for line in exported.sums.splitlines() if not line.endswith("  facts.json")]
        (folder / "SHA256SUMS").unlink()
        (folder / "SHA256SUMS").write_text("\n".join([*lines, f"{digest}  facts.json"]) + "\n")
        done = start(folder, *options)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    assert "made for cpython on sunos-sparc, and this is cpython on linux-" in said({"platform": "sunos-sparc"})
    assert "need the GNU C library 99.1 or newer, and this system has" in said({"glibc": [99, 1]})
    full = said({"room": 10**18})
    assert "1000000000000 MB are needed in " in full
    assert "Free some" in full
    (tmp_path / "file").touch()
    assert "Name a folder that can: ./start --home DIR" in said({}, "--home", str(tmp_path / "file"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        there = start(exported.folder, "--port", port)
    assert "give a number from 1 to 64, not '65'" in start(exported.folder, "--workers", "65").stderr
    assert there.returncode == 1
    assert f"port {port} cannot be had: Address already in use; choose another with --port." in there.stderr


def test_the_script_names_the_python_it_needs(tmp_path: Path) -> None:
    """Other versions stand first on PATH, as on a machine that has no other."""
    source = Path(__file__).parents[1] / "templates" / "offline" / "start"
    (tmp_path / "start").write_text(source.read_text().replace("@PYTHON@", "3.99"))
    (tmp_path / "start").chmod(0o755)
    done = start(tmp_path)
    assert done.returncode == 1
    assert "This folder needs Python 3.99, and Python 3." in done.stderr
    assert "PYTHON=/path/to/python3.99 ./start" in done.stderr


def test_a_folder_of_somebody_elses_stays_as_it_is(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = _world(settings, tmp_path, monkeypatch)
    world.publish()
    world.publish()
    workspace = Workspace(settings)
    folder = tmp_path / "out"
    folder.mkdir()
    workspace.export("penguins", "1.0.0", offline=folder)  # an empty one is nobody's
    first = (folder / "SHA256SUMS").read_text()
    (workspace.versions("penguins")[0].bundle / "bento.yaml").write_text("damaged")
    workspace.export("penguins", "1.0.1", offline=folder)  # as an export left it
    assert "version: 1.0.1" in (folder / "bundle" / "bento.yaml").read_text(), "what no digest covers is written anew"
    assert (folder / "SHA256SUMS").read_text() != first
    (folder / "note.txt").write_text("mine")
    with pytest.raises(Refused, match="holds what no export wrote"):
        workspace.export("penguins", "1.0.1", offline=folder)
    (folder / "note.txt").unlink()
    (folder / "README.md").write_text("mine")
    with pytest.raises(Refused, match="changed since"):
        workspace.export("penguins", "1.0.1", offline=folder)
    with pytest.raises(Refused, match="is no folder"):
        workspace.export("penguins", "1.0.1", offline=folder / "README.md")
    assert (folder / "README.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_package_that_comes_from_no_index_is_refused_with_a_way_out(settings: Settings, tmp_path: Path) -> None:
    world = World(settings, tmp_path)
    environment = manifest().environment | {"requirements": ["tool @ git+https://example.org/tool@0123abc"]}
    world.publish(manifest(environment=environment))
    with pytest.raises(Unsupported, match=r"with tool @ git\+https://example\.org/tool@0123abc, is not possible here"):
        Workspace(settings).export("penguins", offline=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wheels_that_cannot_be_had_leave_nothing_behind(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    world = World(settings, tmp_path)
    environment = manifest().environment | {"requirements": ["nothing-of-this-name==1.0"], "python": _python()}
    world.publish(manifest(environment=environment))
    told = r"The folder of penguins:1\.0\.0 cannot be built: no index offers nothing-of-this-name==1\.0"
    with pytest.raises(EnvironmentFailed, match=told):
        Workspace(settings).export("penguins", offline=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list((settings.home / "wheels").iterdir()) == []


@pytest.mark.slow
@pytest.mark.thorough
def test_an_interpreter_without_pip_borrows_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As environments are that uv makes."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    command = wheels._pip(tmp_path / "tool", Runner(print))
    assert command[0].startswith(str(tmp_path))
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip ")


def test_the_lock_is_written_from_the_wheels_own_names() -> None:
    names = ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "pip-26.3-py3-none-any.whl")
    old = "Tool_Box-1.0+cpu-py3-none-manylinux2014_x86_64.whl"
    found = Wheels(Path("/x"), dict.fromkeys((*names, old), "sha256:ab"), names[1])
    assert found.requirements() == "numpy==2.4.6 --hash=sha256:ab\nTool_Box==1.0+cpu --hash=sha256:ab\n"
    assert found.glibc == (2, 27)


def _world(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """With wheels at hand: these tests are about the folder."""
    wheel = tmp_path / "wheels" / "pip-1-py3-none-any.whl"
    wheel.parent.mkdir()
    from zipfile import ZipFile

    from nbdeploy.run import leavebehind

    with ZipFile(wheel, "w") as packed:
        packed.writestr("pip/__init__.py", "")
    found = Wheels(wheel.parent, {wheel.name: "sha256:" + "0" * 64}, wheel.name)
    monkeypatch.setattr(leavebehind, "wheels_for", lambda *_: found)
    return World(settings, tmp_path)


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
