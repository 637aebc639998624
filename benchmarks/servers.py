"""What is measured: each a server on a port of its own, one worker."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.workspace import Workspace

HERE = Path(__file__).parent
PATIENCE = 120.0  # seconds for a server to answer


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    token: str | None = None


@contextlib.contextmanager
def ours(workspace: Workspace, version: str) -> Iterator[Server]:
    """As `%deploy` serves: supervisor, one worker; gate, schema, prediction log and metrics on."""
    service = workspace.serve("penguins", version=version, launcher="local", workers=1)
    try:
        yield Server("nbdeploy", int(service.url.rpartition(":")[2]), workspace.token("penguins"))
    finally:
        workspace.stop("penguins")


@contextlib.contextmanager
def fastapi(model: Path) -> Iterator[Server]:
    port = _free_port()
    with _process([sys.executable, str(HERE / "peer_fastapi.py"), str(model), str(port)], {}, port):
        yield Server("FastAPI by hand", port)


@contextlib.contextmanager
def plain_bentoml(tag: str, token_file: Path, folder: Path) -> Iterator[Server]:
    """Our bundle under `bentoml serve`; token and prediction log on."""
    port = _free_port()
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    variables = {"NBDEPLOY_TOKEN_FILE": str(token_file), "NBDEPLOY_LOG_DIR": str(folder / "log")}
    with _process(command, variables, port):
        yield Server("bentoml serve, our bundle", port, token_file.read_text().strip())


@contextlib.contextmanager
def stock_bentoml(model: Path, folder: Path) -> Iterator[Server]:
    port = _free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "peer_bentoml:Stock"]
    command += ["--working-dir", str(HERE), "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, {"BENCH_MODEL": str(model), "BENTOML_HOME": str(folder / "stock")}, port):
        yield Server("BentoML's DataFrame API", port)


@contextlib.contextmanager
def built_bentoml(model: Any) -> Iterator[Server]:
    """From a fitted model to a service the way BentoML's documents go: save, build, serve."""
    tag = build_bentoml(model)
    port = _free_port()
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, {}, port):
        yield Server("BentoML by hand", port)


def build_bentoml(model: Any) -> str:
    import bentoml

    bentoml.sklearn.save_model("by-hand", model)
    built = bentoml.bentos.build(
        "peer_bentoml_built:ByHand",
        include=["peer_bentoml_built.py"],
        python={"packages": ["scikit-learn", "pandas"], "lock_packages": False},
        build_ctx=str(HERE),
    )
    return str(built.tag)


@contextlib.contextmanager
def _process(command: list[str], variables: dict[str, str], port: int) -> Iterator[None]:
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", **variables}
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _until_ready(child, port)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


def _until_ready(child: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and child.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    child.kill()
    raise RuntimeError(f"{child.args!r} did not become ready: {child.communicate()[1].decode()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
