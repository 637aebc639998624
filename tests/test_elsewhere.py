"""A bundle away from nbdeploy: a clean environment made from its lock, plain BentoML, another home."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from models import Fitted, classifier

from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbdeploy.keep.version import Version

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@dataclass(frozen=True)
class Elsewhere:
    """A published version, and an interpreter that has its lock and nothing else."""

    workspace: Workspace
    version: Version
    fitted: Fitted
    python: Path

    def run(self, *words: str, home: Path) -> str:
        environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
        done = subprocess.run(
            [str(self.python), "-m", *words], env=environment, cwd=home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    workspace = Workspace(Settings(home=folder / "nbdeploy", bentoml_home=folder / "bentoml"))
    fitted = classifier()
    version = workspace.publish(workspace.bundle(fitted.model, name="penguins", sample=fitted.X, target=fitted.y))
    lock = version.bundle / "env" / "python" / "requirements.txt"
    python = folder / "clean" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder / "clean"], check=True
    )
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, "-r", lock], check=True
    )
    return Elsewhere(workspace, version, fitted, python)


@contextmanager
def served(elsewhere: Elsewhere, home: Path) -> Iterator[int]:
    """`bentoml serve penguins:1.0.0` with that BentoML home; the port, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        str(elsewhere.python),
        "-m",
        "bentoml",
        "serve",
        "penguins:1.0.0",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not ready(port):
            assert process.poll() is None, (home / "serve.log").read_text()
            assert time.monotonic() < deadline, (home / "serve.log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def ask(port: int, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(verb, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def answers_as_in_the_kernel(elsewhere: Elsewhere, port: int) -> None:
    golden = json.loads((elsewhere.version.src / "golden.json").read_bytes())
    status, reply = ask(port, "POST", "/predict", {"rows": golden["rows"]})
    assert status == 200
    assert reply["predictions"] == golden["answers"]["predict"]
    assert reply["version"] == "1.0.0"
    status, reply = ask(port, "POST", "/predict", {"rows": [{"island": 1}]})
    assert (status, reply["error"]["code"]) == (422, "invalid_rows")


def test_the_clean_environment_has_no_nbdeploy(elsewhere: Elsewhere) -> None:
    probe = [str(elsewhere.python), "-I", "-c", "import nbdeploy"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    assert "No module named 'nbdeploy'" in done.stderr


def test_plain_bentoml_serves_the_bundle_in_a_clean_environment(elsewhere: Elsewhere) -> None:
    home = elsewhere.workspace.settings.bentoml_home
    assert "penguins:1.0.0" in elsewhere.run("bentoml", "list", home=home)
    with served(elsewhere, home) as port:
        answers_as_in_the_kernel(elsewhere, port)


def test_an_exported_bundle_is_imported_by_plain_bentoml_under_another_home(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    file = elsewhere.workspace.export("penguins", "1.0.0", tmp_path / "penguins.bento")
    home = tmp_path / "another"
    home.mkdir()
    elsewhere.run("bentoml", "import", str(file), home=home)
    with served(elsewhere, home) as port:
        answers_as_in_the_kernel(elsewhere, port)


def test_what_bentoml_exports_is_imported_again(elsewhere: Elsewhere, tmp_path: Path) -> None:
    file = tmp_path / "by-bentoml.bento"
    elsewhere.run("bentoml", "export", "penguins:1.0.0", str(file), home=elsewhere.workspace.settings.bentoml_home)
    other = Workspace(Settings(home=tmp_path / "home", bentoml_home=tmp_path / "store"))
    assert other.import_bundle(file).digest == elsewhere.version.digest
