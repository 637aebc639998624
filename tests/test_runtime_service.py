"""A bundle under plain `bentoml serve`, where nbdeploy cannot be imported."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from nbdeploy.run.client import Client
from nbdeploy.run.feedback import Feedback
from nbdeploy.run.predictions import Predictions
from nbdeploy.runtime import gate, standalone
from nbdeploy.settings import Settings
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TOKEN = "a-token-for-tests"
SAMPLE = pd.DataFrame({"age": [20.0, 30, 40, 50] * 5, "size": [1.0, 2, 3, 4] * 5})
TARGET = np.array(["no", "no", "yes", "yes"] * 5)
MODEL = LogisticRegression().fit(SAMPLE, TARGET)
ROW = {"age": 20.0, "size": 1.0}


@dataclass(frozen=True)
class Published:
    home: Path
    tag: str
    src: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """BentoML finds this home only, and nbdeploy cannot be imported."""
        absent = self.home / "absent"
        (absent / "nbdeploy").mkdir(parents=True, exist_ok=True)
        (absent / "nbdeploy" / "__init__.py").write_text("raise ImportError('this environment has no nbdeploy')\n")
        homes = {"BENTOML_HOME": str(self.home / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "HOME": str(self.home)}
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, **homes, "PYTHONPATH": str(absent), **variables}


@dataclass(frozen=True)
class Served:
    url: str
    log: Path

    def ask(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(verb, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()

    def json(self, path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        bearer = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
        return json.loads(self.ask("POST" if sent else "GET", path, sent, **bearer)[2])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("home")
    settings = Settings.load(home, {"NBDEPLOY_HOME": str(home / "nbdeploy"), "BENTOML_HOME": str(home / "bentoml")})
    workspace = Workspace(settings)
    version = workspace.publish(workspace.bundle(MODEL, name="people", sample=SAMPLE, target=TARGET))
    return Published(home, f"people:{version.version}", version.bundle / "src")


@contextlib.contextmanager
def serving(published: Published, target: str, log: Path, variables: Mapping[str, str]) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    environment = published.environment(**variables)
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, env=environment, cwd=published.home, stdout=out, stderr=out, start_new_session=True
        )
    try:
        served = Served(f"http://127.0.0.1:{port}", log)
        until_answered(served, child)
        yield served
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def until_answered(served: Served, child: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and child.poll() is None:
        try:
            served.ask("GET", "/livez")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(served.log.read_text())


@pytest.fixture(scope="module")
def served(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "token").write_text(TOKEN + "\n")
    variables = {"NBDEPLOY_TOKEN_FILE": str(folder / "token"), "NBDEPLOY_LOG_DIR": str(folder / "predictions")}
    with serving(published, published.tag, folder / "log", variables) as running:
        yield running


@pytest.mark.slow
def test_it_answers_as_the_kernel(served: Served) -> None:
    client = Client(served.url, token=TOKEN)
    np.testing.assert_array_equal(client.call("predict", SAMPLE), MODEL.predict(SAMPLE))
    np.testing.assert_allclose(client.call("predict_proba", SAMPLE), MODEL.predict_proba(SAMPLE), rtol=1e-9)
    client.close()


@pytest.mark.slow
def test_name_and_version_are_the_bentos(served: Served) -> None:
    found = served.json("/readyz")
    assert (found["name"], found["version"], found["state"]) == ("people", "1.0.0", "ready")
    assert served.json("/predict", {"rows": [ROW]})["version"] == "1.0.0"


@pytest.mark.slow
def test_the_gate_holds(served: Served) -> None:
    body = json.dumps({"rows": [ROW]}).encode()
    good = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    assert served.ask("POST", "/predict", body, **good)[0] == 200
    assert served.ask("POST", "/predict", body, **good | {"Authorization": "Bearer x"})[0] == 401
    assert served.ask("POST", "/predict", body, **good | {"Host": "evil.example"})[0] == 403
    assert served.ask("POST", "/predict", body, **good | {"Origin": "http://evil.example"})[0] == 403
    assert served.ask("POST", "/predict", body, **good | {"Content_Type": "application/vnd.bentoml+pickle"})[0] == 415
    assert served.ask("POST", "/predict", b"x" * 11_000_000, **good)[0] == 413
    assert served.ask("OPTIONS", "/predict", None, **good)[0] == 405
    assert served.ask("GET", "/healthz", None, **good)[0] == 404
    status, _, answer = served.ask("POST", "/predict", b'{"rows": [{"age": "x"}]}', **good)
    assert status == 422
    assert set(json.loads(answer)) == {"error", "request_id"}


@pytest.mark.slow
def test_bentomls_own_client_works(published: Published, served: Served) -> None:
    """In a process of its own: BentoML's client leaves a temporary folder to the garbage collector."""
    code = f"""
import bentoml, json
with bentoml.SyncHTTPClient({served.url!r}, token={TOKEN!r}) as client:
    found = [client.predict(rows=[{ROW}]), client.predict([{ROW}]), client.predict_proba(rows=[{ROW}])]
    try:
        client.predict(rows=[{{}}])
    except bentoml.exceptions.BentoMLException as refusal:
        print(json.dumps([*(one["predictions"] for one in found), "invalid_rows" in str(refusal)]))
"""
    named, placed, keyed, refused = json.loads(run_inside(published, code).splitlines()[-1])
    assert named == placed == ["no"]
    assert set(keyed[0]) == {"no", "yes"}
    assert refused


@pytest.mark.slow
def test_bentomls_documents_tell_the_input(served: Served) -> None:
    [route] = [route for route in served.json("/schema.json")["routes"] if route["name"] == "predict"]
    assert set(route["input"]["properties"]["rows"]["items"]["properties"]) == {"age", "size"}
    assert "/predict" in served.json("/docs.json")["paths"]
    status, _, page = served.ask("GET", "/", Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assets = set(re.findall(r"static_content/([A-Za-z0-9._-]+)", page.decode()))
    assert assets
    for asset in assets:
        assert served.ask("GET", f"/static_content/{asset}", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert served.ask("GET", "/static_content/../app.py", Authorization=f"Bearer {TOKEN}")[0] == 404


@pytest.mark.slow
def test_what_was_answered_is_in_the_log_and_the_counters(served: Served) -> None:
    folder = served.log.parent / "predictions"
    before = len(list(Predictions(folder)))
    request_id = served.json("/predict", {"rows": [ROW, ROW]})["request_id"]
    records = list(Predictions(folder))
    assert records[-1].request_id == request_id
    assert len(records) == before + 1
    _, _, text = served.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}")
    assert b'nbdeploy_requests_total{version="1.0.0",worker="0",route="/predict",status="200"}' in text


@pytest.mark.slow
def test_labels_are_kept_beside_the_log(served: Served) -> None:
    request_id = served.json("/predict", {"rows": [ROW, ROW]})["request_id"]
    told = served.json("/feedback", {"request_id": request_id, "labels": ["no", None]})
    assert (told["accepted"], told["empty"]) == (1, 1)
    folder = served.log.parent / "predictions" / "feedback"
    found = Feedback(folder).frame()
    assert found[["id", "row", "label"]].iloc[0].tolist() == [request_id, 0, "no"]
    assert served.json("/feedback", {"request_id": request_id, "labels": [1]})["error"]["code"] == "invalid_labels"


@pytest.mark.slow
@pytest.mark.thorough
def test_without_a_token_file_it_is_open_and_says_so(published: Published, tmp_path: Path) -> None:
    with serving(published, published.tag, tmp_path / "log", {}) as running:
        good = {"Content_Type": "application/json"}
        status, _, body = running.ask("POST", "/feedback", b'{"request_id": "a", "labels": ["no"]}', **good)
        assert (status, json.loads(body)["error"]["code"]) == (404, "labels_not_kept"), "it was given no folder"
        assert running.ask("POST", "/predict", json.dumps({"rows": [ROW]}).encode(), **good)[0] == 200
        assert "open to anyone" in running.log.read_text()
        assert "NBDEPLOY_TOKEN_FILE" in running.log.read_text()


@pytest.mark.slow
@pytest.mark.thorough
def test_f26_an_altered_model_is_alive_and_never_ready(published: Published, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bento"
    shutil.copytree(published.src.parent, folder)
    (folder / "src" / "golden.json").write_bytes(b"{}")
    with serving(published, str(folder), tmp_path / "log", {}) as running:
        assert running.ask("GET", "/livez")[0] == 200
        status, headers, answer = running.ask("GET", "/readyz")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(answer)["error"]["code"] == "failed"
        assert running.ask("POST", "/predict", b"{}")[0] == 503
        assert "golden.json has changed" in running.log.read_text()


def run_inside(published: Published, code: str) -> str:
    """Python in the bundle's own src, as BentoML imports it."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=published.environment(),
        cwd=published.src,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_route_of_bentoml_has_a_decision(published: Published) -> None:
    """A release of BentoML that adds a route fails here until somebody decides about it."""
    code = (
        "import sys; sys.path.insert(0, '.'); from nbdeploy_runtime.service import bentoml_app; app = bentoml_app()\n"
        "print(*[route.path for route in app.routes], sep='\\n')"
    )
    found = {path.rstrip("/") or "/" for path in run_inside(published, code).split()}
    refused = ("/healthz", "/livez", "/readyz", "/metrics")  # the last three are answered by us
    decided = {*gate.BENTOML_SERVED, *refused, gate.BENTOML_ASSETS.rstrip("/")}
    methods = {path for path in found if path.startswith(("/predict", "/decision_function"))}
    assert found - methods == decided - {"/metrics"}, "its metrics are switched off, ours answer there"


@pytest.mark.slow
def test_bentomls_documents_need_no_running_bentoml(published: Published) -> None:
    """As our host uses them: built at the first use, without a life span."""
    code = """
import asyncio, sys
sys.path.insert(0, ".")
from nbdeploy_runtime.service import bentoml_app
app = bentoml_app()
seen = []
async def ask(path):
    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    async def receive():
        return messages.pop() if messages else await asyncio.Event().wait()
    async def send(message):
        if message["type"] == "http.response.start":
            seen.append(message["status"])
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
             "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 3000)}
    await app(scope, receive, send)
for path in ("/", "/schema.json", "/docs.json", "/static_content/swagger-ui.css"):
    asyncio.run(ask(path))
print(*seen)
"""
    assert run_inside(published, code).split() == ["200"] * 4


@pytest.mark.slow
def test_the_service_answers_before_bentoml_and_the_middleware_is_a_true_fallback(published: Published) -> None:
    """It leans on `service_class` and `to_asgi`, which BentoML does not promise; the other way gives the same answers."""
    code = """
import asyncio, json, sys
sys.path.insert(0, ".")
from pathlib import Path
from nbdeploy_runtime.bento import Front, define

async def ask(app, verb, path, body=b""):
    sent = []
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}
    async def send(message):
        sent.append(message)
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": verb, "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 3000)}
    await app(scope, receive, send)
    answer = json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
    answer.pop("request_id", None)
    return sent[0]["status"], answer

async def all_of(app):
    body = json.dumps({"rows": [{"age": 20.0, "size": 1.0}]}).encode()
    return [await ask(app, "POST", "/predict", body), await ask(app, "POST", "/predict", b"{}"),
            await ask(app, "GET", "/readyz"), await ask(app, "GET", "/schema.json"), await ask(app, "GET", "/healthz")]

outer = define(Path("."))
assert type(outer).__name__ == "Outer"
app = outer.to_asgi(is_main=False)
assert type(app) is Front
first = asyncio.run(all_of(app))
inner = define(Path("."), outermost=False)
assert inner.middlewares[0][0] is Front
app = inner.to_asgi()
assert type(app) is not Front
second = asyncio.run(all_of(app))
assert first == second, (first, second)
print(json.dumps([status for status, _ in first]))
"""
    assert json.loads(run_inside(published, code).splitlines()[-1]) == [200, 422, 200, 200, 404]


def test_the_token_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"  {TOKEN}\n")
    found = standalone.token_sha256({"NBDEPLOY_TOKEN_FILE": str(tmp_path / "token")})
    assert found == hashlib.sha256(TOKEN.encode()).hexdigest()
    assert standalone.token_sha256({}) is None


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_token_file_without_a_token_closes_the_service(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises((OSError, ValueError)):
        standalone.token_sha256({"NBDEPLOY_TOKEN_FILE": str(path)})


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("service: x\nname: people\nversion: 1.2.0\nlabels:\n  version: 9\n", "1.2.0"),
        ("version: '1.2.0-rc.1+x'\n", "1.2.0-rc.1+x"),
        ("name: people\n", None),
        (None, None),
    ],
)
def test_the_version_comes_from_bento_yaml(tmp_path: Path, text: str | None, version: str | None) -> None:
    if text is not None:
        (tmp_path / "bento.yaml").write_text(text)
    assert standalone.version_of(tmp_path / "src") == version
