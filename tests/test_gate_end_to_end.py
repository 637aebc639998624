"""The gate with nothing replaced: a real kernel judges real services."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import psutil
import pytest
from gatebooks import notebook
from rules import Scaled

from nbdeploy.errors import GateRefused
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.run.service import Service
    from nbdeploy.settings import Settings

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent
ROWS = np.linspace(1, 40, 40).reshape(-1, 1)
LABELS = pd.Series(ROWS[:, 0], name="y")  # what Scaled(1.0) answers

JUDGE = """
import json, urllib.request
from pathlib import Path
import duckdb
from nbdeploy import expect, record

rows = duckdb.read_parquet(data).df()
labels = rows.pop(target)

def ask(service, path, body=None):
    request = urllib.request.Request(service + path, body)
    if token_file:
        request.add_header("Authorization", "Bearer " + Path(token_file).read_text().strip())
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request))

def mae(service):
    body = json.dumps({"rows": rows.to_numpy().tolist()}).encode()
    answers = ask(service, "/predict", body)["predictions"]
    return sum(abs(a - b) for a, b in zip(answers, labels)) / len(labels)
"""
SCORES = """
record("mae", mae(url))
record("nonce", ask(url, "/readyz")["nonce"])
if live_url:
    record("live.mae", mae(live_url))
expect("all rows are there", len(rows) == 40)
"""


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    """Afterwards nothing of it runs."""
    made = Workspace(settings)
    yield made
    for state in made.services():
        made.stop(state.name)
    assert processes_of(settings) == []


def processes_of(settings: Settings) -> list[psutil.Process]:
    """Ours, and the kernels of gates: whatever names the home in its words or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("NBDEPLOY_HOME", "")]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(settings.home) in word for word in words):
            found.append(process)
    return found


def deploy(workspace: Workspace, factor: float, **options: Any) -> Service:
    return workspace.deploy(Scaled(factor), name="penguins", sample=ROWS, target=LABELS, **options)


def test_a_version_goes_live_only_past_its_gate(workspace: Workspace, tmp_path: Path) -> None:
    gate: dict[str, Any] = {
        "validate": notebook(tmp_path / "gate.ipynb", JUDGE, SCORES),
        "data": (ROWS, LABELS),
        "gate": ["mae<=5", "mae<live"],
    }
    said: list[str] = []
    first = deploy(workspace, 0.9, **gate, progress=said.append)
    assert "gate 1/4" in {text.partition(":")[0] for text in said}
    assert (first.version, first.gate) == ("1.0.0", "passed")
    assert first.report.metrics["mae"].value == pytest.approx(2.05)
    # the process that was judged is the one that serves
    assert first.report.metrics["nonce"].value == first.client.readiness()["nonce"]

    with pytest.raises(GateRefused, match=r"live is 2\.05") as caught:
        deploy(workspace, 0.8, **gate)
    assert caught.value.report.metrics["mae"].value == pytest.approx(4.1)
    assert caught.value.report.executed.is_file()
    assert first.predict(ROWS).tolist() == (ROWS[:, 0] * 0.9).tolist()

    second = deploy(workspace, 0.99, **gate)
    assert (second.version, second.previous) == ("1.0.1", "1.0.0")
    assert second.report.metrics["live.mae"].value == pytest.approx(2.05)
    assert len(list(second.predictions())) == 1  # ours above: nothing of a gate is traffic


@pytest.mark.thorough
def test_a_notebook_that_ends_half_way_lets_nothing_live(workspace: Workspace, tmp_path: Path) -> None:
    deploy(workspace, 0.9)
    half_way = notebook(tmp_path / "half.ipynb", JUDGE, "record('mae', 0.0)", "raise RuntimeError('half way')", SCORES)
    with pytest.raises(GateRefused, match="half way"):
        deploy(workspace, 0.5, validate=half_way, data=(ROWS, LABELS), gate=["mae<=5"])
    assert [version.version for version in workspace.versions("penguins")] == ["1.0.0"]


@pytest.mark.thorough
def test_the_command_judges_with_exit_codes_json_and_junit(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    deploy(workspace, 0.9)
    book = notebook(tmp_path / "gate.ipynb", JUDGE, SCORES)
    pd.DataFrame({"0": ROWS[:, 0], "y": LABELS}).to_csv(tmp_path / "test.csv", index=False)

    def command(*more: str) -> subprocess.CompletedProcess[str]:
        words = ["validate", "penguins", str(book), "--data", "test.csv", "--target", "y", "--json", *more]
        return subprocess.run(
            [sys.executable, "-m", "nbdeploy", *words], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    passed = command("--gate", "mae<=5", "--junit", "checks.xml", "-p", "limit", "3")
    assert passed.returncode == 0, passed.stderr
    report = json.loads(passed.stdout)
    assert (report["verdict"], report["subject"], report["parameters"]["limit"]) == ("passed", "penguins:1.0.0", 3)
    suite = ET.parse(tmp_path / "checks.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")

    refused = command("--gate", "mae<=1")
    assert refused.returncode == 1, refused.stderr
    assert json.loads(refused.stdout)["verdict"] == "refused"
    assert command("--gate", "mae=<1").returncode == 2
    assert command("-p", "limt", "3").returncode == 2
    assert workspace.versions("penguins")[0].gate == "refused"
    shown = subprocess.run(
        [sys.executable, "-m", "nbdeploy", "versions", "penguins", "--json"], capture_output=True, check=True
    )
    assert json.loads(shown.stdout)[0]["gate"] == "refused"


DEPLOYING = """
import sys
sys.path.insert(0, sys.argv[1])
from rules import Scaled
from test_gate_end_to_end import LABELS, ROWS
from nbdeploy.workspace import Workspace
Workspace().deploy(
    Scaled(0.5), name="penguins", sample=ROWS, data=(ROWS, LABELS), validate=sys.argv[2], gate=["mae<=99"],
    progress=lambda said: print(said, flush=True),
)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.thorough
def test_a_deploy_that_ends_in_its_gate_leaves_the_old_state(
    workspace: Workspace, settings: Settings, tmp_path: Path, how: signal.Signals
) -> None:
    first = deploy(workspace, 0.9)
    before = {process.pid for process in processes_of(settings)}
    book = notebook(tmp_path / "gate.ipynb", "sleeping = __import__('time').sleep(120)")
    command = [sys.executable, "-c", DEPLOYING, str(TESTS), str(book)]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("gate") and "sleeping" in line:
                break
        process.send_signal(how)
        process.stdout.read()
    deadline = time.monotonic() + 60
    while {process.pid for process in processes_of(settings)} != before or [*temporary.glob("nbdeploy-*")]:
        assert time.monotonic() < deadline, [process.cmdline() for process in processes_of(settings)]
        time.sleep(0.1)
    assert first.predict(ROWS).tolist() == (ROWS[:, 0] * 0.9).tolist()
    (version,) = workspace.versions("penguins")
    assert (version.version, version.live, version.serving) == ("1.0.0", True, True)
    workspace.recover()
    assert not list(settings.reports.rglob("*.parquet"))  # the rows are the user's own
    assert [path.name for path in settings.services.iterdir()] == ["penguins"]
