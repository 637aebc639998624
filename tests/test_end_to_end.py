"""What the project promises, with nothing replaced: real kernels, processes, services and stores."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from kernels import Kernel
from load import Load
from models import classifier
from rules import SAMPLE, Scaled

from nbdeploy.runtime.manifest import Manifest, altered
from nbdeploy.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbdeploy.run.service import Service
    from nbdeploy.settings import Settings

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent
SETUP = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from models import classifier
fitted = classifier()
clf, X_train, y_train = fitted.model, fitted.X, fitted.y
%load_ext nbdeploy
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
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if any("runtime" in word for word in words) and any(str(settings.home) in word for word in words):
            found.append(process)
    return found


def deploy(workspace: Workspace, C: float = 1.0) -> Service:
    fitted = classifier(C)
    return workspace.deploy(fitted.model, name="penguins", sample=fitted.X, target=fitted.y)


def deploy_rule(workspace: Workspace, factor: float = 1.0) -> Service:
    """Where hand-overs count and models do not: a tenth of the processor time of `deploy`."""
    return workspace.deploy(Scaled(factor), name="penguins", sample=SAMPLE)


def rows(service: Service, count: int = 1) -> bytes:
    golden = json.loads((service.bundle / "src" / "golden.json").read_bytes())
    return json.dumps({"rows": golden["rows"][:count]}).encode()


def deploying(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(TESTS / "deploying.py"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def intact(workspace: Workspace) -> None:
    """The invariants: one live version, every version whole, nothing staged, and live is what answers."""
    versions = workspace.versions("penguins")
    assert [version.live for version in versions].count(True) == 1
    for version in versions:
        assert altered(version.src, Manifest.load(version.src)) == []
    assert list(workspace.settings.bundles.glob(".staging-*")) == []
    service = workspace.attach("penguins")
    assert service.state == "ready"
    live = next(version for version in versions if version.live)
    reply = service.client.post("/predict", rows(service))
    assert reply["version"] == live.version == service.version


def test_a_service_outlives_its_kernel_and_the_next_one_finds_uses_and_stops_it(
    workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    homes = {"NBDEPLOY_HOME": str(settings.home), "BENTOML_HOME": str(settings.bentoml_home)}
    first = Kernel(tmp_path / "first", homes)
    first.run(SETUP)
    first.run("service = %deploy clf --name penguins --sample X_train --target y_train", timeout=120)
    first.kill()
    fitted = classifier()
    service = workspace.attach("penguins")
    np.testing.assert_array_equal(service.predict(fitted.X), fitted.model.predict(fitted.X))
    with Kernel(tmp_path / "second", homes) as second:
        second.run(SETUP)
        assert "penguins" in second.run("%deploy ps").result
        second.run("import nbdeploy\nservice = nbdeploy.attach('penguins')")
        assert second.value("bool((service.predict(X_train) == clf.predict(X_train)).all())")
        second.run("%deploy stop penguins")
    assert list(workspace.services()) == []


def test_a_handle_of_before_is_answered_by_the_version_that_is_live_now(workspace: Workspace) -> None:
    """Its kept connection is the replaced worker's, who would answer once more."""
    service = deploy_rule(workspace)
    for factor in (2.0, 3.0):
        service.client.post("/predict", rows(service))
        now = deploy_rule(workspace, factor)
        assert service.client.post("/predict", rows(service))["version"] == now.version
    back = workspace.rollback("penguins")
    assert service.client.post("/predict", rows(service))["version"] == back.version == "1.0.1"


@pytest.mark.thorough
def test_redeploys_and_rollbacks_under_load_lose_no_request(workspace: Workspace) -> None:
    """F35, F36: twenty changes of version."""
    service = deploy_rule(workspace)
    token, body = workspace.token("penguins"), rows(service)
    kept = Load(service.url, clients=4, keep_alive=True, body=body, token=token, limit=280)
    single = Load(service.url, clients=2, keep_alive=False, body=body, token=token, limit=280)
    with kept, single:
        for step in range(10):
            assert deploy_rule(workspace, 2.0 + step).url == service.url
            assert workspace.rollback("penguins").version == "1.0.0"
    for load in (kept, single):
        assert load.tally.lost == []
        assert not load.tally.refused
        assert len(load.tally.versions) == 11
    intact(workspace)


@pytest.mark.thorough
def test_eight_processes_deploying_one_name_make_eight_versions_of_which_one_is_live(workspace: Workspace) -> None:
    """F32."""
    started = [deploying("penguins", str(number + 1)) for number in range(8)]
    ended = [process.communicate(timeout=280) for process in started]
    assert [process.returncode for process in started] == [0] * 8, ended
    assert len(workspace.versions("penguins")) == 8
    assert len({version.digest for version in workspace.versions("penguins")}) == 8
    intact(workspace)


@pytest.mark.parametrize("sign", [pytest.param(signal.SIGINT, marks=pytest.mark.thorough), signal.SIGKILL])
@pytest.mark.parametrize(
    "phase",
    [
        *(
            pytest.param(phase, marks=pytest.mark.thorough)
            for phase in ("bundle", "check", "loading the model", "answering the golden rows")
        ),
        "publish",
        "serve",
    ],
)
def test_a_deploy_that_is_cut_short_leaves_the_old_state_or_the_new(
    workspace: Workspace, sign: signal.Signals, phase: str
) -> None:
    """F27, F33."""
    deploy_rule(workspace)
    process = deploying("penguins", "2.0")
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line.strip())
        if told[-1] == phase:
            time.sleep(random.Random(f"{sign}{phase}").random() * 0.05)
            process.send_signal(sign)
            break
    said = process.communicate(timeout=60)
    assert told[-1] == phase, (told, said)
    settled(workspace)
    intact(workspace)
    assert [version.version for version in workspace.versions("penguins")] in (["1.0.0"], ["1.0.1", "1.0.0"])


def settled(workspace: Workspace) -> None:
    """Wait until the supervisor knows no candidate any more; the registry says which state it must reach."""
    deadline = time.monotonic() + 120
    live = workspace.show("penguins").version.version
    while workspace.attach("penguins").version != live:
        assert time.monotonic() < deadline, "the supervisor never finished what was committed"
        time.sleep(0.05)


@pytest.mark.thorough
def test_a_killed_supervisor_is_seen_and_served_again_at_the_same_port(workspace: Workspace) -> None:
    service = deploy(workspace)
    state = service.probe()
    assert state.pid is not None
    os.kill(state.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(state.pid)] if psutil.pid_exists(state.pid) else [], timeout=5)
    assert workspace.services(all=True)[0].state == "dead"
    again = workspace.serve("penguins")
    assert (again.url, again.state, again.version) == (service.url, "ready", "1.0.0")


@pytest.mark.thorough
def test_checks_of_one_bundle_at_once_pass_and_a_killed_one_leaves_nothing(
    workspace: Workspace, settings: Settings
) -> None:
    """The bundle is live, so that a supervisor whose checker died would find it in the registry."""
    deploy_rule(workspace)
    (staged,) = settings.bundles.iterdir()
    command = [sys.executable, "-m", "nbdeploy", "check", staged.name]

    def checking() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    both = [checking(), checking()]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [path.name for path in settings.services.iterdir()] == ["penguins"]
    service = {process.pid for process in processes_of(settings)}
    process = checking()
    assert process.stdout is not None
    assert any("answering the golden rows" in line for line in process.stdout)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while {process.pid for process in processes_of(settings)} != service:
        assert time.monotonic() < deadline, "what was to be checked runs on"
        time.sleep(0.05)
    (cleaned,) = workspace.recover().cleaned
    assert cleaned.startswith("services/.trial-")
    assert [path.name for path in settings.services.iterdir()] == ["penguins"]


def test_stop_leaves_no_process_and_no_listener(workspace: Workspace, settings: Settings) -> None:
    service = deploy(workspace)
    port = int(service.url.rpartition(":")[2])
    workspace.stop("penguins")
    assert processes_of(settings) == []
    listening = [item.laddr for item in psutil.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
    assert port not in [address[1] for address in listening if address]


NOTEBOOK = """
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from models import classifier

class Ratio(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return X.assign(ratio=X["bill"] / X["mass"])

fitted = classifier()
clf = make_pipeline(Ratio(), FunctionTransformer(lambda X: X.drop(columns="ratio")), fitted.model)
clf.fit(fitted.X, fitted.y)
bundle = %deploy bundle clf --name penguins --sample fitted.X --target fitted.y
"""


@pytest.mark.thorough
def test_the_same_notebook_run_again_makes_the_same_bundle(tmp_path: Path) -> None:
    digests = []
    for place in ("first", "second"):
        with Kernel(tmp_path / place) as kernel:
            kernel.run(SETUP)
            for _ in range(2):
                kernel.run(NOTEBOOK)
                digests.append(kernel.value("bundle.digest"))
    assert len(set(digests)) == 1
